"""Evaluate gene maps against a ground truth: the scores of section 3.7, and what a careful reader asks beyond them.

Every method is scored on the genes that all methods have. Several runs of one method make one entry: scores
are means over runs, and the spread over runs ("seed_sd") is kept apart from that over k-means starts ("sd").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.config import EvaluateSettings
from grape_ops.evaluate.bootstrap import bootstrap_scores, complex_draws, with_intervals
from grape_ops.evaluate.context import EvaluationContext, MethodRuns
from grape_ops.evaluate.maps import gene_maps, make_task, with_phenotype
from grape_ops.evaluate.metrics import METRICS, definitions
from grape_ops.evaluate.records import PARTS, MethodScores
from grape_ops.evaluate.retrieval import average_precision
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.truth import GroundTruth, KnownPairs, membership
from grape_ops.progress import note, progress
from grape_ops.randomness import EvaluationStream
from grape_ops.schema import UNS_WHERE

if TYPE_CHECKING:
    from anndata import AnnData


def evaluate_maps(
    maps: "Mapping[str, AnnData | Sequence[AnnData]]",
    truth: GroundTruth,
    settings: EvaluateSettings,
    seed: int,
    *,
    pairs: Sequence[KnownPairs] = (),
    aliases: Aliases | None = None,
    hits_only: bool = False,
    arms: Mapping[str, str] | None = None,
) -> list[MethodScores]:
    """Score gene maps against a ground truth.

    Parameters
    ----------
    maps : method -> its AnnData, or the AnnData of several runs of it.
    truth : the complexes.
    settings : numbers of permutations, runs and draws.
    seed : of every draw; equal seeds give equal scores.
    pairs : lists of known pairs, for recall beside that of the truth's own pairs.
    aliases : other names of genes, applied to maps and truth alike.
    hits_only : restrict all maps to genes with a phenotype, as a map's ``obs["is_hit"]`` has it.
    arms : gene -> chromosome arm, a further nuisance.

    Returns
    -------
    One record per method, in the order given: the list that ``scores.json`` holds. ``docs/evaluation.md`` describes
    every part.

    Raises
    ------
    GrapeOpsError : maps or truth cannot be evaluated; the message says why.
    """
    methods, restriction = gene_maps(maps, aliases), {}
    if hits_only:
        methods, sentence = with_phenotype(methods)
        restriction = {"hits_only": sentence}
        note(sentence)
    if aliases is not None:
        truth = truth.renamed(aliases)
    context = EvaluationContext(make_task(methods, truth), settings, seed, pairs, methods, arms)
    draws = complex_draws(len(context.task.complexes), settings.bootstrap, context.rng(EvaluationStream.BOOTSTRAP))
    entries, samples = [], []
    with progress("Evaluating gene maps", total=1 + (len(METRICS) + 1) * len(methods), unit="steps") as advance:
        _ = context.random_agreement
        advance(note="random maps")
        for method, runs in methods.items():
            own = MethodRuns(method, runs, context)
            entry = _evaluated(own, advance)
            entries.append(entry)
            samples.append(bootstrap_scores(np.array(entry.genes.ap), own.kmeans_labels, context.task, draws))
            advance(note=method)
    entries = [
        replace(entry, definitions={**entry.definitions, **restriction, **_subset(maps[entry.method])})
        for entry in entries
    ]
    return with_intervals(entries, samples, settings.confidence)


def _subset(runs: "AnnData | Sequence[AnnData]") -> dict[str, str]:
    """Which cells maps were made of, where they were not all cells of a store."""
    given: Sequence[AnnData] = runs if isinstance(runs, list | tuple) else [runs]
    found = dict.fromkeys(str(adata.uns[UNS_WHERE]) for adata in given if UNS_WHERE in adata.uns)
    return {"where": "made of the cells with " + "; or ".join(found)} if found else {}


def _evaluated(method: MethodRuns, advance: Callable[..., None]) -> MethodScores:
    """Compute every metric of one method; intervals and differences wait for the other methods."""
    parts: dict[str, Any] = {"more": {}}
    for metric in METRICS:
        found = metric.compute(method)
        (parts if metric.name in PARTS else parts["more"])[metric.name] = found
        advance(note=f"{method.method}: {metric.name}")
    return MethodScores(**_counts(method), **parts, definitions=definitions(method.context), differences=())


def _counts(method: MethodRuns) -> dict[str, Any]:
    """How many genes were evaluated, how many the method would have, and which of the truth it lacks."""
    task, runs = method.context.task, method.runs
    own = sorted(set.intersection(*(set(run.genes) for run in runs)))
    table = membership(task.truth, own)
    labelled = table.any(axis=1)
    precision = [average_precision(run.vectors[run.rows(own)][labelled], table[labelled]) for run in runs]
    return {
        "method": method.method,
        "n_runs": len(runs),
        "truth": task.truth.name,
        "truth_sha256": task.truth.sha256,
        "n_genes": len(task.labelled),
        "n_genes_own": int(labelled.sum()),
        "n_genes_truth": len(task.truth.genes),
        "n_complexes": int(np.sum(task.membership.sum(axis=0) >= 2)),
        "map_own_genes": float(np.nanmean(precision)),
        "unmatched_genes": tuple(sorted(set(task.truth.genes) - set(own))),
    }
