"""The parts of one method's record: counts, retrieval, clustering, communities, recall, nuisance.

Each function takes the arrays of a method's runs and gives a part of what ``scores.json`` holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import leiden
from grape_ops.evaluate.agreement import SCORES, agreement
from grape_ops.evaluate.clustering import kmeans, random_scores, summary
from grape_ops.evaluate.confounding import nuisance_score
from grape_ops.evaluate.enrichment import enrichment_scores
from grape_ops.evaluate.maps import GeneMap, Task
from grape_ops.evaluate.recall import known_pairs, recall_scores
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision, chance_corrected
from grape_ops.evaluate.significance import benjamini_hochberg, complex_shares, permute_labels
from grape_ops.groundtruth.pairs import KnownPairs
from grape_ops.groundtruth.truth import membership

# Where every gene is in several complexes, no partition can be compared with them.
UNSCORED = {"mean": float("nan"), "sd": float("nan"), "seed_sd": None}
STREAMS = ("permutations", "kmeans", "reference", "bootstrap", "leiden", "shuffles", "nuisance")


@dataclass(frozen=True)
class EvaluationContext:
    """The conditions all methods share: task, settings and one seed.

    Every method draws from the same streams, so permutations, starts and complexes are the same for all.
    """

    task: Task
    settings: EvaluateSettings
    seed: int

    def stream(self, name: str, part: int = 0) -> np.random.Generator:
        """Start one of the independent streams of the seed; parts of a stream are independent, too."""
        return np.random.default_rng([self.seed, STREAMS.index(name), part])

    @property
    def main_k(self) -> int:
        """The k of the score table: the setting, or the number of complexes; 0 if no gene can be clustered."""
        genes = len(self.task.single)
        if self.settings.k is not None and self.settings.k > genes > 0:
            raise GrapeOpsError(f"evaluate.k is {self.settings.k}, but only {genes} genes can be clustered; lower it.")
        return (self.settings.k or int(self.task.single_complex.max()) + 1) if genes else 0

    @property
    def ks(self) -> list[int]:
        """Every k that is clustered: the sweep's and the main one, as far as the genes allow."""
        wanted = {*range(self.settings.sweep_min, self.settings.sweep_max + 1), self.main_k}
        return sorted(k for k in wanted if 0 < k <= len(self.task.single))

    def reference(self) -> list[dict[str, Any]]:
        """Score random maps at every k."""
        truth, runs = self.task.single_complex, self.settings.kmeans_runs
        return [{"k": k, **summary(random_scores(truth, k, runs, self.stream("reference", k)))} for k in self.ks]


def counts(method: str, runs: Sequence[GeneMap], task: Task) -> dict[str, Any]:
    """How many genes were judged, how many the method would have, and which of the truth it lacks."""
    own = sorted(set.intersection(*(set(run.genes) for run in runs)))
    table = membership(task.truth, own)
    labelled = table.any(axis=1)
    precision = [average_precision(run.vectors[run.rows(own)][labelled], table[labelled]) for run in runs]
    return {
        "method": method,
        "n_runs": len(runs),
        "truth": task.truth.name,
        "truth_sha256": task.truth.sha256,
        "n_genes": len(task.labelled),
        "n_genes_own": int(labelled.sum()),
        "n_genes_truth": len(task.truth.genes),
        "n_complexes": int(np.sum(task.membership.sum(axis=0) >= 2)),
        "map_own_genes": float(np.nanmean(precision)),
        "unmatched_genes": sorted(set(task.truth.genes) - set(own)),
    }


