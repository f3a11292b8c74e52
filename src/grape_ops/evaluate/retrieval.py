"""Retrieval: does a gene's nearest neighbourhood hold the genes of its complex? (section 3.7)

Letters: N genes, d dimensions, K complexes or groups, B batches, M relevant genes of a query, L = N - 1 other genes.

Average precision (AP) of a query: rank all other genes by cosine similarity; the mean, over the relevant genes,
of the precision at that gene's rank. Relevant is a gene that shares any complex with the query. Ties are
counted as scikit-learn does: genes as similar as a relevant one stand in front of it. A gene without a
relevant gene has no AP (NaN). A zero vector has similarity 0 to every gene.

Where some pairs of genes do not count: ``restricted_precision`` may ask how well complexes are found without help from
the batch (pairs that share a batch are neither right nor wrong); ``decoy_scores`` asks how well batches are found
without help from the complexes (genes of one batch are taken for a group, pairs that share a complex do not count): a
map that fell for the batch scores above the null.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.special import digamma

from grape_ops.cosine import unit_rows

# Similarities closer than this are tied: equal vectors may differ in the last bits of a matrix product.
TIE = 1e-12
BLOCK = 240  # queries at a time, so that memory grows with N; at most 255, so that a count fits a byte


def relevant_lists(membership: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the genes that share a complex with each gene: (N, K) bool -> (N, max M) int, (N,) int.

    Returns
    -------
    relevant : indices, ascending, padded with the gene's own index.
    counts : M, the number of valid entries of each row.
    """
    from scipy.sparse import csr_array

    table = csr_array(np.asarray(membership, dtype=np.int32))
    shares = (table @ table.T).tocsr()
    shares.setdiag(0)
    shares.eliminate_zeros()
    shares.sort_indices()
    counts = np.diff(shares.indptr)
    relevant = np.repeat(np.arange(len(counts))[:, None], counts.max(initial=0), axis=1)
    relevant[np.arange(relevant.shape[1]) < counts[:, None]] = shares.indices
    return relevant, counts


