"""Comparing methods: paired bootstrap over complexes.

Genes of one complex stand or fall together, so the complex is what is drawn: complexes with replacement, the same
draws for every method. A complex drawn twice counts each of its genes twice. A gene of several complexes
takes the mean of their weights. A complex drawn twice makes any partition look purer than it is; so the draws are
moved by their bias, until their mean is the score itself, before percentiles are taken.

A bootstrap of K complexes spreads too little, by sqrt((K - 1) / K), and its percentiles have normal instead of
Student's tails; with six complexes a nominal 95 % interval holds 82 %. Percentiles are therefore taken further out
(expanded percentile intervals: Hesterberg, The American Statistician 69:371, 2015), and p-values are moved alike, so
that an interval leaves out 0 when its p-value is small.

Letters: N genes, K complexes, B bootstrap draws, R k-means runs.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit, xlogy

from grape_ops.evaluate.maps import EvaluationTask
from grape_ops.evaluate.records import Difference, MapScore, MethodScores, RunSpread

CLUSTER_SCORES = ("purity", "nmi", "ari")
RUNS = 20  # k-means runs that are resampled: the mean of all is known, and only the spread over complexes is wanted
ENTRIES = 1 << 21  # weighted cells held at a time


def complex_draws(complexes: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each complex is drawn: (B, K) int, rows sum to K."""
    return rng.multinomial(complexes, np.full(complexes, 1 / complexes), size=draws)


