"""k-means over many random starts, and its agreement with the complexes over a range of k (section 3.7, Fig. 4).

Lloyd's algorithm on the vectors as they are (no normalisation), Euclidean, each run started from k genes drawn
at random (scikit-learn's ``init="random", n_init=1``) and run until no gene changes its cluster. All runs of one
k go through one matrix product per iteration: distances to centres need only the Gram matrix.

Letters: N genes, d dimensions, R runs, k clusters.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.agreement import SCORES, agreement
from grape_ops.evaluate.records import AgreementAtK, ChanceAgreement, ChanceAtK, KMeansScores, RunSpread, Spread

if TYPE_CHECKING:
    from grape_ops.evaluate.context import MethodRuns

ITERATIONS = 300  # Lloyd iterations at most, as in scikit-learn
GRAM_GENES = 1500  # beyond, the products with one-hot matrices cost more than scikit-learn's loop
BATCH_ENTRIES = 1 << 23  # distances held at a time
REFERENCE_MAPS = 10  # random maps behind the random reference
REFERENCE_DIMENSIONS = 500  # as the paper's Random row


def kmeans(vectors: np.ndarray, k: int, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Cluster genes R times from random starts: (N, d) -> (R, N) int.

    Raises
    ------
    GrapeOpsError : k is not between 1 and the number of genes.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    genes = len(vectors)
    if not 1 <= k <= genes:
        raise GrapeOpsError(f"k-means needs between 1 and {genes} clusters for {genes} genes; evaluate.k is {k}.")
    if genes > GRAM_GENES:
        return _kmeans_one_by_one(vectors, k, runs, rng)
    centred = vectors - vectors.mean(axis=0)
    gram = centred @ centred.T
    batch = max(1, BATCH_ENTRIES // (genes * k))
    sizes = [min(batch, runs - start) for start in range(0, runs, batch)]
    return np.concatenate([_lloyd(gram, _random_starts(genes, k, size, rng), k) for size in sizes])


def _random_starts(genes: int, k: int, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Draw k different genes for each run: (R, k) int."""
    return np.argpartition(rng.random((runs, genes)), k - 1, axis=1)[:, :k]


