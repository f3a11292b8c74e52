"""From raw tiles to a report through the command line, as a user types it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from typer.testing import CliRunner

from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.steps import Step
from grape_ops.cells.store import CropStore
from grape_ops.cli import app, main
from grape_ops.config import load_config, preset_names
from grape_ops.errors import GrapeOpsError, NothingToTest
from grape_ops.pipeline import read_pipeline, run_demo, run_pipeline
from grape_ops.pipeline_steps import baseline_step, pipeline_steps
from grape_ops.train.run_folder import open_run

ROOT = Path(__file__).parent.parent
SMALL_SCREEN = {
    "complexes": 2,
    "genes_per_complex": 2,
    "cells_per_gene": 30,
    "control_cells": 60,
    "plates": 1,
    "wells_per_plate": 2,
    "tile_size": 256,
    "confounding": 50,
}
SHORT_TRAINING = {
    "steps": 6,
    "batch_size": 8,
    "checkpoint_every": 3,
    "log_every": 2,
    "evaluate_every": 3,
    "threads": 1,
}
SETTINGS = {
    "simulate": SMALL_SCREEN,
    "train": SHORT_TRAINING,
    "preprocess": {"workers": 1},
    "evaluate": {"permutations": 100},
}


def write_plan(folder: Path, **changes: object) -> Path:
    plan = {"simulate": True, "truth": "screen/truth.tsv", "config": "small.yaml", "settings": SETTINGS} | changes
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(plan))
    return file


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    run_pipeline(write_plan(folder))
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    return shutil.copytree(done, tmp_path / "pipeline")


def test_one_file_leads_from_tiles_to_a_report(done: Path):
    for name in ("screen/truth.tsv", "store/store.json", "run/run.json", "genes.h5ad", "scores.json", "report.html"):
        assert (done / name).is_file(), name
    genes = anndata.read_h5ad(done / "genes.h5ad")
    assert genes.shape == (5, 64)
    assert genes.obs["n_cells"].min() > 0
    scores = json.loads((done / "scores.json").read_text())
    assert [s["method"] for s in scores] == ["GRAPE M", "GRAPE F(M)", "random", "statistics"]
    assert all(0 < s["map"]["p_value"] <= 1 for s in scores)
    assert "</html>" in (done / "report.html").read_text()[-200:]


def test_a_second_call_does_nothing(done: Path, capsys: pytest.CaptureFixture[str]):
    times = {p: p.stat().st_mtime_ns for p in done.rglob("*") if p.is_file()}
    run_pipeline(done / "pipeline.yaml")
    said = capsys.readouterr().out
    assert said.count("up to date") == 10
    assert {p: p.stat().st_mtime_ns for p in done.rglob("*") if p.is_file()} == times


def test_another_folder_or_truth_trains_nothing_anew(copied: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(copied)
    run_pipeline(Path("pipeline.yaml"))
    assert capsys.readouterr().out.count("up to date") == 10
    truth = (copied / "screen" / "truth.tsv").read_text().splitlines()
    (copied / "other.tsv").write_text("\n".join([truth[0], *(f"{line} by another name" for line in truth[1:])]) + "\n")
    run_pipeline(write_plan(copied, truth="other.tsv"))
    said = capsys.readouterr().out
    assert "train: up to date" in said
    assert "evaluate: working" in said


def test_changed_settings_redo_what_depends_on_them_and_lose_nothing(copied: Path, capsys: pytest.CaptureFixture[str]):
    before = (copied / "run" / "run.json").read_text()
    run_pipeline(write_plan(copied, settings=SETTINGS | {"seed": 1}))
    said = capsys.readouterr().out
    assert "simulate: up to date" in said
    assert "preprocess: up to date" in said
    assert "train: working" in said
    (aside,) = (copied / "outdated").glob("train-*")
    assert (aside / "run" / "run.json").read_text() == before
    evaluated = list((copied / "outdated").glob("evaluate-*"))
    assert evaluated
    for scores in evaluated:
        assert {p.name for p in scores.iterdir()} == {"scores.json", "scores.csv", "evaluation", "stamp.json"}
        assert list((scores / "evaluation").glob("*.png"))

    run_pipeline(write_plan(copied))  # back to the first seed: nothing is computed again, and nothing piles up
    said = capsys.readouterr().out
    assert "brought back" in said
    assert "working" not in said and "going on" not in said
    assert (copied / "run" / "run.json").read_text() == before
    run_pipeline(write_plan(copied, settings=SETTINGS | {"seed": 1}))
    run_pipeline(write_plan(copied))
    assert "working" not in capsys.readouterr().out
    assert len(list((copied / "outdated").glob("train-*"))) == 1


def test_genes_with_a_phenotype_are_told_and_joined_to_the_vectors(done: Path):
    genes = pd.read_csv(done / "hits" / "genes.tsv", sep="\t")
    assert len(genes) == 4 and genes["p_value"].between(0, 1).all()
    joined = anndata.read_h5ad(done / "genes.h5ad").obs.loc[genes["gene_symbol"]]
    np.testing.assert_allclose(joined["hit_p_value"], genes["p_value"])
    assert joined["is_hit"].tolist() == genes["is_hit"].tolist()


def test_a_simulated_screen_stays_one_from_store_to_report(done: Path):
    assert CropStore.open(done / "store").simulated and open_run(done / "run").simulated
    assert anndata.read_h5ad(done / "genes.h5ad").uns["simulated"]
    page = (done / "report.html").read_text()
    assert "This screen is <strong>simulated</strong>" in page
    assert 0 < page.index('<section id="findings">') < page.index('<section id="map">')


def test_hits_are_made_only_where_they_are_asked_for(copied: Path, capsys: pytest.CaptureFixture[str]):
    run_pipeline(write_plan(copied, hits=False))
    assert "hits:" not in capsys.readouterr().out


def test_cells_that_cannot_be_tested_stop_no_pipeline(copied: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    def refuse(*_: object) -> None:
        raise NothingToTest("The cells name no guides.")

    monkeypatch.setattr("grape_ops.hits.write_hits.write_hits", refuse)
    run_pipeline(write_plan(copied, settings=SETTINGS | {"hits": {"pseudo_genes": 7}}))
    heard = capsys.readouterr()
    assert "Hits are left out: The cells name no guides." in heard.err + heard.out
    assert "train: up to date" in heard.out and "evaluate: up to date" in heard.out
    assert "is_hit" not in anndata.read_h5ad(copied / "genes.h5ad").obs


@pytest.mark.usefixtures("jobs_in_this_process")
def test_trust_compares_maps_of_both_halves_of_the_cells(copied: Path, capsys: pytest.CaptureFixture[str]):
    plan = write_plan(copied, trust=True)
    run_pipeline(plan)
    said = capsys.readouterr().out
    assert "train: up to date" in said and "trust: working" in said
    page = (copied / "report.html").read_text()
    assert "between maps of two halves of the cells" in page  # the report is written again, and shows them
    assert "is not checked: `grape-ops trust" not in page
    table = pd.read_csv(copied / "trust" / "reproducibility.tsv", sep="\t")
    assert list(table["method"]) == ["GRAPE M", "GRAPE F(M)", "GRAPE E", "random", "statistics"]
    assert table["correlation"].between(-1, 1).all() and (table["n_genes"] == 4).all()
    run_pipeline(plan)
    assert "trust: up to date" in capsys.readouterr().out


def test_fewer_steps_train_anew_and_keep_the_longer_run(copied: Path, capsys: pytest.CaptureFixture[str]):
    fewer = SETTINGS | {"train": SHORT_TRAINING | {"steps": 3}}
    run_pipeline(write_plan(copied, settings=fewer))
    said = capsys.readouterr().out
    assert "set aside" in said and "train: working" in said
    assert [p.name for p in (copied / "run" / "checkpoints").iterdir()] == ["step_00000003"]
    run_pipeline(write_plan(copied))
    said = capsys.readouterr().out
    assert "train: up to date" in said
    assert (copied / "run" / "checkpoints" / "step_00000006").is_dir()
    more = SETTINGS | {"train": SHORT_TRAINING | {"steps": 8}}
    run_pipeline(write_plan(copied, settings=more))
    assert "train: going on" in capsys.readouterr().out
    assert (copied / "run" / "checkpoints" / "step_00000008").is_dir()


def test_the_demo_keeps_an_edited_pipeline_file_and_refuses_foreign_folders(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("grape_ops.pipeline.run_pipeline", lambda file: None)
    run_demo(tmp_path / "demo")
    file = tmp_path / "demo" / "pipeline.yaml"
    first = file.read_text()
    run_demo(tmp_path / "demo")
    assert "anew" not in capsys.readouterr().err
    file.write_text(first + "positions: [3]\n")
    run_demo(tmp_path / "demo")
    assert "anew" in capsys.readouterr().err
    (kept,) = (tmp_path / "demo" / "outdated").iterdir()
    assert "positions: [3]" in kept.read_text() and file.read_text() == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.txt").write_text("x")
    with pytest.raises(GrapeOpsError, match="other things than the demo"):
        run_demo(tmp_path / "mine")


def test_the_folder_of_a_pipeline_is_no_place_for_another_evaluation(done: Path):
    before = (done / "scores.json").read_bytes()
    arguments = [
        "evaluate",
        str(done / "genes.h5ad"),
        "--truth",
        str(done / "screen" / "truth.tsv"),
        "--out",
        str(done),
    ]
    result = CliRunner().invoke(app, arguments)
    assert "belongs to a pipeline" in str(result.exception)
    assert (done / "scores.json").read_bytes() == before


def test_a_pipeline_is_done_by_one_process_at_a_time(tmp_path: Path):
    with locked(tmp_path, "a pipeline"), pytest.raises(GrapeOpsError, match=r"is being written by process \d+"):
        run_pipeline(write_plan(tmp_path))
    assert os.listdir(tmp_path) == ["pipeline.yaml"]


def test_what_no_step_made_is_left_alone(tmp_path: Path):
    (tmp_path / "screen").mkdir()
    (tmp_path / "screen" / "raw.tif").write_text("years of work")
    with pytest.raises(GrapeOpsError, match="no step of this pipeline made it"):
        run_pipeline(write_plan(tmp_path))
    assert (tmp_path / "screen" / "raw.tif").read_text() == "years of work"


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str], signal_when):
    plan = write_plan(tmp_path, settings=SETTINGS | {"train": SHORT_TRAINING | {"steps": 200_000}})
    monkeypatch.setattr(sys, "argv", ["grape-ops", "run", str(plan)])
    checkpoints = tmp_path / "run" / "checkpoints"
    with signal_when(lambda: any(checkpoints.glob("step_*")), signal.SIGTERM), pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 143 and "goes on where it stopped" in capsys.readouterr().err
    reached = max(int(p.name[5:]) for p in checkpoints.glob("step_*"))
    run_pipeline(write_plan(tmp_path, settings=SETTINGS | {"train": SHORT_TRAINING | {"steps": reached + 3}}))
    assert "train: going on" in capsys.readouterr().out
    assert (checkpoints / f"step_{reached + 3:08d}").is_dir()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scren: x", "did you mean screen"),
        ("- a", "keys and values"),
        ("settings: {train: {stepz: 1}}", r"train.stepz: there is no setting"),
        ("config: nowhere.yaml", "nowhere.yaml"),
        ("baselines: [word2vec]", "word2vec"),
        ("positions: [4]", "positions.0: must be 1, 2 or 3; it is 4"),
        ("positions: []", "positions: must be a list with at least 1 entry"),
        ("simulate: perhaps", "simulate: must be true or false; it is perhaps"),
        ("baselines: random", "baselines: must be a list; it is random"),
        ("settings: {train: {steps: many}}", "train.steps: must be a whole number; it is many"),
        ("settings: {train: {steps: -1}}", "train.steps: must be more than 0; it is -1"),
        ("train: {steps: 3}", "holds settings, and no pipeline"),
        ("simulate: {seed: 1}\ntrain: {steps: 3}", "holds settings, and no pipeline"),
    ],
)
def test_a_wrong_pipeline_file_is_said_at_once(tmp_path: Path, text: str, words: str):
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with pytest.raises(GrapeOpsError, match=words) as refused:
        read_pipeline(file)
    assert "Input" not in str(refused.value)  # the validator's own words


def test_settings_of_the_command_line_win(tmp_path: Path):
    file = write_plan(tmp_path, positions=[2, 1])
    _, config = read_pipeline(file, ["train.steps=7", "embed.position=2"])
    assert config.train.steps == 7 and config.embed.position == 2
    with pytest.raises(GrapeOpsError, match=r"--set train.stepz=7 do not fit:\n  train.stepz: .*did you mean steps"):
        read_pipeline(file, ["train.stepz=7"])
    with pytest.raises(GrapeOpsError, match="embed.position=1 contradicts .*positions`, 2, is the main one"):
        read_pipeline(file, ["embed.position=1"])
    result = CliRunner().invoke(app, ["run", str(file), "--set", "train.steps=none"])
    assert "train.steps: must be a whole number" in str(result.exception)


def test_a_file_that_is_no_text_is_said(tmp_path: Path):
    (tmp_path / "cells.parquet").write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(GrapeOpsError, match="is no text"):
        read_pipeline(tmp_path / "cells.parquet")
    with pytest.raises(GrapeOpsError, match="is a folder"):
        read_pipeline(tmp_path)


def test_a_missing_pipeline_file_is_said(tmp_path: Path):
    with pytest.raises(GrapeOpsError, match=r"no pipeline file .*`grape-ops inspect SCREEN --out"):
        read_pipeline(tmp_path / "pipeline.yaml")


def test_help_names_every_preset():
    text = CliRunner().invoke(app, ["train", "--help"]).output
    assert all(name in text for name in preset_names())


def test_a_missing_screen_is_said(tmp_path: Path):
    with pytest.raises(GrapeOpsError, match="There is no screen"):
        run_pipeline(write_plan(tmp_path, simulate=False, truth=None))


def test_help_answers_without_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from grape_ops.cli import app\n"
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pandas', 'anndata', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_command_and_option_has_a_sentence():
    group = typer.main.get_command(app)
    stack = [("grape-ops", group)]
    while stack:
        name, command = stack.pop()
        assert command.help, name
        for parameter in command.params:
            assert parameter.name == "help" or getattr(parameter, "help", None), (name, parameter.name)
        stack += [(f"{name} {n}", c) for n, c in getattr(command, "commands", {}).items()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["preprocess", "nowhere", "--out", "store"],
        ["train", "nowhere", "--out", "run"],
        ["embed", "nowhere"],
        ["baseline", "random", "nowhere", "--out", "x.h5ad"],
        ["baseline", "magic", "nowhere", "--out", "x.h5ad"],
        ["evaluate"],
        ["evaluate", "nowhere.h5ad"],
        ["report", "nowhere"],
        ["run", "nowhere.yaml"],
        ["simulate", "--out", "x", "--set", "simulate.cells=3"],
        ["simulate", "--out", "x", "--config", "nowhere.yaml"],
    ],
)
def test_wrong_input_is_a_sentence_and_not_a_traceback(arguments: list[str], tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, GrapeOpsError), result.output
    assert not list(tmp_path.iterdir())


def test_ctrl_c_says_how_to_go_on(done: Path, tmp_path: Path):
    command = [sys.executable, "-m", "grape_ops", "preprocess", str(done / "screen"), "--out", str(tmp_path / "store")]
    process = subprocess.Popen([*command, "--config", "small.yaml"], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "store").exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in said
    assert "Traceback" not in said


def test_a_truth_of_other_genes_is_said(done: Path, tmp_path: Path):
    (tmp_path / "truth.tsv").write_text("gene_symbol\tcomplex\nXXX\tone\nYYY\tone\n")
    arguments = ["train", str(done / "store"), "--out", str(tmp_path / "run"), "--truth", str(tmp_path / "truth.tsv")]
    result = CliRunner().invoke(app, arguments)
    assert "No two genes of the store share a complex" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_the_readmes_commands_can_be_done_one_after_the_other(done: Path, tmp_path: Path, monkeypatch):
    """On a screen already preprocessed and trained, with the README's own lines."""
    monkeypatch.chdir(tmp_path)
    for name in ("store", "run"):
        shutil.copytree(done / name, tmp_path / name)
    blocks = (ROOT / "README.md").read_text().split("```")[1::2]
    block = next(block for block in blocks if "grape-ops preprocess" in block)
    lines = [line.split("#")[0].split() for line in block.splitlines() if line.startswith("grape-ops")]
    assert [line[1] for line in lines] == ["preprocess", "hits", "train", "embed", "baseline", "evaluate", "report"]
    for _, command, *arguments in (line for line in lines if line[1] not in ("preprocess", "train")):
        arguments = [str(done / "screen" / "truth.tsv") if a == "complexes-14x106" else a for a in arguments]
        quick = ["--set", "evaluate.permutations=100"] if command == "evaluate" else []
        result = CliRunner().invoke(app, [command, *arguments, *quick])
        assert result.exit_code == 0, result.exception
    assert (tmp_path / "evaluation" / "scores.json").is_file()
    assert not (tmp_path / "evaluation" / "evaluation").exists()
    assert "statistics" in (tmp_path / "report.html").read_text()


