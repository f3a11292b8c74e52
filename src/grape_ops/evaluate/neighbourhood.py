"""Each gene's nearest genes by cosine similarity, on which graphs, nuisance scores and discovery rest.

Letters: N genes, d dimensions, n neighbours.
"""

import numpy as np
from scipy.sparse import csr_array

from grape_ops.evaluate.retrieval import BLOCK, unit_rows


def neighbour_count(genes: int, wanted: int) -> int:
    """How many neighbours a map of N genes bears: the number wanted, but at most a tenth of a small map, least 3."""
    return max(1, min(wanted, max(3, genes // 10), genes - 1))


def nearest(vectors: np.ndarray, n: int) -> np.ndarray:
    """Find the n nearest other genes of each gene, nearest first: (N, d) -> (N, n) int; ties by position."""
    rows = unit_rows(vectors)
    found = np.empty((len(rows), n), dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        similarity = rows[start : start + BLOCK] @ rows.T
        own = np.arange(len(similarity))
        similarity[own, own + start] = -np.inf
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
