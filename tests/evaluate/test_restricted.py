import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from grape_ops.evaluate.retrieval import (
    average_precision,
    decoy_scores,
    restricted_precision,
    shared,
)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((30, 6)), np.eye(5, dtype=bool)[np.arange(30) % 5], np.eye(3)[rng.integers(3, size=30)]


def test_with_all_pairs_counted_it_is_average_precision() -> None:
    vectors, membership, _ = drawn(0)
    everything = np.ones((30, 30), bool)
    found = restricted_precision(vectors, shared(membership), everything)
    np.testing.assert_allclose(found, average_precision(vectors, membership))


def test_pairs_left_out_are_as_if_they_were_not_there() -> None:
    vectors, membership, batches = drawn(1)
    found = restricted_precision(vectors, shared(membership), ~shared(batches > 0))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in range(30):
        others = np.flatnonzero(batches[query].argmax() != batches.argmax(axis=1))
        truth = (membership[others] & membership[query]).any(axis=1)
        assert found[query] == pytest.approx(average_precision_score(truth, unit[others] @ unit[query]))


def test_without_any_pair_there_is_no_precision() -> None:
    vectors, membership, _ = drawn(2)
    one_batch = np.ones((30, 1), bool)
    assert np.isnan(restricted_precision(vectors, shared(membership), ~shared(one_batch))).all()


def test_a_map_of_the_batch_scores_as_decoy_and_a_map_of_the_complexes_does_not() -> None:
    noise, membership, batches = drawn(3)
    scores = [
        decoy_scores(vectors, membership, batches, 200, np.random.default_rng(0))
        for vectors in (batches + 0.1 * noise[:, :3], membership + 0.1 * noise[:, :5])
    ]
    assert scores[0]["decoy_map"] > 0.95
    assert abs(scores[1]["decoy_map"] - scores[1]["decoy_null"]) < 3 * scores[1]["decoy_null_sd"]
