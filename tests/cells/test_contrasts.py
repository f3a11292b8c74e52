"""Contrasts between genes: what is noise, what is a batch's, and what is left."""

import numpy as np
import pytest

from grape_ops.cells.contrasts import CellSums, shrunken_contrasts

GENES, BATCHES, FEATURES = 12, 4, 10


def cells(rng: np.random.Generator, strength: float, batch_effect: float, concentration: float, n: int = 60):
    """Draw features of genes in three groups, unevenly over batches; the last label is the controls."""
    labels = np.repeat(np.arange(GENES + 1), n)
    shares = rng.dirichlet(np.full(BATCHES, concentration), GENES + 1)
    batches = np.concatenate([rng.choice(BATCHES, n, p=p) for p in shares])
    means = np.zeros((GENES + 1, FEATURES))
    means[:GENES] = strength * rng.normal(size=(3, FEATURES))[np.arange(GENES) % 3]
    of_batch = batch_effect * rng.normal(size=(BATCHES, FEATURES))
    return means[labels] + of_batch[batches] + rng.normal(size=(len(labels), FEATURES)), labels, batches


def sums_of(features, labels, batches, size: int = 50) -> CellSums:
    sums = CellSums.zeros(GENES + 1, BATCHES, features.shape[1])
    for i in range(0, len(labels), size):
        sums.add(features[i : i + size], labels[i : i + size], batches[i : i + size])
    return sums


def own_group_first(vectors: np.ndarray) -> float:
    """Share of genes whose nearest gene is of their own group."""
    similarity = vectors[:GENES] @ vectors[:GENES].T - 2 * np.eye(GENES)
    return float(np.mean(similarity.argmax(axis=1) % 3 == np.arange(GENES) % 3))


def test_the_scatter_is_the_covariance_within_gene_and_batch():
    features, labels, batches = cells(np.random.default_rng(0), 2, 3, 2.0)
    centred = features.copy()
    groups = set(zip(labels.tolist(), batches.tolist(), strict=True))
    for label, batch in groups:
        own = (labels == label) & (batches == batch)
        centred[own] -= features[own].mean(axis=0)
    expected = centred.T @ centred / (len(labels) - len(groups))
    np.testing.assert_allclose(sums_of(features, labels, batches).scatter(), expected, rtol=1e-9, atol=1e-9)


def test_effects_of_genes_and_batches_are_told_apart():
    rng = np.random.default_rng(1)
    gene, batch = rng.normal(size=(GENES + 1, FEATURES)), rng.normal(size=(BATCHES, FEATURES))
    labels = np.repeat(np.arange(GENES + 1), 40)
    batches = rng.choice(BATCHES, len(labels))
    exact = sums_of(gene[labels] + batch[batches], labels, batches).effects()
    centre = batch.mean(axis=0)
    np.testing.assert_allclose(exact[1], batch - centre, atol=1e-6)
    np.testing.assert_allclose(exact[0], gene + centre, atol=1e-6)


def test_groups_are_found_and_rows_have_length_one():
    vectors = shrunken_contrasts(sums_of(*cells(np.random.default_rng(2), 0.5, 0.0, 5.0)))
    np.testing.assert_allclose(np.linalg.norm(vectors[:GENES], axis=1), 1)
    assert own_group_first(vectors) == 1


def test_a_batch_that_holds_a_gene_is_not_taken_for_its_phenotype():
    """Where genes lie mostly on one batch each and batches differ, plain means find batches, contrasts groups."""
    plain, ours = [], []
    for seed in range(5):
        features, labels, batches = cells(np.random.default_rng(seed), 0.5, 1.0, 0.3)
        means = np.array([features[labels == label].mean(axis=0) for label in range(GENES + 1)])
        means -= means[:GENES].mean(axis=0)
        plain.append(own_group_first(means / np.linalg.norm(means, axis=1, keepdims=True)))
        ours.append(own_group_first(shrunken_contrasts(sums_of(features, labels, batches))))
    assert np.mean(ours) > np.mean(plain) + 0.1


@pytest.mark.filterwarnings("error")
def test_a_gene_without_cells_has_a_row_of_zeros():
    features, labels, batches = cells(np.random.default_rng(3), 0.5, 0.0, 5.0)
    kept = labels != 4
    vectors = shrunken_contrasts(sums_of(features[kept], labels[kept], batches[kept]))
    assert not vectors[4].any()
    assert np.isfinite(vectors).all()
