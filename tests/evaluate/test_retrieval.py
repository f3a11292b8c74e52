"""Average precision against scikit-learn, copairs and brute force; ties, chance, invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.metrics import average_precision_score

from grape_ops.cosine import unit_rows
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision, chance_corrected, relevant_lists


def oracle(vectors: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """scikit-learn, query by query."""
    rows = unit_rows(vectors)
    similarity = (rows @ rows.T).round(12)
    shares = (membership.astype(int) @ membership.T.astype(int)) > 0
    scores = []
    for query in range(len(vectors)):
        relevant, scored = np.delete(shares[query], query), np.delete(similarity[query], query)
        scores.append(average_precision_score(relevant, scored) if relevant.any() else np.nan)
    return np.array(scores)


def multi_label(genes: int, complexes: int, rng: np.random.Generator) -> np.ndarray:
    return rng.random((genes, complexes)) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learn_with_one_label_several_and_none(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(300, 7)).astype(np.float32)
    single = np.eye(40, dtype=bool)[rng.integers(40, size=300)]
    single[:5] = False
    for membership in (single, multi_label(300, 12, rng)):
        found = average_precision(vectors, membership)
        np.testing.assert_allclose(found, oracle(vectors, membership), rtol=0, atol=1e-12)


def test_ties_equal_scikit_learn():
    rng = np.random.default_rng(0)
    vectors = rng.integers(-1, 2, size=(120, 3)).astype(float)  # many equal, opposite and zero vectors
    membership = np.eye(10, dtype=bool)[rng.integers(10, size=120)]
    np.testing.assert_allclose(average_precision(vectors, membership), oracle(vectors, membership), rtol=0, atol=1e-12)


def test_equals_copairs():
    average = pytest.importorskip("copairs.map.average_precision")
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(14), 7)
    vectors = rng.normal(size=(98, 20)).astype(np.float32)
    meta = pd.DataFrame({"complex": labels.astype(str), "gene": [f"g{i}" for i in range(98)]})
    table = average.average_precision(meta, vectors.astype(np.float64), ["complex"], [], [], ["complex"])
    found = average_precision(vectors, np.eye(14, dtype=bool)[labels])
    # copairs divides by lengths in its own order, hence a few units of the last place.
    np.testing.assert_allclose(found, table["average_precision"].to_numpy(), rtol=0, atol=1e-12)


def test_documented_values():
    membership = np.eye(2, dtype=bool)[[0, 0, 0, 1, 1]]
    # All vectors equal: everything ties, so the precision is M / L.
    np.testing.assert_allclose(average_precision(np.ones((5, 3)), membership), [0.5, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(average_precision(np.zeros((5, 3)), membership), [0.5, 0.5, 0.5, 0.25, 0.25])
    perfect = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1]])
    np.testing.assert_allclose(average_precision(perfect, membership), 1)
    lonely = np.array([[True], [True], [False]])
    assert np.isnan(average_precision(np.eye(3), lonely)).tolist() == [False, False, True]
    assert np.isnan(average_precision(np.eye(1), np.ones((1, 1), bool))).all()
    assert np.isnan(average_precision(np.eye(3), np.zeros((3, 2), bool))).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_have_no_precision(value):
    vectors = np.eye(4)
    vectors[2, 1] = value
    assert np.isnan(average_precision(vectors, np.ones((4, 1), bool))).all()


def test_lengths_of_vectors_do_not_count_however_extreme():
    rng = np.random.default_rng(2)
    vectors, membership = rng.normal(size=(40, 5)), np.eye(5, dtype=bool)[rng.integers(5, size=40)]
    scale = 10.0 ** rng.integers(-200, 200, size=(40, 1))
    np.testing.assert_allclose(
        average_precision(vectors * scale, membership), average_precision(vectors, membership), rtol=1e-12
    )


def test_chance_is_the_mean_over_random_rankings():
    rng = np.random.default_rng(3)
    membership = np.eye(5, dtype=bool)[np.repeat(np.arange(5), [2, 3, 4, 5, 6])]
    # To each query all others are drawn alike, so that every ranking of them is as likely, in few dimensions too.
    draws = [average_precision(rng.normal(size=(20, 10)), membership) for _ in range(1500)]
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.abs((np.mean(draws, axis=0) - chance_average_precision(membership)) / error).max() < 4.5


def test_chance_of_the_extremes():
    everything = np.ones((6, 1), bool)
    np.testing.assert_allclose(chance_average_precision(everything), 1)
    np.testing.assert_allclose(chance_average_precision(np.ones((2, 1), bool)), 1)
    assert np.isnan(chance_average_precision(np.zeros((4, 1), bool))).all()
    assert np.isnan(chance_average_precision(np.ones((1, 1), bool))).all()


def test_chance_corrected_scale():
    chance = np.array([0.1, 0.1, 1.0])
    np.testing.assert_allclose(chance_corrected(np.array([0.1, 1.0, 1.0]), chance), [0, 1, 0])


def test_relevant_lists_hold_each_gene_once():
    membership = np.array([[1, 1], [1, 1], [0, 1], [0, 0]], dtype=bool)
    relevant, counts = relevant_lists(membership)
    assert counts.tolist() == [2, 2, 2, 0]
    assert [sorted(row[:n]) for row, n in zip(relevant.tolist(), counts, strict=True)] == [[1, 2], [0, 2], [0, 1], []]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 60), st.integers(2, 8), st.floats(1e-3, 1e3))
def test_invariant_under_renaming_rotation_and_scale(seed, genes, d, scale):
    rng = np.random.default_rng(seed)
    vectors, membership = rng.normal(size=(genes, d)), multi_label(genes, 5, rng)
    vectors[rng.integers(genes)] = vectors[0]  # a tie that has to survive
    expected = average_precision(vectors, membership)
    order = rng.permutation(genes)
    renamed = average_precision(vectors[order], membership[order][:, rng.permutation(5)])
    rotated = average_precision(scale * vectors @ ortho_group.rvs(d, random_state=rng), membership)
    np.testing.assert_allclose(renamed, expected[order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(rotated, expected, rtol=0, atol=1e-12)
