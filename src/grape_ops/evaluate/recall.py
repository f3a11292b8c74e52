"""Recall of known pairs: how many related pairs stand in the tails of all pairwise similarities?

All pairs of genes in the map form the background. Two-sided counts a known pair below the lower or above the
upper quantile (opposite phenotypes are related, too), right-tail only above the upper one. Chance is the share of
all pairs that is counted, which exceeds twice (once) the tail only when similarities tie.

Letters: N genes, Q known pairs.
"""

from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cosine import unit_rows
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.records import RecallScore
from grape_ops.groundtruth.truth import membership

if TYPE_CHECKING:
    from grape_ops.evaluate.context import EvaluationContext, MethodRuns

ROWS = 512  # rows of the similarity matrix at a time


def known_pairs(membership: np.ndarray) -> np.ndarray:
    """List the pairs of genes that share a complex, each once: (N, K) bool -> (Q, 2) int, first < second."""
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for column in np.asarray(membership, dtype=bool).T:
        members = np.flatnonzero(column)
        first, second = np.triu_indices(len(members), k=1)
        pairs.append(np.column_stack([members[first], members[second]]))
    return np.unique(np.concatenate(pairs), axis=0)


def pair_similarities(vectors: np.ndarray) -> np.ndarray:
    """Cosine similarity of all pairs: (N, d) -> (N (N - 1) / 2,) float32, row by row of the upper triangle."""
    rows = unit_rows(vectors).astype(np.float32)
    genes = len(rows)
    similarity = np.empty(genes * (genes - 1) // 2, dtype=np.float32)
    position = 0
    for start in range(0, genes, ROWS):
        block = rows[start : start + ROWS] @ rows[start:].T
        above = np.arange(block.shape[1]) > np.arange(len(block))[:, None]
        part = block[above]
        similarity[position : position + len(part)] = part
        position += len(part)
    return similarity


def recall_scores(vectors: np.ndarray, pairs: np.ndarray, tails: tuple[float, ...]) -> list[dict]:
    """Recall of known pairs at each tail: (N, d), (Q, 2) int -> one record per tail and side.

    Returns
    -------
    records ``{"side", "quantiles", "value", "chance", "n_pairs"}``; ``value`` is NaN without pairs.
    """
    similarity = pair_similarities(vectors)
    first, second = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    genes = len(vectors)
    known = similarity[first * genes - first * (first + 1) // 2 + second - first - 1]
    cuts = np.quantile(similarity, [*tails, *(1 - tail for tail in tails)]) if len(similarity) else []
    records = []
    for index, tail in enumerate(tails if len(similarity) else ()):
        low, high = cuts[index], cuts[len(tails) + index]
        for side, quantiles in (("two-sided", [tail, 1 - tail]), ("right-tail", [1 - tail])):
            lower = low if side == "two-sided" else -np.inf
            records.append(
                {
                    "side": side,
                    "quantiles": quantiles,
                    "value": _outside(known, lower, high),
                    "chance": _outside(similarity, lower, high),
                    "n_pairs": len(pairs),
                }
            )
    return records


def _outside(similarity: np.ndarray, low: float, high: float) -> float:
    """Share of similarities at or beyond the cuts."""
    if not len(similarity):
        return float("nan")
    return float(np.count_nonzero((similarity <= low) | (similarity >= high)) / len(similarity))


def pair_recall(method: "MethodRuns") -> tuple[RecallScore, ...]:
    """Recall of the truth's own pairs and of each list, among all common genes."""
    task, tails = method.context.task, method.context.settings.recall_tails
    every = len(known_pairs(membership(task.truth, task.truth.genes)))
    known = [(task.truth.name, every, known_pairs(task.all_membership)), *_listed_pairs(method.context)]
    scores = []
    for name, listed, rows in known:
        for same in zip(*(recall_scores(table, rows, tails) for table in method.vectors), strict=True):
            means = {key: float(np.mean([record[key] for record in same])) for key in ("value", "chance")}
            test = same[0] | means | {"quantiles": tuple(same[0]["quantiles"])}
            scores.append(RecallScore(pairs=name, n_genes=len(task.genes), n_pairs_listed=listed, **test))
    return tuple(scores)


def _listed_pairs(context: "EvaluationContext") -> list[tuple[str, int, np.ndarray]]:
    """Name of each list, how many pairs it holds, and (Q, 2) positions of those with both genes in the maps."""
    position = {gene: row for row, gene in enumerate(context.task.genes)}
    known = []
    for listed in context.pairs:
        found = [(position[a], position[b]) for a, b in listed.pairs if a in position and b in position]
        if not found:
            raise GrapeOpsError(
                f"None of the {len(listed.pairs)} pairs of {listed.name}, such as {' and '.join(listed.pairs[0])}, has "
                "both genes in the maps. Is it a list of pairs of genes, by the same symbols?"
            )
        known.append((listed.name, len(listed.pairs), np.sort(np.array(found, dtype=np.int64), axis=1)))
    return known
