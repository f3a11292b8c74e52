"""How well a partition agrees with the complexes, from contingency tables, many partitions at a time.

Letters: R partitions of N genes into k clusters, C complexes. Tables are (R, k, C) counts. The definitions are
scikit-learn's: natural logarithms, NMI and AMI normalised by the arithmetic mean of the two entropies.
"""

from functools import lru_cache

import numpy as np
from scipy.special import gammaln, xlogy

SCORES = ("purity", "nmi", "ami", "ari")


def contingency(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count genes of every cluster and complex: (R, N) int, (N,) int -> (R, k, C) int."""
    runs = len(labels)
    clusters, classes = int(labels.max()) + 1, int(truth.max()) + 1
    cells = (np.arange(runs)[:, None] * clusters + labels) * classes + truth
    return np.bincount(cells.ravel(), minlength=runs * clusters * classes).reshape(runs, clusters, classes)


def agreement(labels: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Purity, NMI, AMI and ARI of R partitions: (R, N) int, (N,) int -> name -> (R,); NaN without genes."""
    if not len(truth):
        return {name: np.full(len(labels), np.nan) for name in SCORES}
    table = contingency(np.atleast_2d(labels), truth)
    information, cluster_entropy, class_entropy = _entropies(table)
    return {
        "purity": purity(table),
        "nmi": _normalised(information, cluster_entropy, class_entropy),
        "ami": _adjusted(table, information, cluster_entropy, class_entropy),
        "ari": adjusted_rand(table),
    }


def purity(table: np.ndarray) -> np.ndarray:
    """Share of genes that belong to the commonest complex of their cluster: (R, k, C) -> (R,)."""
    return table.max(axis=2).sum(axis=1) / table[0].sum()


def adjusted_rand(table: np.ndarray) -> np.ndarray:
    """Adjusted Rand index from counts of pairs: (R, k, C) -> (R,); 1 when both partitions are trivial alike."""
    pairs = _pairs(table).sum(axis=(1, 2))
    cluster_pairs = _pairs(table.sum(axis=2)).sum(axis=1)
    class_pairs = _pairs(table.sum(axis=1)).sum(axis=1)
    expected = cluster_pairs * class_pairs / max(_pairs(table[0].sum()), 1)
    best = (cluster_pairs + class_pairs) / 2
    room = best - expected
    return np.divide(pairs - expected, room, out=np.ones(len(table)), where=room != 0)


def _pairs(counts: np.ndarray) -> np.ndarray:
    return counts * (counts - 1) / 2


def _entropies(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mutual information and both entropies in nats: (R, k, C) -> three (R,)."""
    total = table[0].sum()
    clusters, classes = table.sum(axis=2), table.sum(axis=1)
    cluster_entropy = np.log(total) - _x_log_x(clusters).sum(axis=1) / total
    class_entropy = np.log(total) - _x_log_x(classes).sum(axis=1) / total
    joint = np.log(total) - _x_log_x(table).sum(axis=(1, 2)) / total
    information = cluster_entropy + class_entropy - joint
    # What is left of equal terms after rounding is nothing: one cluster has no entropy.
    return _without_rounding(information), _without_rounding(cluster_entropy), _without_rounding(class_entropy)


def _without_rounding(nats: np.ndarray) -> np.ndarray:
    return np.where(nats < np.finfo(np.float64).eps * 8, 0.0, nats)


def _x_log_x(counts: np.ndarray) -> np.ndarray:
    """x log x of counts by a look-up table, which spares a logarithm per cell."""
    values = np.arange(counts.max() + 1, dtype=np.float64)
    return xlogy(values, values)[counts]


def _normalised(information: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """NMI; two partitions of one cluster each agree fully."""
    mean = (first + second) / 2
    return np.divide(information, mean, out=np.ones(len(mean)), where=mean > 0)


def _adjusted(table: np.ndarray, information: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """AMI: information beyond what partitions of these sizes share by chance."""
    expected = expected_information(table)
    room = (first + second) / 2 - expected
    # Equal partitions leave as much room as they share, which may be 0 / 0 (one cluster, or a cluster a gene).
    equal = ((table > 0).sum(axis=1) <= 1).all(axis=1) & ((table > 0).sum(axis=2) <= 1).all(axis=1)
    tiny = np.finfo(np.float64).eps
    room = np.where(room < 0, np.minimum(room, -tiny), np.maximum(room, tiny))
    return np.where(equal, 1.0, (information - expected) / room)


def expected_information(table: np.ndarray) -> np.ndarray:
    """Mutual information expected of random partitions with the same sizes: (R, k, C) -> (R,).

    Each term depends on the size of one cluster and of one complex only, so terms are summed over complexes once
    per cluster size and looked up.
    """
    sizes = table.sum(axis=2)
    classes = table[0].sum(axis=0)
    total = int(classes.sum())
    class_sizes, times = np.unique(classes[classes > 0], return_counts=True)
    term = np.zeros(sizes.max() + 1)
    for size in np.unique(sizes[sizes > 0]):
        term[size] = sum(t * _expected_term(int(size), int(b), total) for b, t in zip(class_sizes, times, strict=True))
    return term[sizes].sum(axis=1)


@lru_cache(maxsize=1 << 16)
def _expected_term(a: int, b: int, total: int) -> float:
    """Expected information of a cluster of ``a`` and a complex of ``b`` genes out of ``total``."""
    shared = np.arange(max(1, a + b - total), min(a, b) + 1, dtype=np.float64)
    log_chance = (
        gammaln(a + 1) + gammaln(b + 1) + gammaln(total - a + 1) + gammaln(total - b + 1) - gammaln(total + 1)
    ) - (gammaln(shared + 1) + gammaln(a - shared + 1) + gammaln(b - shared + 1) + gammaln(total - a - b + shared + 1))
    return float(np.sum(shared / total * np.log(total * shared / (a * b)) * np.exp(log_chance)))
