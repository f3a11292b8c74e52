"""Distances between two sets of cells, in one feature or in many; pure functions of arrays.

Fréchet distance: Dowson and Landau 1982, for cells Heusel et al. 2017. Kernel distance: the unbiased squared maximum
mean discrepancy, Gretton et al. 2012, Lemma 6. Letters: n and m cells of the two sets, F features, B draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats
from scipy.spatial.distance import cdist, pdist


@dataclass(frozen=True)
class Interval:
    """A number, and a bootstrap interval over cells around it."""

    value: float
    low: float
    high: float


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians that fit two sets: (n, F), (m, F)."""
    moments = [(part.mean(axis=0), np.atleast_2d(np.cov(part, rowvar=False))) for part in (first, second)]
    return gaussian_frechet(*moments[0], *moments[1])


def gaussian_frechet(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """|a - b|^2 + tr(A + B - 2 (A B)^1/2) of two Gaussians: (F,), (F, F) each."""
    # tr (A B)^1/2 is the sum of roots of the eigenvalues of A^1/2 B A^1/2, which is symmetric.
    values, axes = linalg.eigh(cov_a)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    roots = np.sqrt(np.maximum(linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    gap = mean_a - mean_b
    return float(max(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * roots, 0.0))


def median_width(points: np.ndarray, most: int = 1000) -> float:
    """Width of the Gaussian kernel: median distance between the points (n, F), the first ``most`` of them."""
    return max(float(np.median(pdist(points[:most]))), 1e-12)


def kernel_interval(
    first: np.ndarray, second: np.ndarray, width: float, rng: np.random.Generator, draws: int, confidence: float
) -> Interval:
    """Unbiased squared kernel distance of two sets, with its bootstrap interval: (n, F), (m, F).

    The kernel is exp(-d^2 / (2 width^2)). The value is below 0 for sets too alike. A cell drawn twice is never compared
    with itself.
    """
    grams = _grams(first, second, width)
    value = _weighted_kernel_distance(*grams, np.ones(len(first)), np.ones(len(second)))
    sizes = [(size, np.full(size, 1 / size)) for size in (len(first), len(second))]
    drawn = [
        _weighted_kernel_distance(*grams, *(rng.multinomial(size, share).astype(float) for size, share in sizes))
        for _ in range(draws)
    ]
    return interval_around(value, np.array(drawn), confidence)


def bootstrap(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    draws: int,
    confidence: float,
) -> Interval:
    """Bootstrap interval of a distance between two sets of cells (n, F), (m, F), each resampled on its own."""
    drawn = [
        statistic(first[rng.integers(len(first), size=len(first))], second[rng.integers(len(second), size=len(second))])
        for _ in range(draws)
    ]
    return interval_around(statistic(first, second), np.array(drawn), confidence)


def interval_around(value: float, drawn: np.ndarray, confidence: float) -> Interval:
    """Percentiles of the draws (B,), shifted by their bias: resampled sets lie further apart than their originals.

    The bias is the median's: a ratio whose denominator comes near 0 in some draws has no mean to speak of.
    """
    shifted = drawn - (np.median(drawn) - value)
    low, high = np.quantile(shifted, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def energy_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|: (n, F), (m, F); 0 on average for two alike sets.

    Székely and Rizzo 2013. Sets of two cells at least; the sizes may differ.
    """
    within = sum(2 * pdist(part).sum() / (len(part) * (len(part) - 1)) for part in (first, second))
    return float(2 * cdist(first, second).mean() - within)


def differing_features(first: np.ndarray, second: np.ndarray, q_value: float) -> np.ndarray:
    """Features whose distributions differ by Kolmogorov and Smirnov's test at a false discovery rate: -> (F,) bool."""
    p_values = stats.ks_2samp(first, second, axis=0, method="asymp").pvalue
    return np.asarray(stats.false_discovery_control(p_values) < q_value)


def wasserstein(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance feature by feature, of sets of one size: (n, F), (n, F) -> (F,)."""
    return np.abs(np.sort(first, axis=0) - np.sort(second, axis=0)).mean(axis=0)


@dataclass(frozen=True)
class Coverage:
    """How much of the way from control to knock-out cells restyling goes.

    Attributes
    ----------
    share : 1 - (restyled to knock-out) / (control to knock-out), both summed over the features of the phenotype and
        less the noise floor; 1 if restyled cells are as good as other knock-out cells, 0 if they are no nearer than
        the control, below 0 if they are further away.
    control, restyled, floor : (F,) Wasserstein distances to one half of the knock-out cells, of control cells,
        restyled cells, and the other half.
    """

    share: Interval
    control: np.ndarray
    restyled: np.ndarray
    floor: np.ndarray


def coverage(
    control: np.ndarray,
    restyled: np.ndarray,
    knockout: np.ndarray,
    phenotype: np.ndarray,
    rng: np.random.Generator,
    *,
    splits: int,
    draws: int,
    confidence: float,
) -> Coverage:
    """Share of the control-to-knock-out distance that restyling covers.

    Every distance is taken between sets of one size, half of the knock-out cells, since small sets lie apart by chance.

    Parameters
    ----------
    control, restyled : (n, F), the same cells before and after.
    knockout : (m, F), m at least 4.
    phenotype : (F,) bool, the features in which control and knock-out cells differ.
    rng, splits, draws, confidence : random halves behind the floor, draws of cells behind the interval.
    """
    size = min(len(knockout) // 2, len(control))

    def distances(resample: bool) -> np.ndarray:
        order = rng.permutation(len(knockout))
        halves = [order[:size], order[size : 2 * size]]
        source = rng.permutation(len(control))[:size]
        if resample:
            halves = [half[rng.integers(size, size=size)] for half in halves]
            source = rng.integers(len(control), size=size)
        target, other = knockout[halves[0]], knockout[halves[1]]
        return np.stack([wasserstein(part, target) for part in (control[source], restyled[source], other)])

    parts = np.mean([distances(resample=False) for _ in range(splits)], axis=0)
    value = _share(parts[:, phenotype])
    drawn = np.array([_share(distances(resample=True)[:, phenotype]) for _ in range(draws)])
    found = np.isfinite(drawn)
    share = interval_around(value, drawn[found], confidence) if found.any() else Interval(value, np.nan, np.nan)
    return Coverage(share, *parts)


def _share(parts: np.ndarray) -> float:
    """(3, F) distances -> share covered; not a number where control cells lie within the floor."""
    control, restyled, floor = parts.sum(axis=1)
    return float(1 - (restyled - floor) / (control - floor)) if control > floor else float("nan")


def _grams(first: np.ndarray, second: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    within_first, within_second, between = (
        np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2))
        for a, b in ((first, first), (second, second), (first, second))
    )
    np.fill_diagonal(within_first, 0)
    np.fill_diagonal(within_second, 0)
    return within_first, within_second, between


def _weighted_kernel_distance(
    within_first: np.ndarray, within_second: np.ndarray, between: np.ndarray, u: np.ndarray, v: np.ndarray
) -> float:
    """Mean kernel over pairs of different cells, weighted by how often each was drawn: (n,), (m,)."""
    pairs_u, pairs_v = u.sum() ** 2 - (u**2).sum(), v.sum() ** 2 - (v**2).sum()
    crossed = u @ between @ v / (u.sum() * v.sum())
    return float(u @ within_first @ u / pairs_u + v @ within_second @ v / pairs_v - 2 * crossed)
