"""Distances against closed forms of Gaussians, and the noise floor."""

import numpy as np
import pytest
from scipy import stats

from grape_ops.restyle.distances import (
    _share,
    bootstrap,
    coverage,
    differing_features,
    frechet_distance,
    gaussian_frechet,
    interval_around,
    kernel_interval,
    median_width,
    wasserstein,
)


def gaussians(n, mean, cov, seed):
    return np.random.default_rng(seed).multivariate_normal(mean, cov, size=n)


def random_cov(seed, d=3):
    root = np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T + 0.2 * np.eye(d)


def test_frechet_of_commuting_gaussians():
    a, b = np.array([1.0, 2.0]), np.array([4.0, 6.0])
    assert gaussian_frechet(a, np.diag([1.0, 9.0]), b, np.diag([4.0, 1.0])) == pytest.approx(25 + 1 + 4)
    assert gaussian_frechet(a, np.diag([1.0, 9.0]), a, np.diag([1.0, 9.0])) == pytest.approx(0, abs=1e-12)


def test_frechet_of_any_gaussians_is_the_optimal_transport_cost():
    # The map T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 carries the one Gaussian to the other; its cost is the distance.
    from scipy.linalg import inv, sqrtm

    cov_a, cov_b, mean = random_cov(1), random_cov(2), np.array([0.5, -1.0, 2.0])
    root = sqrtm(cov_a).real
    move = inv(root) @ sqrtm(root @ cov_b @ root).real @ inv(root)
    np.testing.assert_allclose(move @ cov_a @ move.T, cov_b, atol=1e-8)
    gap = move - np.eye(3)
    expected = mean @ mean + np.trace(gap @ cov_a @ gap.T)
    assert gaussian_frechet(np.zeros(3), cov_a, mean, cov_b) == pytest.approx(expected)
    assert gaussian_frechet(mean, cov_b, np.zeros(3), cov_a) == pytest.approx(expected)


def test_frechet_of_samples_comes_near_the_closed_form():
    cov_a, cov_b = random_cov(3), random_cov(4)
    first, second = gaussians(20_000, np.zeros(3), cov_a, 0), gaussians(20_000, np.ones(3), cov_b, 1)
    expected = gaussian_frechet(np.zeros(3), cov_a, np.ones(3), cov_b)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.05)
    assert frechet_distance(first[:, :1], second[:, :1]) == pytest.approx(
        (first[:, 0].mean() - second[:, 0].mean()) ** 2 + (first[:, 0].std(ddof=1) - second[:, 0].std(ddof=1)) ** 2
    )


def mean_kernel(gap, cov, width):
    """E exp(-|x - y|^2 / 2w^2) for x - y ~ N(gap, cov)."""
    d = len(gap)
    spread = np.eye(d) + cov / width**2
    return np.exp(-0.5 * gap @ np.linalg.solve(spread, gap) / width**2) / np.sqrt(np.linalg.det(spread))


def kernel_closed_form(mean, cov_a, cov_b, width):
    zero = np.zeros(len(mean))
    within = mean_kernel(zero, 2 * cov_a, width) + mean_kernel(zero, 2 * cov_b, width)
    return within - 2 * mean_kernel(mean, cov_a + cov_b, width)


def kernel_distance(first, second):
    return kernel_interval(first, second, 2.0, np.random.default_rng(0), 1, 0.9).value


