"""Significant restyling: a generator that knows nothing of the gene is not significant, a perfect one is."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest

from grape_ops.cosine import cosines
from grape_ops.restyle.recognition import FEWEST_OTHERS, centred, lie_along, points_to_its_own

GENES, FEATURES, CELLS, KNOCKOUTS, UNSEEN, LEVEL = 24, 40, 150, 120, 15, 0.05


def screen(rng):
    """Effects of 24 genes in 6 complexes of unequal strength (G, F), with a part that all of them share."""
    shared, strength = rng.normal(size=FEATURES) / 6, rng.lognormal(0, 0.5, (GENES, 1))
    complexes = rng.normal(size=(6, FEATURES))
    own = complexes[np.arange(GENES) % 6] + 0.5 * rng.normal(size=(GENES, FEATURES))
    return shared + 1.5 * strength * own / np.linalg.norm(own, axis=1, keepdims=True)


def p_values(rng, real, made, unseen_cells=UNSEEN):
    """Both p-values (2, G) of a screen whose restyling changes cells by ``made`` (G, F) on average."""
    known = real + rng.normal(size=real.shape) / np.sqrt(KNOCKOUTS)
    unseen = real[:, None] + rng.normal(size=(GENES, unseen_cells, FEATURES))
    controls = rng.normal(size=(3 * unseen_cells, FEATURES))
    change = made + 0.4 * rng.normal(size=(GENES, FEATURES)) / np.sqrt(CELLS)
    along = [lie_along(cells, controls, gene) for cells, gene in zip(unseen, change, strict=True)]
    return np.array([along, points_to_its_own(change, unseen.mean(axis=1), known)])


def significant(found):
    return false_discovery_control(found.max(axis=0)) < LEVEL


def the_same_for_every_gene(rng, real):
    return np.tile(real.mean(axis=0) + rng.normal(size=FEATURES) / 10, (GENES, 1))


def anything_of_any_size(rng, real):
    return real.mean(axis=0) + rng.lognormal(0, 1, (GENES, 1)) * rng.normal(size=real.shape) / 5


def up_or_down_one_axis(rng, real):
    return rng.normal(size=(GENES, 1)) * real[0] / np.linalg.norm(real[0])


def of_another_complex(rng, real):
    return np.roll(real, 1, axis=0)


@pytest.mark.parametrize(
    "generator", [the_same_for_every_gene, anything_of_any_size, up_or_down_one_axis, of_another_complex]
)
def test_a_generator_that_knows_nothing_of_the_gene_is_not_significant(generator):
    false = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        real = screen(rng)
        false.append(significant(p_values(rng, real, generator(rng, real))))
    # A false call in any screen is what the false discovery rate bounds where nothing is true.
    assert np.mean([found.any() for found in false]) <= 3 * LEVEL
    assert np.mean(false) <= LEVEL / 2


def test_without_knowledge_p_values_are_not_smaller_than_uniform():
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        real = screen(rng)
        made = rng.normal(size=real.shape)
        found.append(points_to_its_own(made, real)[0])  # one per screen: those of one screen are not independent
    assert kstest(found, "uniform", alternative="greater").pvalue > 0.01


def test_a_perfect_generator_is_significant_and_so_is_a_faint_one():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        real = screen(rng)
        assert significant(p_values(rng, real, real)).mean() > 0.85
        artefact = rng.normal(size=FEATURES) / 5
        assert significant(p_values(rng, real, real / 4 + artefact, KNOCKOUTS)).mean() > 0.5


def test_cells_must_go_towards_the_knock_out_at_all():
    """Pointing away less than others do is not enough."""
    rng = np.random.default_rng(0)
    real = screen(rng)
    along, own = p_values(rng, real, real - 3 * real.mean(axis=0) - 4 * real.mean(axis=0))
    assert (own < LEVEL).mean() > 0.5 and (np.maximum(along, own) < LEVEL).mean() < (own < LEVEL).mean()


def test_a_generator_that_memorises_the_noise_of_its_cells_is_not_significant_on_cells_it_has_not_seen():
    false = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        taught = rng.normal(size=(GENES, FEATURES)) / np.sqrt(KNOCKOUTS)  # there is no phenotype, only chance
        found = p_values(rng, np.zeros((GENES, FEATURES)), 3 * taught)
        false.append((found < LEVEL).mean(axis=1))
        assert (points_to_its_own(3 * taught, taught) < LEVEL).mean() > 0.5  # nor would the cells it was taught show it
    assert (np.mean(false, axis=0) < 1.5 * LEVEL).all()


def test_the_test_along_is_welch_s_and_no_movement_is_no_evidence():
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(0)
    controls, knockouts, change = rng.normal(size=(50, 3)), rng.normal(0.3, 2, (20, 3)), np.array([1.0, 2.0, 0.0])
    expected = ttest_ind(knockouts @ change, controls @ change, equal_var=False, alternative="greater").pvalue
    assert lie_along(knockouts, controls, change) == pytest.approx(expected)
    assert lie_along(knockouts, controls, np.zeros(3)) == 1


def test_too_few_unlike_genes_are_not_tested():
    few = np.eye(FEWEST_OTHERS)
    assert np.isnan(points_to_its_own(few, few)).all()
    enough = np.eye(FEWEST_OTHERS + 2)
    assert (points_to_its_own(enough, enough) < 0.001).all()
    assert (points_to_its_own(np.ones_like(enough), enough) == 1).all()
    alike = np.concatenate([np.ones((4, 6)) + 0.01 * np.eye(6)[:4], -np.ones((4, 6)) + 0.01 * np.eye(6)[:4]])
    assert np.isnan(points_to_its_own(alike, alike)).all()  # only four are unlike each


def test_cosines_and_centring():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    assert cosines(a, b)[1, 2] == pytest.approx(a[1] @ b[2] / np.linalg.norm(a[1]) / np.linalg.norm(b[2]))
    assert (cosines(np.zeros((1, 5)), b) == 0).all()
    one_strong = np.zeros((9, 5))
    one_strong[0] = 100
    np.testing.assert_array_equal(centred(one_strong + 3), one_strong)
