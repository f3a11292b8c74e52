"""How clusters of genes agree with the complexes: k-means at the main k and over a range, Leiden, enrichment."""

from collections.abc import Sequence

import numpy as np

from grape_ops.evaluate import leiden
from grape_ops.evaluate.agreement import SCORES, agreement
from grape_ops.evaluate.clustering import summary
from grape_ops.evaluate.context import EvaluationContext, MethodRuns, seed_sd
from grape_ops.evaluate.enrichment import enrichment_scores
from grape_ops.evaluate.records import (
    AgreementAtK,
    ChanceAgreement,
    ChanceAtK,
    EnrichmentScores,
    KMeansScores,
    LeftOut,
    LeidenScores,
    RunSpread,
    Spread,
)

NAN = float("nan")


def kmeans_agreement(method: MethodRuns) -> KMeansScores:
    """Agreement of k-means at the main k, beside that of random maps.

    Where every gene is in several complexes, no partition can be compared with them, and all is NaN.
    """
    context, k = method.context, method.context.main_k
    unscored, nothing = RunSpread(NAN, NAN, None), Spread(NAN, NAN)
    return KMeansScores(
        k=k,
        runs=context.settings.kmeans_runs,
        n_genes=len(context.task.single),
        **(_over_runs(method.kmeans_agreement[k]) if k else dict.fromkeys(SCORES, unscored)),
        random=ChanceAgreement(**(_spreads(context.random_agreement[k]) if k else dict.fromkeys(SCORES, nothing))),
    )


def kmeans_sweep(method: MethodRuns) -> tuple[AgreementAtK, ...]:
    """Agreement of k-means over the range of k (Fig. 4)."""
    return tuple(AgreementAtK(k=k, **_over_runs(method.kmeans_agreement[k])) for k in method.context.swept)


def random_sweep(method: MethodRuns) -> tuple[ChanceAtK, ...]:
    """Agreement of random maps over the range of k."""
    return tuple(ChanceAtK(k=k, **_spreads(method.context.random_agreement[k])) for k in method.context.swept)


def _over_runs(scores: Sequence[dict[str, np.ndarray]]) -> dict[str, RunSpread]:
    """Mean over everything; sd within runs, over starts of the clustering; seed_sd between runs."""
    return {
        name: RunSpread(
            mean=float(np.mean([part[name].mean() for part in scores])),
            sd=float(np.sqrt(np.mean([part[name].var() for part in scores]))),
            seed_sd=seed_sd([float(part[name].mean()) for part in scores]),
        )
        for name in SCORES
    }


def _spreads(scores: dict[str, np.ndarray]) -> dict[str, Spread]:
    return {name: Spread(**part) for name, part in summary(scores).items()}


def leiden_agreement(method: MethodRuns) -> tuple[LeidenScores, ...] | LeftOut:
    """Agreement of Leiden clusters at each resolution, beside the same clusters with their genes dealt out anew."""
    if not leiden.available():
        return LeftOut(leiden.MISSING)
    context, task = method.context, method.context.task
    scores = []
    for resolution, found in method.communities.items():
        on_truth = [part[:, task.labelled[task.single]] for part in found]
        scores.append(
            LeidenScores(
                resolution=resolution,
                runs=context.settings.leiden_runs,
                neighbours=method.near[0].shape[1],
                n_clusters=float(np.mean([part.max(axis=1) + 1 for part in found])),
                stability=float(np.mean([leiden.stability(part).mean() for part in found])),
                **_over_runs([agreement(part, task.single_complex) for part in on_truth]),
                random=ChanceAgreement(**_spreads(_shuffled(on_truth, context))),
            )
        )
    return tuple(scores)


def _shuffled(partitions: Sequence[np.ndarray], context: EvaluationContext) -> dict[str, np.ndarray]:
    """Scores of the same clusters with their genes dealt out anew: (R, genes of one complex) of each run."""
    every = np.concatenate(partitions)
    copies = every[np.arange(max(context.settings.shuffles, len(every))) % len(every)]
    return agreement(context.stream("shuffles").permuted(copies, axis=1), context.task.single_complex)


def cluster_enrichment(method: MethodRuns) -> tuple[EnrichmentScores, ...]:
    """Enrichment of Leiden clusters at each resolution; without igraph, of those of k-means."""
    task, shuffles = method.context.task, method.context.settings.shuffles
    clusterings = {f"leiden {resolution:g}": found for resolution, found in method.communities.items()}
    member = task.all_membership
    if not leiden.available():
        member = task.membership[task.single]
        clusterings = {"k-means": method.kmeans_labels} if method.kmeans_labels else {}
    scores = []
    for name, found in clusterings.items():
        labels = leiden.consensus(np.concatenate(found))[0]
        tested = enrichment_scores(labels, member, shuffles, method.context.stream("shuffles"))
        scores.append(EnrichmentScores(clusters=name, **tested))
    return tuple(scores)