def _lloyd(gram: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    """Lloyd's iterations of all runs at once on the Gram matrix: (N, N), (R, k) -> (R, N) int."""
    norms = np.diag(gram)
    # Distances up to the gene's own norm, which does not change the nearest centre: |c|^2 - 2 x.c
    labels = (norms[starts][:, None, :] - 2 * gram[:, starts].swapaxes(0, 1)).argmin(axis=2)
    active = np.arange(len(starts))
    own_distance = np.zeros(labels.shape)
    for _ in range(ITERATIONS):
        old = labels[active]
        new, own = _step(gram, _without_empty(old, own_distance[active], norms, k), k)
        labels[active], own_distance[active] = new, own
        active = active[(new != old).any(axis=1)]
        if not len(active):
            break
    return labels


def _step(gram: np.ndarray, members: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the members, then each gene's nearest centre: (R, N) -> labels (R, N), their distances (R, N)."""
    runs, genes = members.shape
    cluster = np.arange(runs)[:, None] * k + members
    sizes = np.maximum(np.bincount(cluster.ravel(), minlength=runs * k), 1)
    weights = np.zeros((runs * k, genes))
    weights[cluster, np.arange(genes)] = 1 / sizes[cluster]
    products = (weights @ gram).reshape(runs, k, genes)
    # |c|^2 is the mean, over the members of a centre, of their product with it.
    to_own = np.take_along_axis(products, members[:, None, :], axis=1)[:, 0]
    squares = (np.bincount(cluster.ravel(), to_own.ravel(), minlength=runs * k) / sizes).reshape(runs, k, 1)
    distances = squares - 2 * products
    labels = distances.argmin(axis=1)
    return labels, np.take_along_axis(distances, labels[:, None, :], axis=1)[:, 0]


def _without_empty(labels: np.ndarray, own_distance: np.ndarray, norms: np.ndarray, k: int) -> np.ndarray:
    """Give every empty cluster the gene that is farthest from its centre, as scikit-learn does: (R, N) -> (R, N)."""
    runs = np.arange(len(labels))[:, None]
    sizes = np.bincount((runs * k + labels).ravel(), minlength=len(labels) * k).reshape(-1, k)
    if sizes.all():
        return labels
    members = labels.copy()
    for run in np.flatnonzero((sizes == 0).any(axis=1)):
        empty = np.flatnonzero(sizes[run] == 0)
        farthest = np.argsort(-(own_distance[run] + norms), kind="stable")[: len(empty)]
        members[run, farthest] = empty
    return members


def _kmeans_one_by_one(vectors: np.ndarray, k: int, runs: int, rng: np.random.Generator) -> np.ndarray:
    """The same runs by scikit-learn, for maps of many genes."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    seeds = rng.integers(2**31 - 1, size=runs)
    with threadpool_limits(1):
        fits = [KMeans(k, init="random", n_init=1, max_iter=ITERATIONS, tol=0, random_state=int(s)) for s in seeds]
        return np.stack([fit.fit_predict(vectors) for fit in fits])


def kmeans_scores(
    vectors: np.ndarray, truth: np.ndarray, k: int, runs: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Agreement of R k-means runs with the complexes: (N, d), (N,) int -> name -> (R,)."""
    return agreement(kmeans(vectors, k, runs, rng), truth)


def sweep(vectors: np.ndarray, truth: np.ndarray, ks: Iterable[int], runs: int, rng: np.random.Generator) -> list[dict]:
    """Score a range of k (Fig. 4): for each k ``{"k", "purity": {"mean", "sd"}, "nmi", "ami", "ari"}``."""
    return [{"k": k, **summary(kmeans_scores(vectors, truth, k, runs, rng))} for k in ks]


def random_scores(truth: np.ndarray, k: int, runs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Score random maps at one k: uniform [0, 1) vectors of 500 dimensions, runs spread over ten maps."""
    shares = [len(part) for part in np.array_split(np.arange(runs), min(REFERENCE_MAPS, runs))]
    maps = (rng.random((len(truth), REFERENCE_DIMENSIONS)) for _ in shares)
    scores = [kmeans_scores(vectors, truth, k, share, rng) for vectors, share in zip(maps, shares, strict=True)]
    return {name: np.concatenate([part[name] for part in scores]) for name in SCORES}


def summary(scores: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (over runs, divisor R) of each score."""
    return {name: {"mean": float(values.mean()), "sd": float(values.std())} for name, values in scores.items()}


def seed_sd(values: Sequence[float]) -> float | None:
    """Standard deviation between runs of a method, which a single run cannot have."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def kmeans_agreement(method: "MethodRuns") -> KMeansScores:
    """Agreement of k-means at the main k, beside that of random maps.

    Where every gene is in several complexes, no partition can be compared with them, and all is NaN.
    """
    context, k = method.context, method.context.main_k
    unscored, nothing = RunSpread(np.nan, np.nan, None), Spread(np.nan, np.nan)
    return KMeansScores(
        k=k,
        runs=context.settings.kmeans_runs,
        n_genes=len(context.task.single),
        **(over_runs(method.kmeans_agreement[k]) if k else dict.fromkeys(SCORES, unscored)),
        random=ChanceAgreement(**(spreads(context.random_agreement[k]) if k else dict.fromkeys(SCORES, nothing))),
    )


def kmeans_sweep(method: "MethodRuns") -> tuple[AgreementAtK, ...]:
    """Agreement of k-means over the range of k (Fig. 4)."""
    return tuple(AgreementAtK(k=k, **over_runs(method.kmeans_agreement[k])) for k in method.context.swept)


def random_sweep(method: "MethodRuns") -> tuple[ChanceAtK, ...]:
    """Agreement of random maps over the range of k."""
    return tuple(ChanceAtK(k=k, **spreads(method.context.random_agreement[k])) for k in method.context.swept)


def over_runs(scores: Sequence[dict[str, np.ndarray]]) -> dict[str, RunSpread]:
    """Mean over everything; sd within runs, over starts of the clustering; seed_sd between runs."""
    return {
        name: RunSpread(
            mean=float(np.mean([part[name].mean() for part in scores])),
            sd=float(np.sqrt(np.mean([part[name].var() for part in scores]))),
            seed_sd=seed_sd([float(part[name].mean()) for part in scores]),
        )
        for name in SCORES
    }


def spreads(scores: dict[str, np.ndarray]) -> dict[str, Spread]:
    """Mean and standard deviation of each score, as records."""
    return {name: Spread(**part) for name, part in summary(scores).items()}
