"""Partition scores against scikit-learn; batched k-means against scikit-learn's over many runs."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_maps import planted
from scipy.stats import ortho_group
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import clustering
from grape_ops.evaluate.agreement import SCORES, agreement, contingency
from grape_ops.evaluate.clustering import kmeans, kmeans_scores, random_scores, summary, sweep


def oracle(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    table = contingency(labels[None], truth)[0]
    return {
        "purity": table.max(axis=1).sum() / len(truth),
        "nmi": normalized_mutual_info_score(truth, labels),
        "ami": adjusted_mutual_info_score(truth, labels),
        "ari": adjusted_rand_score(truth, labels),
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 60), st.integers(1, 9), st.integers(1, 9))
def test_scores_equal_scikit_learn(seed, genes, clusters, classes):
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=genes)
    labels = np.where(rng.random((3, genes)) < 0.5, truth % clusters, rng.integers(clusters, size=(3, genes)))
    found = agreement(labels, truth)
    for run, partition in enumerate(labels):
        expected = oracle(partition, truth)
        for name in ("purity", "nmi", "ari"):
            assert found[name][run] == pytest.approx(expected[name], abs=1e-12), name
        # A vanishing denominator magnifies rounding in AMI, in scikit-learn's as in ours.
        assert found["ami"][run] == pytest.approx(expected["ami"], abs=1e-9, rel=1e-6) or genes < 4


def test_scores_of_the_extremes():
    truth = np.repeat(np.arange(4), 5)
    found = agreement(np.stack([truth[::-1], np.zeros(20, int), np.arange(20)]), truth)
    np.testing.assert_allclose(found["purity"], [1, 0.25, 1])
    np.testing.assert_allclose(found["nmi"], [1, 0, oracle(np.arange(20), truth)["nmi"]], atol=1e-12)
    np.testing.assert_allclose(found["ari"], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found["ami"], [1, 0, 0], atol=1e-12)
    for genes in range(1, 60):  # log(n) - n log(n) / n is not 0 for every n
        trivial = agreement(np.zeros((1, genes), int), np.zeros(genes, int))
        assert [trivial[name][0] for name in SCORES] == [1, 1, 1, 1]
        apart = agreement(np.arange(genes)[None], np.arange(genes))
        assert [apart[name][0] for name in SCORES] == pytest.approx([1, 1, 1, 1])
    assert all(np.isnan(values).all() for values in agreement(np.zeros((2, 0), int), np.zeros(0, int)).values())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_scores_do_not_depend_on_names(seed):
    rng = np.random.default_rng(seed)
    truth, labels = rng.integers(5, size=40), rng.integers(6, size=(1, 40))
    order = rng.permutation(40)
    renamed = agreement(rng.permutation(6)[labels][:, order], rng.permutation(5)[truth][order])
    for name, values in agreement(labels, truth).items():
        np.testing.assert_allclose(renamed[name], values, atol=1e-12)


@pytest.mark.parametrize(("d", "signal", "k"), [(64, 0.6, 14), (3, 1.0, 20)])
def test_batched_kmeans_scores_as_scikit_learn_does_over_300_runs(d, signal, k):
    vectors, membership = planted([5, 6, 7, 8, 9, 10, 7], d, signal, seed=0)
    truth = membership.argmax(axis=1)
    runs = 300
    ours = kmeans_scores(vectors, truth, k, runs, np.random.default_rng(1))
    fits = [KMeans(k, init="random", n_init=1, random_state=seed).fit(vectors) for seed in range(runs)]
    theirs = agreement(np.stack([fit.labels_ for fit in fits]), truth)
    for name in SCORES:
        error = np.sqrt((ours[name].var() + theirs[name].var()) / runs)
        assert abs(ours[name].mean() - theirs[name].mean()) < 4 * error, name
        assert ours[name].std() == pytest.approx(theirs[name].std(), rel=0.3), name


def test_batched_kmeans_follows_scikit_learn_step_by_step_from_the_same_starts():
    vectors, _ = planted([12, 9, 14, 10, 15], 4, 1.0, seed=3)
    centred = vectors - vectors.mean(axis=0)
    starts = np.stack([np.random.default_rng(seed).choice(60, 9, replace=False) for seed in range(60)])
    ours = clustering._lloyd(centred @ centred.T, starts, 9)
    for run, start in enumerate(starts):
        theirs = KMeans(9, init=vectors[start], n_init=1, tol=0).fit(vectors).labels_
        np.testing.assert_array_equal(ours[run], theirs)


def test_empty_clusters_are_refilled_as_scikit_learn_does():
    # Three far pairs and a start that wins no gene once its twin takes all: empties are certain over many starts.
    rng = np.random.default_rng(5)
    vectors = np.repeat(rng.normal(size=(6, 2)) * 10, 5, axis=0) + rng.normal(size=(30, 2)) * 1e-3
    labels = kmeans(vectors, 6, 200, rng)
    assert all(len(np.unique(run)) == 6 for run in labels)


def test_constant_vectors_make_one_cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = kmeans(np.ones((12, 3)), 4, 5, np.random.default_rng(0))
    assert (labels == labels[:, :1]).all()


def test_large_maps_go_through_scikit_learn_alike(monkeypatch):
    vectors, membership = planted([8] * 6, 10, 1.0, seed=1)
    truth = membership.argmax(axis=1)
    batched = kmeans_scores(vectors, truth, 6, 300, np.random.default_rng(0))
    monkeypatch.setattr(clustering, "GRAM_GENES", 10)
    single = kmeans_scores(vectors, truth, 6, 300, np.random.default_rng(0))
    for name in SCORES:
        error = np.sqrt((batched[name].var() + single[name].var()) / 300)
        assert abs(batched[name].mean() - single[name].mean()) < 4.5 * error


@pytest.mark.parametrize("k", [0, 13])
def test_impossible_numbers_of_clusters_are_refused(k):
    with pytest.raises(GrapeOpsError, match="12 genes"):
        kmeans(np.eye(12), k, 2, np.random.default_rng(0))


def test_as_many_clusters_as_genes():
    labels = kmeans(np.random.default_rng(0).normal(size=(9, 3)), 9, 3, np.random.default_rng(0))
    assert all(sorted(run) == list(range(9)) for run in labels)


def test_kmeans_is_drawn_by_its_generator_and_blind_to_rotation():
    vectors, _ = planted([7] * 5, 6, 0.8, seed=2)
    first, again = (kmeans(vectors, 5, 20, np.random.default_rng(7)) for _ in range(2))
    turned = kmeans(vectors @ ortho_group.rvs(6, random_state=0) + 3, 5, 20, np.random.default_rng(7))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, turned)


def test_sweep_has_a_line_a_k_and_beats_the_random_reference():
    vectors, membership = planted([8] * 8, 20, 1.5, seed=4)
    truth = membership.argmax(axis=1)
    lines = sweep(vectors, truth, range(5, 12), 30, np.random.default_rng(0))
    reference = [summary(random_scores(truth, k, 30, np.random.default_rng(k))) for k in range(5, 12)]
    assert [line["k"] for line in lines] == list(range(5, 12))
    assert all(a["ari"]["mean"] > b["ari"]["mean"] + 0.2 for a, b in zip(lines, reference, strict=True))
    assert all(abs(line["ari"]["mean"]) < 0.05 for line in reference)
    assert reference[-1]["nmi"]["mean"] > reference[0]["nmi"]["mean"] + 0.05  # rises with k whatever the vectors
