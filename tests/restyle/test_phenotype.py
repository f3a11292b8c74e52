"""The phenotype check on planted features, and as a whole on drawn cells."""

import json
import sys
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from grape_ops.cells.writer import write_store
from grape_ops.cli import app
from grape_ops.config import FeatureSettings, GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.randomness import RestylingStream
from grape_ops.restyle.gene_check import Principal
from grape_ops.restyle.phenotype import (
    FeatureSpace,
    _permuted_aucs,
    area_under_roc,
    direction_agreement,
    distinct_features,
    separate,
)
from grape_ops.restyle.phenotype_check import write_check
from grape_ops.restyle.phenotype_results import phenotype_result, scored
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, WELL
from grape_ops.train.loop import train

QUICK = GenerateSettings(cells=30, batch_size=8, trees=40, repeats=3, splits=4, bootstrap=10)


def test_one_of_several_correlated_features_is_kept():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 3))
    values = np.column_stack([base[:, 0], base[:, 0] ** 3, -base[:, 0] + 0.01 * rng.normal(size=300), base[:, 1:]])
    kept = distinct_features(values, 0.9)
    assert len(kept) == 3 and {3, 4} <= set(kept)


def planted_controls(n=400, batches=2, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(batches, size=n)
    values = rng.normal(size=(n, 4)) * (1 + codes[:, None]) + 10 * codes[:, None]
    return values, codes


def test_batches_are_scaled_by_their_own_controls():
    values, codes = planted_controls()
    space = FeatureSpace.of(list("abcd"), values, codes, 2, 0.9)
    scaled = space(values, codes)
    for batch in (0, 1):
        assert np.abs(np.median(scaled[codes == batch], axis=0)).max() < 1e-9
        assert scaled[codes == batch].std(axis=0) == pytest.approx(np.ones(4), rel=0.25)


def test_a_batch_whose_controls_could_not_be_measured_is_scaled_as_all_of_them():
    values, codes = planted_controls()
    values[codes == 1] = np.nan  # the last batch: no nucleus was found in any of its controls
    space = FeatureSpace.of(list("abcd"), values, codes, 2, 0.9)
    np.testing.assert_allclose(space.centre[1], np.median(values[codes == 0], axis=0)[space.columns])
    assert space(np.ones((3, 4)), np.array([1, 1, 0])).shape == (3, len(space.names))


def test_features_that_say_nothing_are_left_out_and_gaps_are_neutral():
    values, codes = planted_controls()
    values[:, 1] = 5.0
    values[::3, 2] = np.nan
    values[0] = np.nan
    space = FeatureSpace.of(list("abcd"), values, codes, 2, 0.9)
    assert space.names == ("a", "d")
    assert (space(np.full((1, 4), np.nan), np.array([0])) == 0).all()
    assert np.abs(space(np.full((1, 4), 1e9), np.array([0]))).max() == 10
    with pytest.raises(GrapeOpsError, match="No feature varies"):
        FeatureSpace.of(["a"], np.ones((50, 1)), np.zeros(50, int), 1, 0.9)


def test_the_forest_finds_the_planted_feature_on_held_out_cells():
    rng = np.random.default_rng(0)
    control, knockout = rng.normal(size=(150, 8)), rng.normal(size=(150, 8))
    knockout[:, 5] += 2
    found = separate(control, knockout, QUICK, 0)
    assert found.auc > 0.85 and found.p_value < 1e-6
    assert found.features[0] == 5 and found.importance[0] > 5 * found.importance[1]
    again = separate(control, knockout, QUICK, 0)
    np.testing.assert_array_equal(again.importance, found.importance)


def test_importance_is_scikit_learn_s():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.inspection import permutation_importance

    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(200, 6)), np.repeat([0, 1], 100)
    values[labels == 1, :3] += [1.0, 0.6, 0.3]
    forest = RandomForestClassifier(30, random_state=0).fit(values[::2], labels[::2])
    test, positive = values[1::2], labels[1::2] == 1
    whole = area_under_roc(forest.predict_proba(test)[:, 1][None], positive)[0]
    ours = whole - _permuted_aucs(forest, test, positive, 40, rng)
    theirs = permutation_importance(forest, test, positive, scoring="roc_auc", n_repeats=40, random_state=0)
    error = np.hypot(ours.std(axis=1), theirs.importances_std) / 40**0.5
    assert (np.abs(ours.mean(axis=1) - theirs.importances_mean) < 4 * error + 1e-6).all()


def test_cells_without_a_phenotype_are_not_separable():
    p_values = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p_values.append(separate(rng.normal(size=(80, 5)), rng.normal(size=(80, 5)), QUICK, seed).p_value)
    assert np.median(p_values) > 0.1 and min(p_values) > 0.001