def average_precision(vectors: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """AP of each gene as the query: (N, d), (N, K) bool -> (N,) float64, NaN where nothing is relevant.

    If any vector is not finite no gene can be ranked against it, and all are NaN.
    """
    if not np.isfinite(vectors).all():
        return np.full(len(vectors), np.nan)
    rows = unit_rows(vectors)
    relevant, counts = relevant_lists(membership)
    return precision_of_ranks(_relevant_ranks(rows, relevant, counts), counts)


def _relevant_ranks(rows: np.ndarray, relevant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Count the other genes at least as similar as each relevant one: (N, d), (N, max M), (N,) -> (N, max M) int.

    Nothing is sorted. Each block of the symmetric similarity matrix is multiplied once and counted for the
    queries of its rows and of its columns.
    """
    thresholds = np.empty(relevant.shape)
    for column, indices in enumerate(relevant.T):
        thresholds[:, column] = np.einsum("nd,nd->n", rows, rows[indices]) - TIE
    # The query itself is counted along with the others and taken off here.
    ranks = np.full(relevant.shape, -1, dtype=np.int64)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(rows), BLOCK)]
    for index, first in enumerate(blocks):
        for second in blocks[index:]:
            similarity = rows[first] @ rows[second].T
            _count(similarity, thresholds[first], counts[first].max(), ranks[first], axis=1)
            if second is not first:
                _count(similarity, thresholds[second], counts[second].max(), ranks[second], axis=0)
    return ranks


def _count(similarity: np.ndarray, thresholds: np.ndarray, width: int, ranks: np.ndarray, axis: int) -> None:
    """Add how many entries reach each query's thresholds, along an axis of at most 255."""
    for column in range(width):
        threshold = thresholds[:, column, None] if axis == 1 else thresholds[None, :, column]
        # A sum of bytes is several times faster than numpy's count of booleans along an axis.
        ranks[:, column] += np.add.reduce((similarity >= threshold).view(np.uint8), axis=axis, dtype=np.uint8)


def precision_of_ranks(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """AP from the ranks of the relevant genes: (..., N, max M) int, (N,) int -> (..., N) float64.

    A rank is the number of other genes at least as similar as the relevant one, so tied genes share the last
    rank of their tie. Entries from M on are ignored.
    """
    width = ranks.shape[-1]
    valid = np.arange(width) < counts[:, None]
    # Invalid entries sort behind every rank.
    ordered = np.sort(np.where(valid, ranks, np.iinfo(ranks.dtype).max), axis=-1)
    hits = np.broadcast_to(np.arange(1, width + 1, dtype=np.float64), ordered.shape)
    tied = ordered[..., :-1] == ordered[..., 1:]
    if tied[..., valid[:, 1:]].any():
        hits = hits.copy()
        for column in range(width - 2, -1, -1):
            np.copyto(hits[..., column], hits[..., column + 1], where=tied[..., column])
        # A tie of valid entries must not run on into the padding.
        hits = np.minimum(hits, counts[:, None])
    precision = np.where(valid, hits / np.maximum(ordered, 1), 0.0).sum(axis=-1)
    return np.divide(precision, counts, out=np.full(precision.shape, np.nan), where=counts > 0)


def chance_average_precision(membership: np.ndarray) -> np.ndarray:
    """Exact expectation of each gene's AP when the ranking is random: (N, K) bool -> (N,) float64.

    With M relevant of L others and H the L-th harmonic number it is ((M-1)/(L-1) (L-H) + H) / L.
    """
    _, counts = relevant_lists(membership)
    others = len(counts) - 1
    if others < 1:
        return np.full(len(counts), np.nan)
    harmonic = digamma(others + 1) + np.euler_gamma
    chance = ((counts - 1) / max(others - 1, 1) * (others - harmonic) + harmonic) / others
    return np.where(counts > 0, chance, np.nan)


def chance_corrected(precision: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """AP on a scale where chance is 0 and perfection 1: (AP - chance) / (1 - chance); 0 where chance is 1."""
    return np.divide(precision - chance, 1 - chance, out=np.zeros_like(precision), where=chance < 1)


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


def neighbour_count(genes: int, wanted: int) -> int:
    """How many neighbours a map of N genes bears: the number wanted, but at most a tenth of a small map, least 3."""
    return max(1, min(wanted, max(3, genes // 10), genes - 1))


def nearest(vectors: np.ndarray, n: int, ignored: csr_array | None = None) -> np.ndarray:
    """Find the n nearest other genes of each gene, nearest first: (N, d) -> (N, n) int; ties by position.

    ``ignored`` (N, N) marks pairs of genes that are no neighbours, however near.
    """
    rows = unit_rows(vectors)
    found = np.empty((len(rows), n), dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        similarity = rows[start : start + BLOCK] @ rows.T
        own = np.arange(len(similarity))
        similarity[own, own + start] = -np.inf
        if ignored is not None:
            similarity[ignored[start : start + BLOCK].nonzero()] = -np.inf
        # Rounding makes equal vectors tie, so that the order does not hang on the last bit.
        found[start : start + BLOCK] = _smallest(-similarity.round(12), n)
    return found


def _smallest(values: np.ndarray, n: int) -> np.ndarray:
    """Positions of the n smallest of each row, in order, ties by position: (B, N) -> (B, n)."""
    picked = np.sort(np.argpartition(values, n - 1, axis=1)[:, :n], axis=1)
    chosen = np.take_along_axis(values, picked, axis=1)
    # Where a tie crosses the border the partition's choice is arbitrary: those rows are sorted in full.
    crossed = np.flatnonzero((values <= chosen.max(axis=1, keepdims=True)).sum(axis=1) > n)
    picked = np.take_along_axis(picked, np.argsort(chosen, axis=1, kind="stable"), axis=1)
    picked[crossed] = np.argsort(values[crossed], axis=1, kind="stable")[:, :n]
    return picked


def neighbour_graph(near: np.ndarray) -> csr_array:
    """Weigh pairs of near genes by the Jaccard index of their neighbourhoods: (N, n) -> (N, N) sparse.

    A neighbourhood is a gene and its n nearest; pairs are those of which one is among the other's nearest
    (PhenoGraph, Levine et al. 2015).
    """
    genes, n = near.shape
    rows = np.repeat(np.arange(genes), n + 1)
    columns = np.column_stack([np.arange(genes), near]).ravel()
    hoods = csr_array((np.ones(len(rows)), (rows, columns)), shape=(genes, genes))
    shared = (hoods @ hoods.T).multiply(hoods.maximum(hoods.T)).tocsr()
    shared.data = shared.data / (2 * (n + 1) - shared.data)
    shared.setdiag(0)
    shared.eliminate_zeros()
    return shared