def retrieval(runs: Sequence[np.ndarray], context: EvaluationContext) -> dict[str, Any]:
    """Score mAP, complexes and genes, with label permutations: labelled vectors (G, d) of each run."""
    task = context.task
    result = permute_labels(runs, task.membership, context.settings.permutations, context.stream("permutations"))
    chance = chance_average_precision(task.membership)
    corrected = chance_corrected(result.precision, chance)
    shares = complex_shares(task.membership)
    judged = shares.any(axis=0)
    of_complexes = [np.where(judged, np.nan_to_num(part) @ shares, np.nan) for part in (chance, corrected)]
    means = [float(np.nanmean(average_precision(table, task.membership))) for table in runs]
    return {
        "map": {
            "value": result.mean_precision,
            "chance": float(np.nanmean(chance)),
            "p_value": result.mean_p,
            "chance_corrected": float(np.nanmean(corrected)),
            "null_mean": float(result.null.mean()),
            "null_sd": float(result.null.std()),
            "permutations": context.settings.permutations,
            "n_queries": int(np.sum(~np.isnan(result.precision))),
            "seed_sd": seed_sd(means),
            "per_run": means,
        },
        "complexes": {
            "complex": list(task.complexes),
            "n_genes": task.membership.sum(axis=0).tolist(),
            "map": result.complex_precision.tolist(),
            "chance": of_complexes[0].tolist(),
            "chance_corrected": of_complexes[1].tolist(),
            "p_value": result.complex_p.tolist(),
            "q_value": benjamini_hochberg(result.complex_p).tolist(),
        },
        "genes": {
            "gene_symbol": task.labelled_genes,
            "ap": result.precision.tolist(),
            "chance": chance.tolist(),
            "chance_corrected": corrected.tolist(),
            "p_value": result.gene_p.tolist(),
            "q_value": benjamini_hochberg(result.gene_p).tolist(),
        },
    }


def seed_sd(values: Sequence[float]) -> float | None:
    """Spread over runs of a method, which a single run cannot have."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def clustering(
    runs: Sequence[np.ndarray], context: EvaluationContext, reference: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Score k-means at every k beside the random reference: labelled vectors (G, d) of each run.

    Returns
    -------
    the record's parts, and the labels (R, genes of one complex) of each run at the main k.
    """
    task = context.task
    kept: list[np.ndarray] = []
    lines = []
    for k in context.ks:
        # Each k has draws of its own, so that its scores do not hang on which other k were asked for.
        rng = context.stream("kmeans", k)
        labels = [kmeans(table[task.single], k, context.settings.kmeans_runs, rng) for table in runs]
        kept = labels if k == context.main_k else kept
        lines.append({"k": k, **_over_runs([agreement(part, task.single_complex) for part in labels])})
    at_main = context.ks.index(context.main_k) if context.ks else None
    main = {
        "k": context.main_k,
        "runs": context.settings.kmeans_runs,
        "n_genes": len(task.single),
        **{name: dict(UNSCORED) if at_main is None else lines[at_main][name] for name in SCORES},
        "random": {name: dict(UNSCORED) if at_main is None else reference[at_main][name] for name in SCORES},
    }
    swept = [i for i, k in enumerate(context.ks) if context.settings.sweep_min <= k <= context.settings.sweep_max]
    parts = {"kmeans": main, "sweep": [lines[i] for i in swept], "sweep_random": [reference[i] for i in swept]}
    return parts, kept


