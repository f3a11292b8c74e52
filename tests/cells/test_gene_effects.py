"""Gene effects: what is noise, what is a batch's, and what is left."""

import numpy as np
import pytest

from grape_ops.cells.gene_effects import CellSums, shrunken_gene_effects
from grape_ops.errors import GrapeOpsError

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


def test_the_scatter_is_what_genes_and_batches_leave():
    features, labels, batches = cells(np.random.default_rng(0), 2, 3, 2.0)
    design = np.concatenate([np.eye(GENES + 1)[labels], np.eye(BATCHES)[batches]], axis=1)
    left = features - design @ np.linalg.lstsq(design, features, rcond=None)[0]
    scatter = sums_of(features, labels, batches).effects().scatter
    np.testing.assert_allclose(scatter, left.T @ left / (len(labels) - GENES - BATCHES), rtol=0.01, atol=0.01)


def test_effects_of_genes_and_batches_are_told_apart():
    rng = np.random.default_rng(1)
    gene, batch = rng.normal(size=(GENES + 1, FEATURES)), 5 * rng.normal(size=(BATCHES, FEATURES))
    labels = np.repeat(np.arange(GENES + 1), 4000)
    batches = rng.choice(BATCHES, len(labels))
    exact = sums_of(gene[labels] + batch[batches], labels, batches, 5000).effects()
    centre = batch.mean(axis=0)
    np.testing.assert_allclose(exact.batch, batch - centre, atol=1e-3)
    np.testing.assert_allclose(exact.gene, gene + centre, atol=1e-3)


def test_batches_that_differ_by_chance_only_are_left_as_they_are():
    """Genes lie on one batch each, so that few controls alone tell batches from genes: what they say is chance."""
    rng = np.random.default_rng(4)
    of_gene = np.arange(40) % 8
    labels = np.concatenate([np.repeat(np.arange(40), 30), np.full(8 * 4, 40)])
    batches = np.concatenate([np.repeat(of_gene, 30), np.repeat(np.arange(8), 4)])
    sums = CellSums.zeros(41, 8, FEATURES)
    sums.add(rng.normal(size=(len(labels), FEATURES)), labels, batches)
    by_controls = np.array([rng.normal(size=(4, FEATURES)).mean(axis=0) for _ in range(8)])
    assert (sums.effects().batch ** 2).mean() < 0.2 * (by_controls**2).mean()


def test_few_controls_are_enough_where_batches_differ_much():
    """Genes lie on one batch each, with many cells: all that ties batches together are 10 controls a batch."""
    rng = np.random.default_rng(6)
    batch = 3 * rng.normal(size=(8, FEATURES))
    labels = np.concatenate([np.repeat(np.arange(160), 150), np.full(8 * 10, 160)])
    batches = np.concatenate([np.repeat(np.arange(160) % 8, 150), np.repeat(np.arange(8), 10)])
    sums = CellSums.zeros(161, 8, FEATURES)
    sums.add(batch[batches] + rng.normal(size=(len(labels), FEATURES)), labels, batches)
    assert np.abs(sums.effects().batch - (batch - batch.mean(axis=0))).mean() < 0.4


@pytest.mark.filterwarnings("error")
def test_batches_that_nothing_ties_together_are_left_as_they_are():
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(GENES), 20)
    for batches, count in ((np.zeros_like(labels), 1), (labels % 4, 4), (labels % 4, 5)):
        sums = CellSums.zeros(GENES + 1, count, FEATURES)
        sums.add(rng.normal(size=(len(labels), FEATURES)) + 2 * (batches % 2)[:, None], labels, batches)
        np.testing.assert_allclose(sums.effects().batch, 0, atol=1e-6)
        assert np.isfinite(shrunken_gene_effects(sums, 0.4)).all()


def test_neither_the_scale_of_a_feature_nor_one_that_is_constant_changes_gene_effects():
    rng = np.random.default_rng(5)
    features, labels, batches = cells(rng, 0.5, 0.5, 2.0)
    one = shrunken_gene_effects(sums_of(features, labels, batches), 0.4)
    odd = np.concatenate([features * 10.0 ** rng.integers(-3, 4, FEATURES), np.full((len(labels), 1), 7.0)], axis=1)
    other = shrunken_gene_effects(sums_of(odd, labels, batches), 0.4)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=0.02)


def test_groups_are_found_and_rows_have_length_one():
    vectors = shrunken_gene_effects(sums_of(*cells(np.random.default_rng(2), 0.5, 0.0, 5.0)), 0.4)
    np.testing.assert_allclose(np.linalg.norm(vectors[:GENES], axis=1), 1)
    assert own_group_first(vectors) == 1


def test_gene_specific_variance_does_not_hide_what_genes_share():
    """A few shared directions, and each gene one of its own: cells are so many that chance plays no part."""
    rng = np.random.default_rng(8)
    group = np.arange(GENES) % 3
    within = group[:, None] == group

    def gap(fraction: float) -> float:
        """How much more alike genes of a group are than others."""
        rows = shrunken_gene_effects(sums, fraction)[:GENES]
        cosine = rows @ rows.T
        return float(cosine[within & ~np.eye(GENES, dtype=bool)].mean() - cosine[~within].mean())

    means = np.zeros((GENES + 1, 40))
    means[:GENES] = rng.normal(size=(3, 40))[group] + rng.normal(size=(GENES, 40))
    labels = np.repeat(np.arange(GENES + 1), 400)
    sums = CellSums.zeros(GENES + 1, 1, 40)
    sums.add(means[labels] + rng.normal(size=(len(labels), 40)), labels, np.zeros_like(labels))
    assert gap(0.4) > gap(0.0) + 0.1


def test_a_batch_that_holds_a_gene_is_not_taken_for_its_phenotype():
    """Where genes lie mostly on one batch each and batches differ, plain means find batches, gene effects groups."""
    plain, ours = [], []
    for seed in range(5):
        features, labels, batches = cells(np.random.default_rng(seed), 0.5, 1.0, 0.3)
        means = np.array([features[labels == label].mean(axis=0) for label in range(GENES + 1)])
        means -= means[:GENES].mean(axis=0)
        plain.append(own_group_first(means / np.linalg.norm(means, axis=1, keepdims=True)))
        ours.append(own_group_first(shrunken_gene_effects(sums_of(features, labels, batches), 0.4)))
    assert np.mean(ours) > np.mean(plain) + 0.1


@pytest.mark.filterwarnings("error")
def test_a_gene_without_cells_has_a_row_of_zeros():
    features, labels, batches = cells(np.random.default_rng(3), 0.5, 0.0, 5.0)
    kept = labels != 4
    vectors = shrunken_gene_effects(sums_of(features[kept], labels[kept], batches[kept]), 0.4)
    assert not vectors[4].any()
    assert np.isfinite(vectors).all()


@pytest.mark.filterwarnings("error")
def test_features_that_do_not_vary_within_genes_are_refused():
    labels, batches = np.repeat(np.arange(GENES + 1), 3), np.zeros(3 * (GENES + 1), int)
    with pytest.raises(GrapeOpsError, match="No feature differs between cells of one gene"):
        shrunken_gene_effects(sums_of(labels[:, None] * np.ones(FEATURES), labels, batches), 0.4)