def test_the_readmes_commands_exist():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    known = {command.name for command in typer.main.get_command(app).commands.values()}
    code = "\n".join([*readme.split("```")[1::2], *re.findall(r"`([^`\n]+)`", readme)])
    named = set(re.findall(r"^grape-ops ([a-z]+)", code, flags=re.MULTILINE))
    assert len(named) > 6
    assert named <= known
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}: setup" in makefile


def test_the_phenotype_check_is_a_step_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "screen").mkdir()
    (tmp_path / "screen" / "truth.tsv").write_text("gene_symbol\tcomplex\nA\tx\nB\tx\n")
    named: dict[bool, dict[str, str]] = {}
    for phenotype in (False, True):
        plan, config = read_pipeline(write_plan(tmp_path, phenotype=phenotype))
        # Taken while the steps come: later steps add to what they hand on.
        named[phenotype] = {step.name: step.identity for step in pipeline_steps(plan, config, tmp_path)}
    assert set(named[True]) - set(named[False]) == {"phenotype"}
    assert {name for name in named[False] if named[True][name] != named[False][name]} == {"report"}


def test_a_baseline_is_made_anew_by_what_decides_it_and_by_nothing_else(tmp_path: Path) -> None:
    def made_by(method: str, *overrides: str) -> str:
        cut = Step("preprocess", [], (tmp_path,), lambda _: None)
        return baseline_step(method, tmp_path, tmp_path / "m.h5ad", load_config(None, overrides), cut).identity

    assert made_by("impa") != made_by("impa", "model.style_dim=8")
    assert made_by("impa") != made_by("impa", "train.steps=7")
    assert made_by("engineered") != made_by("engineered", "features.full=true")
    assert made_by("engineered") == made_by("engineered", "features.workers=3", "model.style_dim=8")
    assert made_by("random") != made_by("random", "seed=1")