def test_kernel_distance_is_unbiased():
    cov_a, cov_b, mean = random_cov(5), random_cov(6), np.array([0.4, 0.0, -0.3])
    expected = kernel_closed_form(mean, cov_a, cov_b, 2.0)
    found = [
        kernel_distance(gaussians(25, np.zeros(3), cov_a, seed), gaussians(18, mean, cov_b, 10_000 + seed))
        for seed in range(2000)
    ]
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(len(found))
    same = [kernel_distance(*gaussians(40, np.zeros(3), cov_a, seed).reshape(2, 20, 3)) for seed in range(2000)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(len(same))
    assert min(same) < 0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    cov_a, cov_b, mean = np.eye(2), 2 * np.eye(2), np.array([0.7, 0.0])
    frechet = gaussian_frechet(np.zeros(2), cov_a, mean, cov_b)
    kernel = kernel_closed_form(mean, cov_a, cov_b, 1.5)
    inside = np.zeros(2)
    for seed in range(80):
        first, second = gaussians(120, np.zeros(2), cov_a, seed), gaussians(120, mean, cov_b, 500 + seed)
        rng = np.random.default_rng(seed)
        whole = bootstrap(frechet_distance, first, second, rng, 100, 0.9)
        other = kernel_interval(first, second, 1.5, rng, 100, 0.9)
        inside += [whole.low <= frechet <= whole.high, other.low <= kernel <= other.high]
    assert (inside >= 0.78 * 80).all()


def test_kernel_interval_holds_its_value_and_reproduces():
    first, second = gaussians(30, np.zeros(2), np.eye(2), 0), gaussians(40, np.ones(2), np.eye(2), 1)
    width = median_width(np.concatenate([first, second]))
    found = kernel_interval(first, second, width, np.random.default_rng(2), 50, 0.95)
    assert found.low < found.value < found.high
    assert found == kernel_interval(first, second, width, np.random.default_rng(2), 50, 0.95)


def test_the_shift_puts_the_draws_around_the_value():
    drawn = np.linspace(5, 7, 1001)
    around = interval_around(2.0, drawn, 0.9)
    assert (around.low, around.high) == (pytest.approx(1.1), pytest.approx(2.9))


def test_wasserstein_is_scipy_s():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(50, 4)), rng.exponential(size=(50, 4))
    expected = [stats.wasserstein_distance(a, b) for a, b in zip(first.T, second.T, strict=True)]
    np.testing.assert_allclose(wasserstein(first, second), expected)


OPTIONS = {"splits": 20, "draws": 60, "confidence": 0.95}


@pytest.mark.parametrize(("moved", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (-0.5, -0.5)])
def test_coverage_is_the_share_of_the_way(moved, expected):
    rng = np.random.default_rng(0)
    shift = np.array([3.0, -2.0, 0.0, 0.0])
    control = rng.normal(size=(400, 4))
    knockout = rng.normal(size=(400, 4)) + shift
    phenotype = np.array([True, True, False, False])
    found = coverage(control, control + moved * shift, knockout, phenotype, rng, **OPTIONS)
    assert found.share.value == pytest.approx(expected, abs=0.06)
    assert found.share.low - 0.05 < expected < found.share.high + 0.05
    assert found.floor.sum() < found.control.sum() / 5


def test_what_restyling_breaks_in_the_phenotype_counts_against_it_and_elsewhere_is_separate():
    rng = np.random.default_rng(1)
    control = rng.normal(size=(400, 2))
    knockout = rng.normal(size=(400, 2)) + np.array([2.0, 0.0])
    restyled = control + np.array([2.0, 4.0])
    both = coverage(control, restyled, knockout, np.array([True, True]), rng, **OPTIONS)
    assert both.share.value < -0.5
    found = coverage(control, restyled, knockout, np.array([True, False]), rng, **OPTIONS)
    assert found.share.value == pytest.approx(1, abs=0.1)
    assert found.restyled[1] - found.floor[1] == pytest.approx(4, abs=0.3)


def test_features_that_differ_are_found_at_the_rate_asked_for():
    rng = np.random.default_rng(2)
    control, knockout = rng.normal(size=(200, 60)), rng.normal(size=(200, 60))
    knockout[:, :5] += 1
    knockout[:, 5:10] *= 2.5
    found = differing_features(control, knockout, 0.05)
    assert found[:10].all() and found[10:].sum() <= 3


@pytest.mark.parametrize(
    ("control", "expected"),
    [([3.0, 2.0], 0.75), ([1.25, 0.25], -1.0), ([1.0, 0.0], np.nan), ([0.25, 0.5], np.nan), ([0.0, 0.0], np.nan)],
)
def test_the_share_is_not_a_number_where_control_lies_within_the_floor(control, expected):
    restyled, floor = [1.0, 1.0], [0.5, 0.5]
    np.testing.assert_equal(_share(np.array([control, restyled, floor])), expected)


def test_coverage_of_cells_that_do_not_differ_is_not_a_number():
    same = np.ones((8, 2))
    found = coverage(same, same, same, np.array([True, False]), np.random.default_rng(3), **OPTIONS)
    assert np.isnan([found.share.value, found.share.low, found.share.high]).all()