def bootstrap_map(precision: np.ndarray, membership: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Compute mAP under each draw: (N,) AP, (N, K) bool, (B, K) -> (B,); genes without AP are left out."""
    scored = ~np.isnan(precision)
    belongs = membership[scored] / membership[scored].sum(axis=1, keepdims=True)
    weights = draws @ belongs.T
    total = weights.sum(axis=1)
    return np.divide(weights @ precision[scored], total, out=np.full(len(draws), np.nan), where=total > 0)


def bootstrap_clustering(labels: np.ndarray, truth: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Purity, NMI and ARI under each draw, mean over the first runs: (R, N), (N,), (B, K) -> name -> (B,).

    Only the filled cells of a run's contingency table are touched, at most N of them.
    """
    chunk = max(1, ENTRIES // max(len(truth), 1))
    means: dict[str, list[np.ndarray]] = {name: [] for name in CLUSTER_SCORES}
    for start in range(0, len(draws), chunk):
        scores = [_weighted_scores(run, truth, draws[start : start + chunk]) for run in labels[:RUNS]]
        for name, parts in means.items():
            parts.append(np.mean([score[name] for score in scores], axis=0))
    return {name: np.concatenate(parts) for name, parts in means.items()}


def _weighted_scores(labels: np.ndarray, truth: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Score one partition under each draw: (N,), (N,), (B, K) -> name -> (B,)."""
    cells, counts = np.unique(np.column_stack([labels, truth]), axis=0, return_counts=True)
    starts = np.flatnonzero(np.r_[True, cells[1:, 0] != cells[:-1, 0]])
    sizes = np.bincount(truth, minlength=draws.shape[1])
    table = draws[:, cells[:, 1]] * counts.astype(np.float64)
    clusters = np.add.reduceat(table, starts, axis=1)
    classes = draws * sizes.astype(np.float64)
    # A draw may miss every complex with genes of its own; it then scores as nothing, at weight 1.
    total = np.maximum(classes.sum(axis=1), 1)
    joint, rows, columns = (xlogy(part, part).sum(axis=1) / total for part in (table, clusters, classes))
    information = np.log(total) + joint - rows - columns
    mean_entropy = np.log(total) - (rows + columns) / 2
    pairs, row_pairs, column_pairs = ((part * (part - 1)).sum(axis=1) / 2 for part in (table, clusters, classes))
    expected = row_pairs * column_pairs / np.maximum(total * (total - 1) / 2, 1)
    room = (row_pairs + column_pairs) / 2 - expected
    one = np.ones(len(draws))
    return {
        "purity": np.maximum.reduceat(table, starts, axis=1).sum(axis=1) / total,
        "nmi": np.divide(information, mean_entropy, out=one.copy(), where=mean_entropy > 1e-12),
        "ari": np.divide(pairs - expected, room, out=one.copy(), where=np.abs(room) > 1e-12),
    }


def expanded_tail(tail: float, complexes: int) -> float:
    """Move a tail outwards as few complexes ask for: the share of draws to leave out on one side."""
    wider = np.sqrt(complexes / (complexes - 1))
    return float(ndtr(wider * stdtrit(complexes - 1, tail)))


def expanded_p(p_value: float, complexes: int) -> float:
    """Two-sided p-value whose tail, moved outwards, is that of the draws: the inverse of ``expanded_tail``."""
    wider = np.sqrt(complexes / (complexes - 1))
    return float(2 * stdtr(complexes - 1, ndtri(min(p_value, 1.0) / 2) / wider))


def interval(value: float, values: np.ndarray, confidence: float, complexes: int) -> dict[str, float]:
    """Percentile interval of a score over K complexes, freed from the draws' bias: (B,) -> low, high."""
    if np.isnan(values).all():
        return {"low": float("nan"), "high": float("nan")}
    tail = expanded_tail((1 - confidence) / 2, complexes)
    low, high = np.nanquantile(values - np.nanmean(values) + value, [tail, 1 - tail])
    return {"low": float(low), "high": float(high)}


def difference(value: float, values: np.ndarray, confidence: float, complexes: int) -> dict[str, float]:
    """Difference of two methods: its value, interval, and two-sided bootstrap p-value that it is 0."""
    if np.isnan(values).all():
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "p_value": float("nan")}
    moved = values - np.nanmean(values) + value
    below = (1 + np.sum(moved <= 0)) / (1 + len(values))
    above = (1 + np.sum(moved >= 0)) / (1 + len(values))
    p_value = expanded_p(2 * min(below, above), complexes)
    return {"value": float(value), **interval(value, values, confidence, complexes), "p_value": p_value}


def bootstrap_scores(
    precision: np.ndarray, labels: Sequence[np.ndarray], task: EvaluationTask, draws: np.ndarray
) -> dict[str, np.ndarray]:
    """All scores of one method under each draw, mean over its runs: name -> (B,)."""
    truth = task.membership[task.single].argmax(axis=1)
    unscored = {name: np.full(len(draws), np.nan) for name in CLUSTER_SCORES}
    clusterings = [bootstrap_clustering(part, truth, draws) for part in labels] or [unscored]
    return {
        "map": bootstrap_map(precision, task.membership, draws),
        **{name: np.mean([part[name] for part in clusterings], axis=0) for name in CLUSTER_SCORES},
    }


def observed(scores: MethodScores, name: str) -> float:
    """Find a score of a method: mAP, or the mean over k-means runs."""
    found: MapScore | RunSpread = scores.map if name == "map" else getattr(scores.kmeans, name)
    return found.value if isinstance(found, MapScore) else found.mean


def with_intervals(
    entries: Sequence[MethodScores], samples: Sequence[dict[str, np.ndarray]], confidence: float
) -> list[MethodScores]:
    """Give each score its interval, and each method its differences to all others."""
    complexes = entries[0].n_complexes
    bounded = []
    for entry, own in zip(entries, samples, strict=True):
        bounds = {name: interval(observed(entry, name), own[name], confidence, complexes) for name in own}
        clusterings = {name: replace(getattr(entry.kmeans, name), **bounds[name]) for name in CLUSTER_SCORES}
        # The main k has its intervals in the sweep, too.
        sweep = [replace(part, **clusterings) if part.k == entry.kmeans.k else part for part in entry.sweep]
        differences = [
            Difference(other.method, name, **difference(gap, own[name] - theirs[name], confidence, complexes))
            for other, theirs in zip(entries, samples, strict=True)
            if other is not entry
            for name in own
            for gap in [observed(entry, name) - observed(other, name)]
        ]
        bounded.append(
            replace(
                entry,
                map=replace(entry.map, low=bounds["map"]["low"], high=bounds["map"]["high"]),
                kmeans=replace(entry.kmeans, **clusterings),
                sweep=tuple(sweep),
                differences=tuple(differences),
            )
        )
    return bounded
