"""Leiden communities of the neighbour graph: clusters whose number is not given (Traag et al. 2019).

The resolution is a setting and is never chosen by the complexes. Needs igraph, an optional extra. igraph finds a
community for each seed; the partition shown is the one that agrees best with those of all other seeds, and a gene's
support is the share of seeds in which it stays with the genes of its cluster.
"""

import random
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import triu

from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.agreement import adjusted_rand, agreement, contingency
from grape_ops.evaluate.clustering import over_runs, spreads
from grape_ops.evaluate.records import ChanceAgreement, LeftOut, LeidenScores
from grape_ops.evaluate.retrieval import neighbour_graph
from grape_ops.randomness import EvaluationStream

if TYPE_CHECKING:
    from grape_ops.evaluate.context import EvaluationContext, MethodRuns

MISSING = "Leiden clusters need igraph, an optional extra: pip install 'grape-ops[leiden]'."


def available() -> bool:
    """Whether igraph can be imported."""
    try:
        _igraph()
    except GrapeOpsError:
        return False
    return True


def _igraph() -> ModuleType:
    try:
        import igraph
    except ImportError:
        raise GrapeOpsError(MISSING) from None
    return igraph


def leiden(near: np.ndarray, resolution: float, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Cluster genes R times on the graph of near genes: (N, n) -> (R, N) int, clusters numbered from the largest.

    Parameters
    ----------
    near : (N, n) nearest genes of each gene.
    resolution : of the modularity; larger values give more clusters.
    runs : R, seeds of the algorithm.
    rng : source of the seeds.
    """
    igraph = _igraph()
    edges = triu(neighbour_graph(near), k=1).tocoo()
    graph = igraph.Graph(n=len(near), edges=np.column_stack([edges.row, edges.col]))
    partitions = []
    # igraph draws from one generator for the whole process: it is handed back afterwards.
    try:
        for seed in rng.integers(2**31 - 1, size=runs):
            igraph.set_random_number_generator(random.Random(int(seed)))
            found = graph.community_leiden(
                objective_function="modularity", weights=edges.data, resolution=resolution, n_iterations=-1
            )
            partitions.append(by_size(np.asarray(found.membership)))
    finally:
        igraph.set_random_number_generator(random)
    return np.stack(partitions)


def by_size(labels: np.ndarray) -> np.ndarray:
    """Number clusters from the largest, ties by the first gene: (N,) int -> (N,) int."""
    _, first, inverse, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(counts), dtype=np.int64)
    place[np.lexsort((first, -counts))] = np.arange(len(counts))
    return place[inverse]


def stability(partitions: np.ndarray) -> np.ndarray:
    """Mean adjusted Rand index of each partition with all others: (R, N) -> (R,); 1 for a single one."""
    runs = len(partitions)
    if runs == 1:
        return np.ones(1)
    scores = [adjusted_rand(contingency(np.delete(partitions, r, axis=0), partitions[r])).mean() for r in range(runs)]
    return np.asarray(scores)


def consensus(partitions: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The partition most like all others, and the support of each gene in it: (R, N) -> (N,) int, (N,) float.

    A gene's support is the mean, over the other genes of its cluster and over all partitions, of how often they
    are found in one cluster; NaN for a gene alone.
    """
    table = np.asarray(partitions)
    chosen = by_size(table[int(np.argmax(stability(table)))])
    support = np.full(len(chosen), np.nan)
    for cluster in range(chosen.max() + 1):
        members = np.flatnonzero(chosen == cluster)
        if len(members) < 2:
            continue
        together = np.zeros(len(members))
        for labels in table[:, members]:
            together += np.bincount(labels)[labels] - 1
        support[members] = together / len(table) / (len(members) - 1)
    return chosen, support


def leiden_agreement(method: "MethodRuns") -> tuple[LeidenScores, ...] | LeftOut:
    """Agreement of Leiden clusters at each resolution, beside the same clusters with their genes shuffled."""
    if not available():
        return LeftOut(MISSING)
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
                stability=float(np.mean([stability(part).mean() for part in found])),
                **over_runs([agreement(part, task.single_complex) for part in on_truth]),
                random=ChanceAgreement(**spreads(_shuffled(on_truth, context))),
            )
        )
    return tuple(scores)


def _shuffled(partitions: Sequence[np.ndarray], context: "EvaluationContext") -> dict[str, np.ndarray]:
    """Scores of the same clusters with their genes shuffled: (R, genes of one complex) of each run."""
    every = np.concatenate(partitions)
    copies = every[np.arange(max(context.settings.shuffles, len(every))) % len(every)]
    return agreement(context.rng(EvaluationStream.SHUFFLES).permuted(copies, axis=1), context.task.single_complex)
