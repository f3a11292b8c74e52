"""Ranks, energy distances and names of restyled cells, on planted features with known answers."""

import numpy as np
import pandas as pd
import pytest

from grape_ops.restyle.distances import energy_distance
from grape_ops.restyle.phenotype_results import RECOGNISED, not_checked, recognised, scored, trust
from grape_ops.restyle.recognition import FEWEST_UNSEEN, REFERENCES, Recognition, Unseen, own_rank

GENES, FEATURES, CELLS = 8, 10, 120


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    effects = 4 * rng.normal(size=(GENES, FEATURES)) / np.sqrt(FEATURES)
    knockouts = {row: effect + rng.normal(size=(CELLS, FEATURES)) for row, effect in enumerate(effects)}
    return effects, knockouts, rng.normal(size=(CELLS, FEATURES))


def unseen(planted, cells=12):
    """Real cells of all genes that no generator has seen."""
    rng = np.random.default_rng(1)
    fresh = {row: effect + rng.normal(size=(cells, FEATURES)) for row, effect in enumerate(planted[0])}
    return Unseen(fresh, rng.normal(size=(3 * cells, FEATURES)))


def recognised_genes(planted, restyle, seed=0):
    """Columns of all genes for a generator (row, cells) -> cells; restyled to control, cells come out too bright."""
    effects, knockouts, control = planted
    found = Recognition(knockouts, control, lambda cells: cells, seed, unseen(planted))
    unchanged = control + 0.5
    lines = [found.gene(row, unchanged, restyle(row, unchanged, effects)) for row in range(GENES)]
    return pd.DataFrame(lines).assign(p_own=pd.Series(found.own_p_values()))


def test_a_perfect_generator_comes_near_the_ceiling(planted):
    found = recognised_genes(planted, lambda row, cells, effects: cells - 0.5 + effects[row])
    assert (found["rank"] == 1).all() and (found["rank_held_out"] == 1).all()
    assert (found["rank_unrestyled"] == (GENES + 1) / 2).all() and (found["rank_mean_knockout"] > 1).mean() > 0.7
    assert found["classified"].mean() == pytest.approx(found["classified_held_out"].mean(), abs=0.1)
    assert found["classified"].mean() > 0.7 > 0.2 > found["classified_unrestyled"].mean()
    assert (found["energy"] < found["energy_unrestyled"] / 5).all()
    assert found["energy_held_out"].abs().max() < 0.15 and found["energy"].abs().max() < 0.15
    assert (found[["p_along", "p_own"]] < 0.05).all(axis=None)


def test_a_generator_that_ignores_the_gene_does_not(planted):
    found = recognised_genes(planted, lambda row, cells, effects: cells + effects.mean(axis=0))
    assert (found["rank"] == 1).mean() <= 2 / GENES
    assert found["classified"].mean() < 3 / (GENES + 1)
    assert (found["p_own"] > 0.05).mean() >= 1 - 1 / GENES


def test_what_the_generator_does_to_every_cell_does_not_count_for_the_rank(planted):
    found = recognised_genes(planted, lambda row, cells, effects: cells + 0.2 * effects[row])
    assert (found["rank"] == 1).all() and (found["p_own"] < 0.05).all()


def test_cells_that_could_not_be_measured_are_left_out(planted):
    def restyle(row, cells, effects):
        made = cells - 0.5 + effects[row]
        made[::3] = np.nan
        return made

    assert (recognised_genes(planted, restyle)["rank"] <= 2).all()


def test_genes_of_few_cells_are_not_recognised(planted):
    _, knockouts, control = planted
    few = knockouts | {3: knockouts[3][:5]}
    found = Recognition(few, control, lambda cells: cells, 0, unseen(planted))
    assert found.gene(3, control, control) == {} and found.gene(0, control, control)["ranked"] == GENES - 1
    alone = Recognition({0: knockouts[0]}, control, lambda cells: cells, 0, unseen(planted))
    assert alone.gene(0, control, control) == {} and alone.own_p_values() == {}


