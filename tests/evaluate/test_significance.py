"""Label permutations: exact against enumeration, uniform under the null, small where something is planted."""

from itertools import permutations

import numpy as np
import pytest
from planted_maps import planted
from scipy.stats import false_discovery_control, kstest

from grape_ops.evaluate.retrieval import average_precision
from grape_ops.evaluate.significance import benjamini_hochberg, permute_labels, similarity_ranks


def eye(sizes: list[int]) -> np.ndarray:
    return np.eye(len(sizes), dtype=bool)[np.repeat(np.arange(len(sizes)), sizes)]


def test_observed_scores_equal_average_precision():
    rng = np.random.default_rng(0)
    vectors, membership = rng.integers(-2, 3, size=(80, 3)).astype(float), rng.random((80, 6)) < 0.1
    result = permute_labels([vectors], membership, 10, rng)
    expected = average_precision(vectors, membership)
    np.testing.assert_allclose(result.precision, expected, atol=1e-12)
    assert result.mean_precision == pytest.approx(np.nanmean(expected), abs=1e-12)
    large = membership.sum(axis=0) > 1
    for k in np.flatnonzero(large):
        assert result.complex_precision[k] == pytest.approx(expected[membership[:, k]].mean())
    assert np.isnan(result.complex_precision[~large]).all()


def test_p_values_approach_full_enumeration():
    rng = np.random.default_rng(1)
    vectors, membership = rng.normal(size=(6, 3)), eye([2, 2, 2])
    every = [average_precision(vectors[list(order)], membership) for order in permutations(range(6))]
    observed = average_precision(vectors, membership)
    result = permute_labels([vectors], membership, 20_000, rng)
    for found, exact in (
        (result.mean_p, np.mean(np.mean(every, axis=1) >= observed.mean() - 1e-12)),
        *zip(result.gene_p, np.mean(np.array(every) >= observed - 1e-12, axis=0), strict=True),
    ):
        assert found == pytest.approx(exact, abs=0.015)


def test_p_values_are_uniform_on_200_random_maps():
    rng = np.random.default_rng(2)
    membership = eye([5, 6, 7, 8, 10])
    results = [permute_labels([rng.normal(size=(36, 20))], membership, 400, rng) for _ in range(200)]
    assert kstest([r.mean_p for r in results], "uniform").pvalue > 0.01
    assert kstest([r.complex_p[2] for r in results], "uniform").pvalue > 0.01
    # Genes of one map depend on each other, hence one gene a map.
    assert kstest([r.gene_p[20] for r in results], "uniform").pvalue > 0.01


def test_planted_complexes_are_found_and_only_they():
    vectors, membership = planted([8, 8, 8, 8, 8], 30, 2.0, seed=3)
    vectors[16:] = np.random.default_rng(4).normal(size=(24, 30))
    result = permute_labels([vectors], membership, 2000, np.random.default_rng(5))
    q_values = benjamini_hochberg(result.complex_p)
    assert result.mean_p == 1 / 2001
    assert (q_values[:2] < 0.01).all() and (result.complex_p[2:] > 0.005).all()


def test_runs_share_permutations():
    vectors, membership = planted([6, 6, 6], 10, 0.5, seed=6)
    noise = np.random.default_rng(7).normal(size=vectors.shape)
    once = permute_labels([vectors], membership, 300, np.random.default_rng(8))
    twice = permute_labels([vectors, vectors], membership, 300, np.random.default_rng(8))
    mixed = permute_labels([vectors, noise], membership, 300, np.random.default_rng(8))
    np.testing.assert_allclose(twice.null, once.null)
    np.testing.assert_allclose(mixed.precision, (once.precision + average_precision(noise, membership)) / 2)


def test_constant_vectors_are_worth_nothing():
    result = permute_labels([np.ones((12, 4))], eye([4, 4, 4]), 50, np.random.default_rng(0))
    assert result.mean_p == 1.0 and (result.gene_p == 1.0).all()
    assert result.mean_precision == pytest.approx(3 / 11)


def test_ranks_count_ties_in_front():
    ranks = similarity_ranks(np.array([[1.0, 0], [1, 1], [1, -1], [-1, 0]]))
    assert ranks[0].tolist() == [0, 2, 2, 3]


def test_null_of_the_built_in_complexes_has_the_documented_mean_and_spread():
    from grape_ops.groundtruth import load_truth, membership

    truth = load_truth("complexes-14x106")
    rng = np.random.default_rng(0)
    result = permute_labels([rng.random((106, 500))], membership(truth, truth.genes), 2000, rng)
    assert result.null.mean() == pytest.approx(0.105, abs=0.001)
    assert result.null.std() == pytest.approx(0.0076, abs=0.0015)


def test_benjamini_hochberg_equals_scipy_and_skips_gaps():
    p_values = np.random.default_rng(0).random(50) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values))
    with_gaps = np.insert(p_values, [3, 10], np.nan)
    found = benjamini_hochberg(with_gaps)
    assert np.isnan(found[[3, 11]]).all()
    np.testing.assert_allclose(found[~np.isnan(with_gaps)], false_discovery_control(p_values))
    assert benjamini_hochberg(np.array([])).shape == (0,)
