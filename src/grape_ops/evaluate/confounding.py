"""Confounding: how well do gene vectors predict nuisances, which they should not contain?

A gene's nuisance (its cells' shares over batches; the logarithm of its cell number) is predicted by the mean of
its nearest genes (cosine, the same geometry as retrieval). The score is the share of variance explained,
R squared; a map without the nuisance scores below 0, since a mean of few genes predicts worse than the mean of all.
The null deals the nuisance out anew to the genes, so that value and null can be read side by side.

Chromosome arms (``--arms``) are scored in the same way, except that genes which share a complex are never taken for
each other's neighbours, and the null keeps them together: a complex whose genes lie on one arm is not blamed.

Letters: N genes, t columns of the nuisance, n neighbours.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.chromosome_arms import arm_variance, complex_blocks, in_blocks
from grape_ops.evaluate.records import ArmScore, NuisanceScore, NuisanceScores
from grape_ops.evaluate.retrieval import nearest, neighbour_count
from grape_ops.evaluate.significance import add_one_p
from grape_ops.randomness import EvaluationStream

if TYPE_CHECKING:
    from grape_ops.evaluate.context import MethodRuns

SIGNIFICANT = 0.01
WORRYING = 0.1  # share of the variance; below it a significant nuisance is too small to worry about
_SHARED = {"batch": "share batches", "cells": "have similar numbers of cells", "arm": "lie on one chromosome arm"}


def nuisance_score(
    near: Sequence[np.ndarray],
    nuisance: np.ndarray,
    permutations: int,
    rng: np.random.Generator,
    dealt: Callable[[np.random.Generator], np.ndarray] | None = None,
) -> dict[str, Any] | None:
    """Predict a nuisance from near genes: (N, n) of each run, (N, t) -> value, null and p-value.

    ``dealt`` draws which gene's nuisance each gene gets under the null, (N,) int; any permutation if None.

    Returns
    -------
    ``{"value", "chance", "chance_high", "p_value", "n_genes", "neighbours"}``: R squared (mean over runs), mean
    and 95 % point of the null; None where the nuisance is the same for all genes or fewer than four genes are there.
    """
    target = np.asarray(nuisance, dtype=np.float64)
    target = target - target.mean(axis=0)
    genes, total = len(target), float((target**2).sum())
    if genes < 4 or total <= 1e-12:
        return None
    means = [_neighbour_mean(indices) for indices in near]
    value = _explained(means, target, total)
    orders = (rng.permutation(genes) if dealt is None else dealt(rng) for _ in range(permutations))
    null = np.array([_explained(means, target[order], total) for order in orders])
    return {
        "value": value,
        "chance": float(null.mean()),
        "chance_high": float(np.quantile(null, 0.95)),
        "p_value": float(add_one_p(np.count_nonzero(null >= value - 1e-12), permutations)),
        "n_genes": genes,
        "neighbours": near[0].shape[1],
    }


def in_words(kind: str, value: float, p_value: float) -> tuple[bool, str]:
    """Whether neighbours predict a nuisance ("batch", "cells", "arm") so well that it matters, and a sentence on it."""
    numbers = f"R² {value:.2f}, p = {p_value:.2g}".replace("-", "−")
    if p_value >= SIGNIFICANT:
        return False, f"No evidence that neighbouring genes {_SHARED[kind]} more than shuffled ones do ({numbers})."
    told = f"Neighbouring genes {_SHARED[kind]} more than shuffled ones do ({numbers})"
    if value > WORRYING:
        return True, f"{told}, so some closeness may come from the experiment instead of from biology."
    return False, f"{told}, but that explains little of where genes lie."


def _neighbour_mean(near: np.ndarray) -> csr_array:
    """Averaging over each gene's n nearest genes as a sparse matrix: (N, n) -> (N, N)."""
    genes, n = near.shape
    rows = np.repeat(np.arange(genes), n)
    return csr_array((np.full(len(rows), 1 / n), (rows, near.ravel())), shape=(genes, genes))


def _explained(means: Sequence[csr_array], target: np.ndarray, total: float) -> float:
    """Share of the nuisance's variance that neighbours explain, mean over runs."""
    return float(np.mean([1 - ((target - mean @ target) ** 2).sum() / total for mean in means]))


def nuisance(method: "MethodRuns") -> NuisanceScores:
    """Score the nuisances.

    Batches and cell numbers belong to the screen, so a map that does not hold them borrows from the first that does.
    """
    context = method.context
    every_map = [*method.runs, *(run for runs in context.maps.values() for run in runs)]

    def score(name: str) -> NuisanceScore | None:
        source = next((run for run in every_map if name in run.nuisance), None)
        if source is None:
            return None
        table = source.nuisance[name][source.rows(context.task.genes)]
        found = nuisance_score(method.near, table, context.settings.shuffles, context.rng(EvaluationStream.NUISANCE))
        return None if found is None else NuisanceScore(**found, source=source.method)

    return NuisanceScores(batch=score("batch"), cells=score("cells"), arm=arm_score(method))


def arm_score(method: "MethodRuns") -> ArmScore | None:
    """Score chromosome arms on the common genes that have one; None without a table of arms.

    Raises
    ------
    GrapeOpsError : fewer than four of the genes have an arm, or no two of them share one or all do.
    """
    context = method.context
    if context.arms is None:
        return None
    rows = np.array([row for row, gene in enumerate(context.task.genes) if gene in context.arms], dtype=np.int64)
    names, codes = np.unique([context.arms[context.task.genes[row]] for row in rows], return_inverse=True)
    if len(rows) < 4 or not 1 < len(names) < len(rows):
        raise GrapeOpsError(
            f"Of the {len(context.task.genes)} genes of the maps {len(rows)} have an arm in the table of chromosome "
            f"arms, {len(names)} different ones; the test takes at least four genes, on two arms or more that hold "
            "several. Do table and maps name genes by the same symbols (--aliases)?"
        )
    arms = np.eye(len(names))[codes]
    members = csr_array(context.task.all_membership[rows].astype(np.float32))
    ignored, blocks = members @ members.T, complex_blocks(members)
    # Where complexes are large on a small map, some genes have few others left.
    left = len(rows) - 1 - int((ignored != 0).sum(axis=1).max())
    if left < 1:
        raise GrapeOpsError("--arms: a gene shares a complex with all other genes, so that no pair is left to test.")
    near, variances = [], []
    for vectors in method.vectors:
        n = min(neighbour_count(len(rows), context.settings.neighbours), left)
        near.append(nearest(vectors[rows], n, ignored))
        variances.append(arm_variance(vectors[rows], arms, blocks))
    dealt, rng = lambda stream: in_blocks(blocks, stream), context.rng(EvaluationStream.ARMS)
    found = nuisance_score(near, arms, context.settings.shuffles, rng, dealt) or {}
    found |= {"source": "table of arms", "n_arms": len(names), "variance": float(np.mean(variances))}
    return ArmScore(**found)