def test_without_cells_that_training_has_not_seen_nothing_is_tested(planted):
    effects, knockouts, control = planted
    found = Recognition(knockouts, control, lambda cells: cells, 0, unseen(planted, FEWEST_UNSEEN - 1))
    line = found.gene(0, control, control + effects[0])
    assert line["rank"] == 1 and "p_along" not in line and found.own_p_values() == {}


def test_halves_do_not_overlap(planted):
    _, knockouts, control = planted
    found = Recognition(knockouts, control, lambda cells: cells, 0, unseen(planted))
    halves = found.halves[0]
    assert len(halves.learnt) == len(halves.held_out) == CELLS // 2 and found.learnt.sum() == CELLS // 2
    np.testing.assert_array_equal(np.sort(halves.whole, axis=0), np.sort(knockouts[0], axis=0))


def test_ranks_that_are_shared():
    assert own_rank(np.array([0.9, 0.5, 0.1]), 1) == 2
    assert own_rank(np.zeros(5), 4) == 3
    assert own_rank(np.array([0.5, 0.5, 0.1]), 0) == 1.5


def test_energy_distance_in_closed_form():
    assert energy_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])) == pytest.approx(2 * 1 - 2 - 0)
    rng = np.random.default_rng(0)
    alike = [energy_distance(rng.normal(size=(40, 3)), rng.normal(size=(60, 3))) for _ in range(200)]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / 200**0.5
    far = energy_distance(rng.normal(size=(200, 1)), rng.normal(size=(200, 1)) + 100)
    assert far == pytest.approx(2 * 100 - 2 * 2 / np.pi**0.5, abs=1)


def table(planted, restyle):
    found = recognised_genes(planted, restyle)
    names = pd.DataFrame({"gene_symbol": list("ABCDEFGH"), "note": "", "p_value": [1e-6] * 7 + [0.7], "auc": 0.8})
    return scored(pd.concat([names, found], axis=1), 0.05).set_index("gene_symbol", drop=False)


def test_results_and_summary(planted):
    found = table(planted, lambda row, cells, effects: cells - 0.5 + effects[row])
    assert found["restyling_significant"].sum() == 7 and not found.loc["H", "restyling_significant"]
    assert (found["restyling_p"] >= found[["p_along", "p_own"]].max(axis=1))[found["separable"]].all()
    assert np.isnan(found.loc["H", list(RECOGNISED)].astype(float)).all()
    lines = {gene: trust(line) for gene, line in found.to_dict("index").items()}
    assert lines["A"].status == "significant" and "ranks 1 of 8 by nearness" in lines["A"].words
    assert lines["H"].status == "no phenotype" and "no evidence that real cells differ from control" in lines["H"].words
    summary = recognised(found)
    assert summary["top1"]["restyled cells"] == 1 and summary["top1"]["chance"] == 1 / 8
    assert set(summary["classified"]) == {"chance", "restyled cells", *REFERENCES.values()}
    assert summary["energy"]["restyled cells"] < summary["energy"]["unrestyled cells"]


def test_a_gene_that_is_not_significant_in_words(planted):
    found = table(planted, lambda row, cells, effects: cells + effects.mean(axis=0))
    assert not found["restyling_significant"].any()
    assert "do not read these pictures as its phenotype" in trust(found.loc["A"].to_dict()).words
    missing = found.loc["A"].to_dict() | {"restyling_q": np.nan}
    assert trust(missing).status == "not checked" and "fewer than 5" in trust(missing).words
    unseen_few = missing | {"p_along": np.nan, "n_unseen": 3.0}
    assert "training held out 3 of its cells, 5 are wanted (train.holdout)" in trust(unseen_few).words
    assert "`grape-ops phenotype RUN STORE --out phenotype`" in not_checked().words
    nobody = found.assign(separable=False)
    assert recognised(nobody) == {"top1": None, "energy": None, "classified": None}
