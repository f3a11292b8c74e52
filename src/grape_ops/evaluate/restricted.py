"""Average precision where some pairs of genes do not count: batches left out, and decoys.

``other_batch``: how well complexes are found without help from the batch: pairs that share a batch are neither right
nor wrong. ``decoys``: how well batches are found without help from the complexes: genes of one batch are taken for a
group, pairs that share a complex do not count; a map that fell for the batch scores above the null.

Letters: N genes, K groups, B batches.
"""

import numpy as np

from grape_ops.evaluate.retrieval import TIE, precision_of_ranks, unit_rows


def restricted_precision(vectors: np.ndarray, relevant: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """AP of each gene when only some others are ranked: (N, d), (N, N) bool, (N, N) bool -> (N,), NaN without any.

    Parameters
    ----------
    vectors : of the genes.
    relevant : [query, other] whether the other is what the query should find.
    counted : [query, other] whether the other is ranked at all; the query itself never is.
    """
    rows = unit_rows(vectors)
    similarity = rows @ rows.T
    counted = counted & ~np.eye(len(rows), dtype=bool)
    found = [np.flatnonzero(line) for line in relevant & counted]
    counts = np.array([len(others) for others in found])
    ranks = np.full((len(rows), max(counts.max(initial=0), 1)), np.iinfo(np.int64).max)
    for query, others in enumerate(found):
        ranked = np.sort(similarity[query, counted[query]])
        # How many of the ranked are at least as similar as each relevant one.
        ranks[query, : len(others)] = len(ranked) - np.searchsorted(ranked, similarity[query, others] - TIE)
    return precision_of_ranks(ranks, counts)


def shared(groups: np.ndarray) -> np.ndarray:
    """Which genes share a group: (N, K) bool -> (N, N) bool."""
    table = groups.astype(np.int64)
    return (table @ table.T) > 0


def other_batch_precision(vectors: np.ndarray, membership: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """AP of each gene with all pairs that share a batch left out: (N, d), (N, K) bool, (N, B) bool -> (N,)."""
    return restricted_precision(vectors, shared(membership), ~shared(batches))


def decoy_scores(
    vectors: np.ndarray, membership: np.ndarray, shares: np.ndarray, permutations: int, rng: np.random.Generator
) -> dict[str, float]:
    """How well a map finds genes that mostly lie on one batch but share no complex.

    Parameters
    ----------
    vectors : (N, d).
    membership : (N, K) bool, the complexes.
    shares : (N, B), each gene's cells over batches; the batch that holds most is its decoy group.
    permutations, rng : the null deals the decoy groups out anew to the genes.

    Returns
    -------
    ``{"decoy_map", "decoy_null", "decoy_null_sd"}``.
    """
    main = np.asarray(shares).argmax(axis=1)
    apart = ~shared(membership)

    def score(groups: np.ndarray) -> float:
        return float(np.nanmean(restricted_precision(vectors, groups[:, None] == groups, apart)))

    null = [score(rng.permutation(main)) for _ in range(permutations)]
    return {"decoy_map": score(main), "decoy_null": float(np.mean(null)), "decoy_null_sd": float(np.std(null))}