def test_direction_leaves_out_what_the_generator_does_to_every_cell():
    rng = np.random.default_rng(0)
    control, shift, artefact = rng.normal(size=(100, 6)), np.eye(6)[0] * 2, np.eye(6)[3] * 5
    unchanged, restyled, knockout = control + artefact, control + artefact + shift / 4, control + shift
    assert direction_agreement(control, unchanged, restyled, knockout) == pytest.approx(1)
    assert direction_agreement(control, unchanged, unchanged - shift, knockout) == pytest.approx(-1)
    assert direction_agreement(control, control, restyled, knockout) < 0.3


def test_only_genes_separable_from_control_are_scored():
    p_values = [1e-6, 0.02, 0.4, np.nan]
    table = pd.DataFrame(
        {
            "gene_symbol": list("ABCD"),
            "note": ["", "", "", "fewer than 20 cells"],
            "p_value": p_values,
            "auc": [0.9, 0.6, 0.5, np.nan],
            "share": [0.5, 0.4, 3.0, np.nan],
            "share_low": 0.1,
            "share_high": 0.9,
            "direction": 0.3,
        }
    )
    found = scored(table, 0.05).set_index("gene_symbol")
    assert found["separable"].to_dict() == {"A": True, "B": True, "C": False, "D": False}
    assert found.loc["B", "q_value"] == pytest.approx(0.03)
    assert np.isnan(found.loc["C", ["share", "share_low", "direction"]].astype(float)).all()
    assert found.loc["C", "note"] == "not significantly different from control" and found.loc["D", "note"].startswith(
        "fewer"
    )


@pytest.mark.parametrize(
    ("share", "low", "high", "words"),
    [
        (0.4, 0.2, 0.5, "covers 40% of the way"),
        (-0.4, -0.9, -0.1, "no nearer to the knock-out than control cells (−40%"),
        (0.1, -0.5, 0.5, "uncertain (10%, −50% to 50%)"),
    ],
)
def test_a_gene_in_words(share, low, high, words):
    line = {"separable": True, "auc": 0.8, "note": "", "share": share, "share_low": low, "share_high": high}
    assert words in phenotype_result(line)
    assert "not significantly different from control (AUC 0.80" in phenotype_result(
        line | {"separable": False, "note": "not significantly different from control", "q_value": 0.5}
    )


def test_principal_components_keep_distances():
    values = np.random.default_rng(0).normal(size=(50, 4))
    turned = Principal.of(values, 20)(values)
    np.testing.assert_allclose(
        np.linalg.norm(turned[1:] - turned[:-1], axis=1), np.linalg.norm(values[1:] - values[:-1], axis=1)
    )
    assert turned.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)


@pytest.fixture(scope="module")
def streams():
    """What the check drew: the numbers that make a generator -> the streams, or lines, that asked for it."""
    return defaultdict(set)


