"""Restyled cells evaluated with the same cells with the effect planted: closed forms, the cells chosen, the command."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.config import CalibrateSettings, GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.power import closeness
from grape_ops.power.counterfactual import Counterfactuals, choose_cells, plant_counterfactuals
from grape_ops.power.design import draw_design
from grape_ops.power.planted_store import SOURCE, Source, write_planted_store

FEW = {"complexes": 3, "genes_per_complex": 2, "cells_per_gene": 20, "control_cells": 60, "effect_size": 4.0}
SETTINGS = CalibrateSettings(**FEW)


@pytest.fixture
def planted() -> np.ndarray:
    """Mean changes of 6 genes in 10 features that have something in common."""
    return 1 + np.random.default_rng(0).standard_normal((6, 10))


def test_perfect_restyling_arrives(planted: np.ndarray) -> None:
    np.testing.assert_allclose(closeness.direction(planted, planted), 1)
    np.testing.assert_allclose(closeness.own_direction(planted, planted), 1)
    np.testing.assert_allclose(closeness.own_is_nearest(planted, planted), 1)
    np.testing.assert_allclose(closeness.distance_left(planted, planted), 0)
    np.testing.assert_allclose(closeness.distance_left(planted / 2, planted), 0.5)
    np.testing.assert_allclose(closeness.direction(planted / 2, planted), 1)


def test_cells_left_as_they_are_have_no_direction_and_all_the_way_left(planted: np.ndarray) -> None:
    nothing = np.zeros_like(planted)
    np.testing.assert_array_equal(closeness.direction(nothing, planted), 0)
    np.testing.assert_allclose(closeness.own_is_nearest(nothing, planted).mean(), 1 / 6)
    np.testing.assert_allclose(closeness.distance_left(nothing, planted), 1)


def test_the_mean_knockout_is_at_chance_though_its_cosine_is_high(planted: np.ndarray) -> None:
    mean = np.tile(planted.mean(axis=0), (6, 1))
    assert closeness.own_is_nearest(mean, planted).mean() == pytest.approx(1 / 6)
    assert closeness.direction(mean, planted).mean() > 0.5
    np.testing.assert_allclose(closeness.own_direction(mean, planted), 0, atol=1e-12)


def test_the_wrong_way_is_negative_and_further(planted: np.ndarray) -> None:
    np.testing.assert_allclose(closeness.direction(-planted, planted), -1)
    np.testing.assert_allclose(closeness.distance_left(-planted, planted), 2)


def test_cells_without_a_nucleus_are_left_out_of_the_mean_change() -> None:
    before = np.zeros((3, 2))
    after = np.array([[[1.0, 2], [3, 4], [np.nan, np.nan]], [[np.nan] * 2] * 3])
    np.testing.assert_allclose(closeness.mean_change(before, after), [[2, 3], [0, 0]])


def test_side_effect_is_in_what_planting_leaves_alone() -> None:
    rng = np.random.default_rng(0)
    control = rng.standard_normal((200, 4))
    planted = control + np.array([3, 0, 0, 0])
    settings = GenerateSettings()
    scores = {
        shift: closeness.side_effect(control, planted + np.array([0, shift, shift, shift]), planted, settings, rng)
        for shift in (0.0, 2.0)
    }
    assert abs(scores[0.0]) < 0.1
    assert scores[2.0] == pytest.approx(2, abs=0.25)


def test_strength_counts_only_traits_that_the_gene_changes() -> None:
    shifts = np.array([[1.0, 0, 2], [0, -1, 0]])
    planted = np.array([[0.8, 0.3, 1.5], [0.2, -0.9, 0.1]])
    made = planted / 2
    made[0, 1] = 50  # gene 0 leaves trait 1 alone
    strengths = closeness.strength_by_kind(made, planted, shifts, ["size", "foci", "foci"])
    assert strengths == {"size": pytest.approx(0.5), "foci": pytest.approx(0.5)}


def test_restyled_cells_are_in_no_store_and_the_seed_draws_them(
    controls: CropStore, source: Source, tmp_path: Path
) -> None:
    design = write_planted_store(source, SETTINGS, 0, tmp_path / "store")
    store = CropStore.open(tmp_path / "store")
    made = plant_counterfactuals(source, design, store, 8)
    assert len(set(made.cells)) == 8
    assert not set(made.cells) & set(store.cells[SOURCE])
    own = [controls.batches[code] for code in controls.batch_codes[made.cells]]
    assert [store.batches[code] for code in made.batches] == own
    np.testing.assert_array_equal(made.untouched, controls.read(made.cells))
    assert (made.planted != made.untouched).any(axis=(2, 3, 4)).all()
    made.save(tmp_path / "made.npz")
    again = Counterfactuals.load(tmp_path / "made.npz")
    np.testing.assert_array_equal(again.planted, plant_counterfactuals(source, design, store, 8).planted)


def test_too_few_cells_are_said_with_the_settings_that_mend_it(source: Source) -> None:
    design = draw_design(source.batch_codes, len(source.traits), SETTINGS, 0)
    free = len(source.cells) - len(design.source)
    with pytest.raises(GrapeOpsError, match=rf"leaves {free} to be restyled; calibrate.restyled_cells asks for 500"):
        choose_cells(design, len(source.cells), 500)


def test_the_command_says_how_far_restyled_cells_can_be_trusted(
    controls: CropStore, tiny: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "calibration"
    settings = [f"calibrate.{name}={value}" for name, value in FEW.items()]
    settings += [*tiny, "calibrate.restyled_cells=24", "features.workers=1", "generate.splits=2", "train.threads=1"]
    call = ["calibrate", str(controls.path), "--restyle", "--config", "paper.yaml", "--out", str(out)]
    call += [word for setting in settings for word in ("--set", setting)]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "direction of the change" in answer.output and "mean knockout" in answer.output
    genes = pd.read_csv(out / "restyle.tsv", sep="\t")
    assert len(genes) == 6 and genes["direction"].between(-1, 1).all()
    kinds = pd.read_csv(out / "restyle_kinds.tsv", sep="\t")
    assert set(kinds["kind"]) <= {"size", "elongation", "intensity", "texture", "foci", "radial", "correlation"}
    scores = json.loads((out / "restyle.json").read_text())
    assert scores["unrestyled"]["distance_left"] == 1
    assert scores["mean_knockout"]["top1"] == pytest.approx(1 / 6)
    assert scores["real_knockouts"]["direction"] > 0.5
    assert (out / "restyle.png").stat().st_size > 10_000 and (out / "restyle.pdf").exists()
    (folder,) = (out / "restyle").iterdir()
    assert not (folder / "store").exists()
    before = (folder / "scores.json").stat().st_mtime_ns
    assert CliRunner().invoke(app, call).exit_code == 0
    assert (folder / "scores.json").stat().st_mtime_ns == before
    other = CliRunner().invoke(app, [*call, "--set", "calibrate.restyled_cells=20"])
    assert other.exit_code == 0 and len(list((out / "restyle").iterdir())) == 2
    assert json.loads((out / "restyle.json").read_text())["restyled_cells"] == 20
    assert (folder / "scores.json").stat().st_mtime_ns == before  # other settings mix with nothing


def test_the_command_refuses_too_few_controls_before_training(
    controls: CropStore, tiny: list[str], tmp_path: Path
) -> None:
    settings = [f"calibrate.{name}={value}" for name, value in FEW.items()] + tiny
    settings.append("calibrate.restyled_cells=200")
    call = ["calibrate", str(controls.path), "--restyle", "--config", "paper.yaml", "--out", str(tmp_path / "a")]
    call += [word for setting in settings for word in ("--set", setting)]
    answer = CliRunner().invoke(app, call)
    assert "calibrate.restyled_cells asks for 200" in str(answer.exception)
    assert not list((tmp_path / "a" / "restyle").glob("*/run"))
