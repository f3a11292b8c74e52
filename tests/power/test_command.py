from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.config import CalibrateSettings, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.power.calibrate import calibrate_store
from grape_ops.power.recovery import Point, crossing, curve_points

SMALL = [
    "calibrate.complexes=3",
    "calibrate.genes_per_complex=2",
    "calibrate.cells_per_gene=25",
    "calibrate.control_cells=60",
    "calibrate.effect_size=4",
    "calibrate.penetrance=1",
    "calibrate.private_share=0",
    "calibrate.effect_sizes=[0, 4]",
    "calibrate.cells_tried=[10]",
    "calibrate.penetrances=[1]",
    "calibrate.screens=2",
    "evaluate.kmeans_runs=5",
]


def words(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.usefixtures("jobs_in_this_process")
def test_the_command_writes_curves_and_limits_and_goes_on(controls: CropStore, tmp_path: Path) -> None:
    out = tmp_path / "calibration"
    call = ["calibrate", str(controls.path), "--out", str(out), *words(SMALL)]
    answer = CliRunner().invoke(app, [*call, "--methods", "statistics,random"])
    assert answer.exit_code == 0, answer.output
    assert "Least effect" in answer.output and "statistics" in answer.output
    table = pd.read_csv(out / "recovery.tsv", sep="\t")
    graded = table[table["varied"] == "effect_size"].set_index(["method", "effect_size"])["recovered"]
    assert graded["statistics", 4] > 0.5
    assert abs(graded["statistics", 0]) < 0.35
    assert (table.loc[table["method"] == "random", "recovered"].abs() < 0.45).all()
    limits = pd.read_csv(out / "detection_limit.tsv", sep="\t").set_index(["method", "varied"])
    assert limits.loc[("statistics", "effect_size"), "sense"] == "at"
    assert 0 < limits.loc[("statistics", "effect_size"), "limit"] < 4
    assert limits.loc[("random", "effect_size"), "sense"] == "above"
    assert (out / "recovery.png").stat().st_size > 10_000
    assert not list(out.glob("screens/*/store"))
    made = {file: file.stat().st_mtime_ns for file in out.glob("screens/*/work/*/maps/*.h5ad")}
    assert len(made) == 3 * 2 * 2  # the settings' own point is on every curve, and planted once
    more = words(["calibrate.effect_sizes=[0, 2, 4]", "calibrate.detected=0.2"])
    assert CliRunner().invoke(app, [*call, *more, "--methods", "statistics"]).exit_code == 0
    table = pd.read_csv(out / "recovery.tsv", sep="\t").query("varied == 'effect_size'")
    limit = pd.read_csv(out / "detection_limit.tsv", sep="\t").query("varied == 'effect_size'").iloc[0]
    (usual, _), (expected, sense) = (crossing([0, 2, 4], table["recovered"].tolist(), x, "linear") for x in (0.5, 0.2))
    assert (limit["detected"], limit["sense"]) == (0.2, sense)
    assert limit["limit"] == pytest.approx(expected, abs=0.002) and expected < usual - 0.01
    assert all(file.stat().st_mtime_ns == time for file, time in made.items())


def test_the_option_jobs_reaches_what_does_the_jobs(controls: CropStore, tmp_path: Path, monkeypatch) -> None:
    def do_jobs(jobs: object, label: str, at_a_time: int = 0) -> None:
        raise GrapeOpsError(f"{at_a_time} at a time")

    monkeypatch.setattr("grape_ops.power.calibrate.do_jobs", do_jobs)
    call = ["calibrate", str(controls.path), "--out", str(tmp_path / "out"), "--methods", "random", "--jobs", "1"]
    answer = CliRunner().invoke(app, [*call, *words(SMALL)])
    assert str(answer.exception) == "1 at a time", answer.output


@pytest.mark.usefixtures("jobs_in_this_process")
def test_other_settings_in_the_same_folder_mix_with_nothing(controls: CropStore, tmp_path: Path) -> None:
    few = [*SMALL, "calibrate.effect_sizes=[4]", "calibrate.cells_tried=[25]"]
    few += ["calibrate.screens=1"]
    calibrate_store(controls.path, tmp_path / "a", ["random"], load_config(None, few))
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "a").glob("screens/*/work/*/maps/*.h5ad")}
    assert len(made) == 1
    elsewhere = load_config(None, [*few, "features.workers=3"])  # decides nothing
    assert "random" in calibrate_store(controls.path, tmp_path / "a", ["random"], elsewhere)
    assert len(list((tmp_path / "a").glob("screens/*/work/*"))) == 1
    other = load_config(None, [*few, "calibrate.private_share=0.5"])
    calibrate_store(controls.path, tmp_path / "a", ["random"], other)
    assert len(list((tmp_path / "a").glob("screens/*/work/*"))) == 2
    short = [*few, "train.init.classifier={width: 4, max_width: 8, batch_size: 8, steps: "]
    for steps in (2, 3):  # a method's own settings count on the same screen
        config = load_config(None, [*short[:-1], f"{short[-1]}{steps}}}"])
        calibrate_store(controls.path, tmp_path / "a", ["classifier"], config)
    assert len(list((tmp_path / "a").glob("screens/*/work/classifier-*"))) == 2
    assert all(file.stat().st_mtime_ns == time for file, time in made.items())


def test_methods_that_cannot_see_planted_pixels_are_refused(controls: CropStore, tmp_path: Path) -> None:
    with pytest.raises(GrapeOpsError, match="profiles is made of measurements, not of the store's crops"):
        calibrate_store(controls.path, tmp_path / "a", ["random", "profiles"], load_config(None, SMALL))
    assert not (tmp_path / "a").exists()


def test_too_few_cells_are_said_before_anything_is_planted(
    controls: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grape_ops.power.smaller_plan.LEAST_CELLS", 1000)
    config = load_config(None, [*SMALL, "calibrate.cells_tried=[10, 200]"])
    with pytest.raises(GrapeOpsError, match="the smallest planted screen takes"):
        calibrate_store(controls.path, tmp_path / "a", ["random"], config)
    assert not list((tmp_path / "a").glob("screens/*/work"))


def test_curves_share_the_settings_own_point() -> None:
    settings = CalibrateSettings(effect_sizes=(1, 3), cells_tried=(50,), penetrances=(0.8,))
    curves = curve_points(settings)
    assert [point.effect_size for point in curves["effect_size"]] == [1, 2, 3]
    assert Point(2.0, 150, 0.8) in set(curves["effect_size"]) & set(curves["cells_per_gene"]) & set(
        curves["penetrance"]
    )


def test_a_limit_is_where_recovery_stays_enough() -> None:
    assert crossing([1, 2, 3], [0.0, 0.4, 0.6], 0.5, "linear") == (2.5, "at")
    assert crossing([1, 2, 3], [0.6, 0.4, 0.6], 0.5, "linear") == (2.5, "at")
    assert crossing([1, 2], [0.6, 0.7], 0.5, "linear") == (1, "below")
    assert crossing([1, 2], [0.1, 0.2], 0.5, "linear") == (2, "above")
    limit, _ = crossing([25, 100], [0.4, 0.6], 0.5, "log")
    np.testing.assert_allclose(limit, 50)
