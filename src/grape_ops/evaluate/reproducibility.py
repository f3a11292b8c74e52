"""Do two maps of the same genes agree? This needs no truth.

Axes of two maps have nothing to do with each other, so similarities are compared: the correlation of all pairs'
cosines, and the share of nearest genes that both maps name. Maps made from disjoint halves of the cells agree in what
is in the cells, in batch effects too if both halves hold the same batches, but not in noise.

Letters: N genes, d and e dimensions, n neighbours.
"""

from typing import Any

import numpy as np
from scipy.stats import rankdata

from grape_ops.cosine import unit_rows
from grape_ops.evaluate.retrieval import nearest, neighbour_count
from grape_ops.evaluate.significance import add_one_p

MOST_PAIRS = 2_000  # of different genes, whose correlations are the null of a gene's own


def map_agreement(
    first: np.ndarray, second: np.ndarray, n: int, permutations: int, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare two maps of the same genes, row by row: (N, d), (N, e).

    Parameters
    ----------
    first, second : vectors; the columns may differ.
    n : nearest genes that are compared; fewer on small maps.
    permutations, rng : the null deals the genes of one map out anew.

    Returns
    -------
    figures : ``correlation`` (Spearman's, of the cosines of all pairs), its ``p_value``, ``whole`` (what two maps of
        twice the cells would be expected to reach, by Spearman and Brown), ``neighbours`` (share of the n nearest
        genes that both name), ``neighbours_chance``, ``n_neighbours``, ``n_genes``.
    genes : for each gene ``correlation`` (of its cosines to all others) and ``neighbours``.
    """
    genes = len(first)
    n = neighbour_count(genes, n)
    a, b = (rows @ rows.T for rows in map(unit_rows, (first, second)))
    upper = np.triu_indices(genes, k=1)
    ranks = _ranked(a, upper), _ranked(b, upper)
    value = float(ranks[0][upper] @ ranks[1][upper])
    null = np.empty(permutations)
    for draw in range(permutations):
        order = rng.permutation(genes)
        null[draw] = ranks[0][upper] @ ranks[1][np.ix_(order, order)][upper]
    shared = shared_neighbours(nearest(first, n), nearest(second, n))
    figures = {
        "correlation": value,
        "p_value": float(add_one_p(np.count_nonzero(null >= value - 1e-12), permutations)),
        "whole": 2 * value / (1 + value) if value > 0 else value,
        "neighbours": float(shared.mean()),
        "neighbours_chance": n / (genes - 1),
        "n_neighbours": n,
        "n_genes": genes,
    }
    return figures, {"correlation": _row_correlation(a, b), "neighbours": shared}


def different_genes(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Null of a gene's own correlation: those of two different genes, one from each map: (N, d), (N, e) -> (pairs,).

    Genes of one complex have places alike, so that this asks more of a gene than independent random vectors would.
    """
    genes = len(first)
    a, b = map(unit_rows, (first, second))
    all_pairs = genes * (genes - 1)
    pairs = rng.choice(all_pairs, MOST_PAIRS, replace=False) if all_pairs > MOST_PAIRS else np.arange(all_pairs)
    one, other = np.divmod(pairs, genes - 1)
    other += other >= one  # a gene makes no pair with itself
    null = np.empty(len(one))
    for pair, (row, column) in enumerate(zip(one, other, strict=True)):
        cosines = [np.delete(rows @ rows[gene], [row, column]) for rows, gene in ((a, row), (b, column))]
        ranks = [rankdata(values) - (genes - 1) / 2 for values in cosines]
        scale = float(np.prod([np.linalg.norm(part) for part in ranks]))
        null[pair] = ranks[0] @ ranks[1] / scale if scale > 0 else 0
    return null


def _ranked(similarity: np.ndarray, upper: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Ranks of the pairs, centred and of unit length over the upper triangle: (N, N) -> (N, N)."""
    ranks = rankdata(similarity[upper])
    ranks -= ranks.mean()
    length = np.linalg.norm(ranks)
    table = np.zeros_like(similarity)
    table[upper] = ranks / length if length > 0 else 0
    return table + table.T


def _row_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each gene's similarities to the others: (N, N), (N, N) -> (N,)."""
    genes = len(a)
    others = ~np.eye(genes, dtype=bool)
    rows = [rankdata(table[others].reshape(genes, genes - 1), axis=1) for table in (a, b)]
    centred = [table - table.mean(axis=1, keepdims=True) for table in rows]
    lengths = [np.linalg.norm(table, axis=1) for table in centred]
    products = (centred[0] * centred[1]).sum(axis=1)
    scale = lengths[0] * lengths[1]
    return np.divide(products, scale, out=np.zeros(genes), where=scale > 0)


def shared_neighbours(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of a gene's nearest genes that both maps name: (N, n), (N, n) -> (N,)."""
    pairs = zip(first, second, strict=True)
    return np.array([len(np.intersect1d(a, b)) for a, b in pairs]) / first.shape[1]