@pytest.fixture(scope="module")
def checked(tmp_path_factory, streams, short_config):
    """A check on drawn cells: gene BRIGHT has brighter bodies, gene PLAIN is as the control, gene FEW has few cells."""
    folder = tmp_path_factory.mktemp("checked")
    rng = np.random.default_rng(0)
    genes = [CONTROL_LABEL] * 60 + ["BRIGHT"] * 40 + ["PLAIN"] * 40 + ["FEW"] * 6
    radius = np.hypot(*(np.mgrid[:32, :32] - 16))
    light = rng.uniform(0.8, 1.2, (len(genes), 1, 1))
    body = np.where(np.array(genes) == "BRIGHT", 2.0, 1.0)[:, None, None]
    crops = np.stack([9000 * light * (radius < 6), 6000 * body / light * (radius < 11)], axis=1)
    crops = (crops + rng.normal(3000, 400, crops.shape)).clip(0, 65535).astype(np.uint16)
    cells = pd.DataFrame({GENE: genes, GUIDE: genes, PLATE: "P", WELL: "A1", BATCH: "P|A1", SHARD: "s"})
    cells[IS_CONTROL], cells[ROW] = cells[GENE] == CONTROL_LABEL, range(len(cells))
    write_store(folder / "store", {"s": crops}, cells, ["DNA", "actin"])
    train(folder / "store", folder / "run", short_config)
    make = np.random.default_rng

    def recorded(seed):
        caller = sys._getframe(1)
        numbers = tuple(np.trim_zeros(np.atleast_1d(seed), "b").tolist())  # numpy adds zeros to what it is given
        stream = caller.f_locals.get("stream", f"{caller.f_code.co_filename}:{caller.f_lineno}")
        streams[numbers].add(stream)
        return make(seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", recorded)
        found = write_check(folder / "run", folder / "store", folder / "out", QUICK, FeatureSettings(workers=1), seed=1)
    return folder, found


def test_no_two_draws_of_the_check_share_a_stream(checked, streams):
    assert {RestylingStream.GENE_HALVES, RestylingStream.DISTANCES} <= set().union(*streams.values())
    assert {numbers: shared for numbers, shared in streams.items() if len(shared) > 1} == {}


def test_a_planted_phenotype_is_found_and_its_features_named(checked):
    folder, found = checked
    table = pd.read_csv(folder / "out" / "phenotype.tsv", sep="\t", keep_default_na=False, na_values=[""])
    table = table.set_index("gene_symbol")
    assert table.loc["BRIGHT", "auc"] > 0.95 and table.loc["BRIGHT", "separable"]
    assert np.isfinite(table.loc["BRIGHT", ["share", "share_low", "share_high"]].astype(float)).all()
    assert not table.loc["PLAIN", "separable"] and np.isnan(table.loc["PLAIN", "share"])
    assert table.loc["PLAIN", "note"] == "not significantly different from control"
    assert table.loc["FEW", "note"] == "fewer than 20 cells"
    assert found == json.loads((folder / "out" / "phenotype.json").read_text())
    assert (found["genes"], found["separable"], found["restyling_significant"]) == (3, 1, 0)
    assert found["top1"]["chance"] == 1 / 2 and table.loc["BRIGHT", "ranked"] == 2
    assert table.loc["BRIGHT", "classified_held_out"] > 0.7 > table.loc["BRIGHT", "classified_unrestyled"]
    assert table.loc["BRIGHT", "energy_held_out"] < table.loc["BRIGHT", "energy_unrestyled"]
    assert np.isnan(table.loc["BRIGHT", "restyling_q"])  # two genes are too few to tell chance by
    # A network that was hardly trained is nowhere near the knock-outs.
    assert table.loc["BRIGHT", "share"] < 0.5
    assert table.loc["BRIGHT", "kernel_control"] > table.loc["BRIGHT", "kernel_floor_high"]
    tops = pd.read_csv(folder / "out" / "features.tsv", sep="\t")
    best = tops[tops["gene_symbol"] == "BRIGHT"].iloc[0]
    assert "actin" in best["feature"] and best["knock-out"] != pytest.approx(best["control"], abs=1)


def test_values_and_figures_of_the_check(checked):
    folder, _ = checked
    values = pd.read_parquet(folder / "out" / "values.parquet")
    own = values[values["gene_symbol"] == "BRIGHT"]
    assert set(own["set"]) == {"control", "restyled", "knock-out"}
    assert own.groupby("set")["value"].size()["knock-out"] == 30 * own["feature"].nunique()
    names = {path.name for path in (folder / "out" / "figures").iterdir()}
    assert {"BRIGHT.pdf", "BRIGHT.png", "shares.pdf", "shares.png"} <= names


def test_an_interrupted_check_goes_on_to_the_same_result(checked, tmp_path, monkeypatch):
    folder, _ = checked
    arguments = (folder / "run", folder / "store", tmp_path / "out", QUICK, FeatureSettings(workers=1))
    seen = []

    def stop(control, *rest):
        seen.append(len(control))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return separate(control, *rest)

    monkeypatch.setattr("grape_ops.restyle.gene_check.separate", stop)
    with pytest.raises(KeyboardInterrupt):
        write_check(*arguments, seed=1)
    assert len(list((tmp_path / "out" / "unfinished").iterdir())) == 4  # the control and three genes
    calls = []
    restyle = Restyler.restyle
    monkeypatch.setattr(Restyler, "restyle", lambda self, *rest: calls.append(1) or restyle(self, *rest))
    write_check(*arguments, seed=1)
    assert not (tmp_path / "out" / "unfinished").exists()
    assert len(calls) == 1  # for the figures alone
    for name in ("phenotype.tsv", "features.tsv", "phenotype.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_the_command_says_how_many(checked):
    folder, _ = checked
    arguments = [folder / "run", folder / "store", "--out", folder / "again", "--genes", "PLAIN", "--cells", 24]
    quick = [w for name in ("generate.trees=20", "generate.bootstrap=5", "features.workers=1") for w in ("--set", name)]
    result = CliRunner().invoke(app, ["phenotype", *map(str, arguments), *quick])
    assert result.exit_code == 0 and "0 of 1 genes differ significantly from control" in result.output


def test_the_control_has_no_phenotype(tiny_run, tiny_store, tmp_path):
    with pytest.raises(GrapeOpsError, match="control has no phenotype"):
        write_check(tiny_run.path, tiny_store.path, tmp_path, QUICK, FeatureSettings(workers=1), genes=["control"])
