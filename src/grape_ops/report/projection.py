"""Gene vectors on paper: two numbers per gene. Letters: P perturbations, V length of a vector."""

import warnings
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from grape_ops.artifacts.identity import identity_of
from grape_ops.cosine import unit_rows
from grape_ops.evaluate.gene_places import TRUST_COMMAND
from grape_ops.evaluate.retrieval import nearest
from grape_ops.progress import waiting
from grape_ops.report.kept import kept

# With fewer points a neighbour graph says nothing that principal components do not say better.
FEWEST_FOR_UMAP = 12
NEIGHBOURS = 10


def projections(
    vectors: np.ndarray,
    seed: int,
    name: str = "gene map",
    fewest: int = FEWEST_FOR_UMAP,
    keep: Path | None = None,
) -> dict[str, np.ndarray]:
    """Project vectors (P, V) to the plane: name -> (P, 2), the preferred one first.

    UMAP (cosine, as the scores) if ``umap-learn`` is installed and there are points enough; principal components
    always. Names say what the axes are, with the explained share of the variance; ``name`` is the map's, for whoever
    waits; ``fewest`` are the points that UMAP is drawn of; ``keep`` is the run folder that keeps the UMAP of its pages.
    """
    found = {}
    if len(vectors) >= fewest and find_spec("umap") is not None:

        def drawn() -> list[list[float]]:
            with waiting(f"{name}: UMAP"):
                return umap(vectors, seed).tolist()

        facts = [sha256(np.ascontiguousarray(vectors, np.float64).tobytes()).hexdigest(), seed, version("umap-learn")]
        file = f"umap-{identity_of(name)[:10]}"
        found["UMAP"] = np.array(drawn() if keep is None else kept(keep, file, facts, drawn))
    plane, share = principal_components(vectors)
    found[f"PCA ({share:.0%} of the variance)"] = plane
    return found


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """First two principal components (P, 2) of vectors (P, V), and the share of the variance they hold."""
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    plane = np.zeros((len(vectors), 2))
    kept = min(2, len(singular))
    plane[:, :kept] = left[:, :kept] * singular[:kept]
    # The sign of a component is arbitrary; fixing it keeps pages of the same run alike.
    largest = np.abs(plane).argmax(axis=0)
    plane *= np.where(plane[largest, [0, 1]] < 0, -1.0, 1.0)
    total = float((singular**2).sum())
    return plane, float((singular[:2] ** 2).sum()) / total if total > 0 else 0.0


def umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    """UMAP of vectors (P, V) by cosine distance: (P, 2)."""
    from umap import UMAP  # 3 to 25 s

    # Handing over exact neighbours spares UMAP its own search, whose compilation alone takes 20 s on large maps.
    near, cosine = nearest_genes(vectors, min(NEIGHBOURS - 1, len(vectors) - 2))
    every = np.arange(len(vectors))[:, None]
    distances = np.hstack([np.zeros(every.shape), np.maximum(1 - cosine, 0)]).astype(np.float32)
    known = (np.hstack([every, near]), distances)
    # A random start: the spectral one fails on graphs in several pieces, which well separated complexes give.
    settings = {"metric": "cosine", "init": "random", "random_state": seed, "n_jobs": 1}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*transforming new data with transform")
        model = UMAP(n_neighbors=distances.shape[1], precomputed_knn=known, **settings).fit(vectors)
    return np.asarray(model.embedding_, dtype=np.float64)


_ALL_PAIRS, _PAIRS = 600, 100_000  # genes up to which all pairs are taken, and how many are drawn beyond
_FEWEST_PAIRS = 20  # of which 5% are one


def nearest_genes(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and cosines of the ``count`` nearest other rows: (P, V) -> (P, count), (P, count)."""
    count = min(count, len(vectors) - 1)
    if count < 1:
        return np.empty((len(vectors), 0), np.int64), np.empty((len(vectors), 0))
    near, unit = nearest(vectors, count), unit_rows(vectors)
    return near, np.stack([(unit * unit[column]).sum(axis=1) for column in near.T], axis=1)


def neighbours_in_words(vectors: np.ndarray, runs: int = 1, *, compared: bool = False) -> str:
    """Say from which cosine on a pair of genes is unusual in a map, and what one run does not tell: (N, V).

    ``compared`` says that maps of halves of the cells, trained with two seeds, were compared gene by gene.
    """
    unit, rng = unit_rows(vectors), np.random.default_rng(0)
    first, second = rng.integers(0, len(unit), (2, _PAIRS)) if len(unit) > _ALL_PAIRS else np.triu_indices(len(unit), 1)
    others = first != second
    if others.sum() < _FEWEST_PAIRS:
        words = "This map has too few genes to say which cosine is unusual."
    else:
        high = np.quantile((unit[first[others]] * unit[second[others]]).sum(axis=1), 0.95)
        words = f"Of all pairs of genes in this map, 5% have a cosine above {high:.2f}."
    once = "This is one training run: whether another seed, or other cells, give these neighbours again is not known"
    return words if runs > 1 or compared else f"{words} {once}; {TRUST_COMMAND} says for which genes they do."
