"""The phenotype check on planted features, and as a command on a tiny run."""


import numpy as np
import pandas as pd
import pytest

from grape_ops.config import GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.generate.check import Principal, scored
from grape_ops.generate.phenotype import FeatureSpace, direction_agreement, distinct_features, separate

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
    space = FeatureSpace.of(list("abcd"), values, codes, 0.9)
    scaled = space(values, codes)
    for batch in (0, 1):
        assert np.abs(np.median(scaled[codes == batch], axis=0)).max() < 1e-9
        assert scaled[codes == batch].std(axis=0) == pytest.approx(np.ones(4), rel=0.25)


def test_features_that_say_nothing_are_left_out_and_gaps_are_neutral():
    values, codes = planted_controls()
    values[:, 1] = 5.0
    values[::3, 2] = np.nan
    values[0] = np.nan
    space = FeatureSpace.of(list("abcd"), values, codes, 0.9)
    assert space.names == ("a", "d")
    assert (space(np.full((1, 4), np.nan), np.array([0])) == 0).all()
    assert np.abs(space(np.full((1, 4), 1e9), np.array([0]))).max() == 10
    with pytest.raises(GrapeOpsError, match="No feature varies"):
        FeatureSpace.of(["a"], np.ones((50, 1)), np.zeros(50, int), 0.9)


def test_the_forest_finds_the_planted_feature_on_held_out_cells():
    rng = np.random.default_rng(0)
    control, knockout = rng.normal(size=(150, 8)), rng.normal(size=(150, 8))
    knockout[:, 5] += 2
    found = separate(control, knockout, QUICK, 0)
    assert found.auc > 0.85 and found.p_value < 1e-6
    assert found.features[0] == 5 and found.importance[0] > 5 * found.importance[1]
    again = separate(control, knockout, QUICK, 0)
    np.testing.assert_array_equal(again.importance, found.importance)


def test_cells_without_a_phenotype_are_not_told_apart():
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


def test_only_genes_told_from_control_are_scored():
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
    assert found["told_apart"].to_dict() == {"A": True, "B": True, "C": False, "D": False}
    assert found.loc["B", "q_value"] == pytest.approx(0.03)
    assert np.isnan(found.loc["C", ["share", "share_low", "direction"]].astype(float)).all()
    assert found.loc["C", "note"] == "not told from control" and found.loc["D", "note"].startswith("fewer")


def test_principal_components_keep_distances():
    values = np.random.default_rng(0).normal(size=(50, 4))
    turned = Principal.of(values, 20)(values)
    np.testing.assert_allclose(
        np.linalg.norm(turned[1:] - turned[:-1], axis=1), np.linalg.norm(values[1:] - values[:-1], axis=1)
    )
    assert turned.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
