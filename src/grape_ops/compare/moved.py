"""Which genes' neighbours moved between two groups of maps, beyond what maps of one group differ among themselves.

Letters: R maps, A of them in the first group and R - A in the second; N genes, n nearest genes, d dimensions.

A gene keeps the share of its n nearest genes that two maps both name. The statistic of a gene is the mean share over
pairs of maps of one group, minus the mean over pairs of maps of different groups. If the groups do not differ, it does
not matter which maps form which group: every other division of the same maps into groups of these sizes gives values of
the null, pooled over genes. A gene that moved makes the null values of its own smaller, not larger.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import ceil, comb

import numpy as np

from grape_ops.evaluate.reproducibility import shared_neighbours
from grape_ops.evaluate.retrieval import nearest
from grape_ops.evaluate.significance import add_one_p, benjamini_hochberg

DIVISIONS = 200  # of the maps into two groups; where there are more, so many are drawn
Q_VALUE = 0.05  # false discovery rate at which a gene has moved
_ALIKE = 1e-9  # shares that differ by less are tied


def pair_shares(maps: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Share of a gene's n nearest genes that both maps name, for every pair: R x (N, d) -> (R, R, N)."""
    near = [nearest(vectors, n) for vectors in maps]
    shares = np.ones((len(maps), len(maps), len(maps[0])))
    for first, second in combinations(range(len(maps)), 2):
        shares[first, second] = shares[second, first] = shared_neighbours(near[first], near[second])
    return shares


def moved_genes(
    shares: np.ndarray, n_first: int, comparable: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], int]:
    """Test every gene: (R, R, N) shares, the first ``n_first`` maps against the others.

    Parameters
    ----------
    shares : as ``pair_shares`` gives them.
    n_first : A; R - A are in the second group, and one group has two maps or more.
    comparable : (R, R) bool: pairs of maps that count. Two maps of the very same cells do not, where all others are of
        different cells.
    rng : draws divisions where there are too many.

    Returns
    -------
    (N,) each: ``within`` and ``between`` (mean shares), ``p_value`` (one-sided, pooled over genes), ``q_value``
    (Benjamini and Hochberg); and how many values the null has.
    """
    maps = len(shares)
    within, between = _means(shares, range(n_first), comparable)
    null = []
    for group in _divisions(maps, n_first, rng):
        means = _means(shares, group, comparable)
        if np.isfinite(means[0][0]) and np.isfinite(means[1][0]):
            null.append(means[0] - means[1])
    pooled = np.sort(np.concatenate(null))
    reached = len(pooled) - np.searchsorted(pooled, within - between - _ALIKE, side="left")
    p_values = add_one_p(reached, len(pooled))
    q_values = benjamini_hochberg(p_values)
    return {"within": within, "between": between, "p_value": p_values, "q_value": q_values}, len(pooled)


def fewest_moved(genes: int, null_values: int) -> int:
    """How many genes must move before any has a q-value below ``Q_VALUE``: p-values have a smallest value."""
    return ceil(genes / (1 + null_values) / Q_VALUE)


def _divisions(maps: int, n_first: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Divide the maps otherwise than they are: the first group of each division, each division once."""
    own = tuple(range(n_first))
    # Groups of equal size are the same division when they change names: the first map stays in the first group.
    alike = 2 * n_first == maps
    if comb(maps, n_first) <= DIVISIONS:
        groups: Iterable[tuple[int, ...]] = combinations(range(maps), n_first)
    else:
        groups = dict.fromkeys(tuple(sorted(rng.permutation(maps)[:n_first].tolist())) for _ in range(DIVISIONS))
    return [group for group in groups if group != own and not (alike and 0 not in group)]


def _means(shares: np.ndarray, group: Iterable[int], comparable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean share of pairs within groups and between them: two (N,), NaN where there is no pair."""
    first = np.isin(np.arange(len(shares)), list(group))
    upper = np.triu(comparable, k=1)
    same = first[:, None] == first[None, :]
    return _mean(shares, upper & same), _mean(shares, upper & ~same)


def _mean(shares: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return shares[pairs].mean(axis=0) if pairs.any() else np.full(shares.shape[2], np.nan)
