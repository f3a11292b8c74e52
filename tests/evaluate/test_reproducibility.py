import numpy as np
import pytest
from scipy.stats import spearmanr

from grape_ops.evaluate.reproducibility import different_genes, map_agreement


def agreement(first: np.ndarray, second: np.ndarray, n: int = 5) -> tuple[dict, dict]:
    return map_agreement(first, second, n, 200, np.random.default_rng(0))


def test_a_rotated_map_agrees_fully() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 8))
    rotation, _ = np.linalg.qr(rng.standard_normal((8, 8)))
    figures, genes = agreement(vectors, 3 * vectors @ rotation)
    assert figures["correlation"] == pytest.approx(1)
    assert figures["neighbours"] == 1
    assert figures["p_value"] < 0.01
    np.testing.assert_allclose(genes["correlation"], 1)


def test_unrelated_maps_agree_by_chance() -> None:
    rng = np.random.default_rng(1)
    figures, _ = agreement(rng.standard_normal((60, 8)), rng.standard_normal((60, 5)))
    assert abs(figures["correlation"]) < 0.1
    assert figures["p_value"] > 0.01
    assert figures["neighbours"] == pytest.approx(figures["neighbours_chance"], abs=0.06)


def test_the_correlation_is_spearmans_and_whole_is_spearman_browns() -> None:
    rng = np.random.default_rng(2)
    first = rng.standard_normal((20, 6))
    second = first + 0.5 * rng.standard_normal((20, 6))
    figures, genes = agreement(first, second)
    upper = np.triu_indices(20, 1)
    cosines = [unit @ unit.T for unit in (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (first, second))]
    expected = spearmanr(cosines[0][upper], cosines[1][upper]).statistic
    assert figures["correlation"] == pytest.approx(expected)
    assert figures["whole"] == pytest.approx(2 * expected / (1 + expected))
    others = np.arange(20) != 3
    assert genes["correlation"][3] == pytest.approx(spearmanr(cosines[0][3, others], cosines[1][3, others]).statistic)


def test_the_gene_that_differs_is_named() -> None:
    rng = np.random.default_rng(3)
    first = rng.standard_normal((40, 30))
    second = first.copy()
    second[7] = rng.standard_normal(30)
    _, genes = agreement(first, second)
    assert genes["correlation"].argmin() == 7
    assert genes["neighbours"].argmin() == 7


def test_different_genes_are_the_null_of_a_genes_own_correlation() -> None:
    rng = np.random.default_rng(4)
    first = rng.standard_normal((30, 12))
    second = first + 0.3 * rng.standard_normal((30, 12))
    noise = np.arange(15, 30)
    second[noise] = rng.standard_normal((15, 12))
    _, genes = agreement(first, second)
    null = different_genes(first, second, rng)
    assert len(null) == 30 * 29
    high = np.quantile(null, 0.95)
    assert (genes["correlation"][:15] > high).mean() > 0.8
    assert (genes["correlation"][noise] > high).mean() < 0.2
    others = np.arange(2, 30)
    cosines = [unit @ unit.T for unit in (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (first, second))]
    assert null[0] == pytest.approx(spearmanr(cosines[0][0, others], cosines[1][1, others]).statistic)


def test_genes_that_are_all_alike_correlate_with_nothing() -> None:
    assert (different_genes(np.ones((5, 3)), np.ones((5, 3)), np.random.default_rng(0)) == 0).all()
