"""Confounding: how well do gene vectors predict nuisances, which they should not contain?

A gene's nuisance (its cells' shares over batches; the logarithm of its cell number) is predicted by the mean of
its nearest genes (cosine, the same geometry as retrieval). The score is the share of variance explained,
R squared; a map without the nuisance scores below 0, since a mean of few genes predicts worse than the mean of all.
The null deals the nuisance out anew to the genes, so that value and null can be read side by side.

Letters: N genes, t columns of the nuisance, n neighbours.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from grape_ops.evaluate.records import NuisanceScore, NuisanceScores
from grape_ops.evaluate.significance import add_one_p

if TYPE_CHECKING:
    from grape_ops.evaluate.context import MethodRuns

SIGNIFICANT = 0.01
WORRYING = 0.1  # share of the variance; below it a significant nuisance is too small to worry about
_SHARED = {"batch": "share batches", "cells": "have similar numbers of cells"}


def nuisance_score(
    near: Sequence[np.ndarray], nuisance: np.ndarray, permutations: int, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Predict a nuisance from near genes: (N, n) of each run, (N, t) -> value, null and p-value.

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
    null = np.array([_explained(means, target[rng.permutation(genes)], total) for _ in range(permutations)])
    return {
        "value": value,
        "chance": float(null.mean()),
        "chance_high": float(np.quantile(null, 0.95)),
        "p_value": float(add_one_p(np.count_nonzero(null >= value - 1e-12), permutations)),
        "n_genes": genes,
        "neighbours": near[0].shape[1],
    }


def in_words(kind: str, value: float, p_value: float) -> tuple[bool, str]:
    """Whether neighbours predict a nuisance ("batch" or "cells") so well that it matters, and a sentence on it."""
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
        found = nuisance_score(method.near, table, context.settings.shuffles, context.stream("nuisance"))
        return None if found is None else NuisanceScore(**found, source=source.method)

    return NuisanceScores(batch=score("batch"), cells=score("cells"))