def _over_runs(scores: Sequence[dict[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Mean over everything; sd within runs, over starts of the clustering; seed_sd between runs."""
    return {
        name: {
            "mean": float(np.mean([part[name].mean() for part in scores])),
            "sd": float(np.sqrt(np.mean([part[name].var() for part in scores]))),
            "seed_sd": seed_sd([float(part[name].mean()) for part in scores]),
        }
        for name in SCORES
    }


def pair_recall(
    runs: Sequence[np.ndarray], context: EvaluationContext, lists: Sequence[KnownPairs]
) -> list[dict[str, Any]]:
    """Recall of the truth's own pairs and of each list: vectors (N, d) of all common genes, for each run."""
    position = {gene: row for row, gene in enumerate(context.task.genes)}
    truth = context.task.truth
    every = len(known_pairs(membership(truth, truth.genes)))
    known = [(truth.name, every, known_pairs(context.task.all_membership))]
    for listed in lists:
        found = [(position[a], position[b]) for a, b in listed.pairs if a in position and b in position]
        if not found:
            raise GrapeOpsError(
                f"None of the {len(listed.pairs)} pairs of {listed.name}, such as {' and '.join(listed.pairs[0])}, has "
                "both genes in the maps. Is it a list of pairs of genes, by the same symbols?"
            )
        known.append((listed.name, len(listed.pairs), np.sort(np.array(found, dtype=np.int64), axis=1)))
    tails = context.settings.recall_tails
    records = []
    for name, listed_pairs, rows in known:
        for same in zip(*(recall_scores(table, rows, tails) for table in runs), strict=True):
            means = {key: float(np.mean([record[key] for record in same])) for key in ("value", "chance")}
            counted = {"n_genes": len(context.task.genes), "n_pairs_listed": listed_pairs}
            records.append({"pairs": name, **counted, **same[0], **means})
    return records


def communities(near: Sequence[np.ndarray], labels: Sequence[np.ndarray], context: EvaluationContext) -> dict[str, Any]:
    """Score Leiden at each resolution and the enrichment of its clusters: nearest genes (N, n) of each run.

    Without igraph, Leiden is left out with the reason, and the k-means ``labels`` are tested for enrichment.
    """
    task, settings = context.task, context.settings
    if not leiden.available() and not labels:
        return {"leiden": {"left_out": leiden.MISSING}, "enrichment": []}
    if not leiden.available():
        table = task.membership[task.single]
        clusters = leiden.consensus(np.concatenate(labels))[0]
        tested = enrichment_scores(clusters, table, settings.shuffles, context.stream("shuffles"))
        return {"leiden": {"left_out": leiden.MISSING}, "enrichment": [{"clusters": "k-means", **tested}]}
    scored, tests = [], []
    for resolution in settings.leiden_resolutions:
        rng = context.stream("leiden")
        found = [leiden.leiden(indices, resolution, settings.leiden_runs, rng) for indices in near]
        on_truth = [part[:, task.labelled[task.single]] for part in found]
        scored.append(
            {
                "resolution": resolution,
                "runs": settings.leiden_runs,
                "neighbours": near[0].shape[1],
                "n_clusters": float(np.mean([part.max(axis=1) + 1 for part in found])),
                "stability": float(np.mean([leiden.stability(part).mean() for part in found])),
                **_over_runs([agreement(part, task.single_complex) for part in on_truth]),
                "random": summary(_shuffled(on_truth, context)),
            }
        )
        clusters = leiden.consensus(np.concatenate(found))[0]
        tested = enrichment_scores(clusters, task.all_membership, settings.shuffles, context.stream("shuffles"))
        tests.append({"clusters": f"leiden {resolution:g}", **tested})
    return {"leiden": scored, "enrichment": tests}


def _shuffled(partitions: Sequence[np.ndarray], context: EvaluationContext) -> dict[str, np.ndarray]:
    """Scores of the same clusters with their genes dealt out anew: (R, genes of one complex) of each run."""
    every = np.concatenate(partitions)
    copies = every[np.arange(max(context.settings.shuffles, len(every))) % len(every)]
    return agreement(context.stream("shuffles").permuted(copies, axis=1), context.task.single_complex)


def nuisance(
    near: Sequence[np.ndarray],
    runs: Sequence[GeneMap],
    methods: Mapping[str, Sequence[GeneMap]],
    context: EvaluationContext,
) -> dict[str, Any]:
    """Score what the vectors should not know: nearest genes (N, n) of each run.

    Batches and cell numbers belong to the screen, so a map that does not tell them borrows from the first that does.
    """
    every_map = [*runs, *(run for others in methods.values() for run in others)]
    scores: dict[str, Any] = {}
    for name in ("batch", "cells"):
        source = next((run for run in every_map if name in run.nuisance), None)
        scores[name] = None
        if source is not None:
            table = source.nuisance[name][source.rows(context.task.genes)]
            score = nuisance_score(near, table, context.settings.shuffles, context.stream("nuisance"))
            scores[name] = score and {**score, "source": source.method}
    return scores
