"""Judge gene maps against a ground truth: the scores of section 3.7, and what a careful reader asks beyond them.

Every method is scored on the genes that all methods have. Several runs of one method make one entry: scores
are means over runs, and the spread over runs ("seed_sd") is kept apart from that over k-means starts ("sd").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.config import EvaluateSettings
from grape_ops.evaluate import records
from grape_ops.evaluate.comparison import attach_intervals, bootstrap_scores, complex_draws
from grape_ops.evaluate.definitions import definitions
from grape_ops.evaluate.maps import GeneMap, gene_maps, make_task
from grape_ops.evaluate.neighbourhood import nearest, neighbour_count
from grape_ops.evaluate.scores import print_scores, write_scores
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.pairs import KnownPairs
from grape_ops.groundtruth.truth import GroundTruth
from grape_ops.progress import progress

if TYPE_CHECKING:
    from anndata import AnnData

PARTS = 4  # steps of a method's progress: retrieval, k-means, discovery, bootstrap

__all__ = ["evaluate_maps", "print_scores", "write_scores"]


def evaluate_maps(
    maps: "Mapping[str, AnnData | Sequence[AnnData]]",
    truth: GroundTruth,
    settings: EvaluateSettings,
    seed: int,
    *,
    pairs: Sequence[KnownPairs] = (),
    aliases: Aliases | None = None,
) -> list[dict[str, Any]]:
    """Score gene maps against a ground truth.

    Parameters
    ----------
    maps : method -> its AnnData, or the AnnData of several runs of it.
    truth : the complexes.
    settings : numbers of permutations, runs and draws.
    seed : of every draw; equal seeds give equal scores.
    pairs : lists of known pairs, for recall beside that of the truth's own pairs.
    aliases : other names of genes, applied to maps and truth alike.

    Returns
    -------
    One record a method, in the order given: the list that ``scores.json`` holds. ``docs/evaluation.md`` describes
    every key.

    Raises
    ------
    GrapeOpsError : maps or truth cannot be judged; the message says why.
    """
    methods = gene_maps(maps, aliases)
    if aliases is not None:
        truth = GroundTruth.of(truth.name, aliases.apply(truth.complexes))
    context = records.EvaluationContext(make_task(methods, truth), settings, seed)
    draws = complex_draws(len(context.task.complexes), settings.bootstrap, context.stream("bootstrap"))
    entries, samples = [], []
    with progress("Judging gene maps", total=1 + PARTS * len(methods), unit="steps") as advance:
        reference = context.reference()
        advance(note="random maps")
        for method in methods:
            entry, labels = _judge(method, methods, context, reference, pairs, advance)
            entries.append(entry)
            samples.append(bootstrap_scores(np.array(entry["genes"]["ap"]), labels, context.task, draws))
            advance(note=method)
    attach_intervals(entries, samples, settings.confidence)
    return entries


def _judge(
    method: str,
    methods: Mapping[str, Sequence[GeneMap]],
    context: records.EvaluationContext,
    reference: Sequence[dict[str, Any]],
    pairs: Sequence[KnownPairs],
    advance: Callable[..., None],
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Make one method's record, and give back its k-means labels for the bootstrap."""
    task, runs = context.task, methods[method]
    vectors = [run.vectors[run.rows(task.genes)] for run in runs]
    near = [nearest(table, neighbour_count(len(table), context.settings.neighbours)) for table in vectors]
    labelled = [table[task.labelled] for table in vectors]
    entry = {**records.counts(method, runs, task), **records.retrieval(labelled, context)}
    advance(note=f"{method}: retrieval")
    clusters, labels = records.clustering(labelled, context, reference)
    advance(note=f"{method}: k-means")
    entry |= {
        **clusters,
        **records.communities(near, labels, context),
        "recall": records.pair_recall(vectors, context, pairs),
        "nuisance": records.nuisance(near, runs, methods, context),
        "definitions": definitions(task, context.settings, context.seed, context.main_k),
    }
    advance(note=f"{method}: clusters, recall, nuisance")
    return entry, labels
