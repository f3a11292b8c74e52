"""Training as a user runs it: exact resume after any end, and every refusal in words."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from changed_config import changed

from grape_ops.cells.store import CropStore
from grape_ops.config import dump_config
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.schema import CHECKPOINTS_DIR, METRICS_FILE
from grape_ops.stopping import stop_signals
from grape_ops.train.checkpoint import checkpoints, restore_nets
from grape_ops.train.log import IntervalMean, MetricsLog, check_finite, read_metrics
from grape_ops.train.loop import train
from grape_ops.train.run_folder import open_run


def files_of(run: Path) -> dict[str, bytes]:
    last = checkpoints(run)[-1]
    return {f.name: f.read_bytes() for f in sorted(last.iterdir())}


@pytest.fixture(scope="session")
def truth_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("truth") / "truth.tsv"
    file.write_text("gene_symbol\tcomplex\nAAA\tone\nBBB\tone\nCCC\ttwo\nDDD\ttwo\n")
    return file


def test_a_run_leaves_what_it_promises(tiny_store, tiny_config, truth_file, tmp_path):
    train(tiny_store.path, tmp_path / "run", tiny_config, truth=str(truth_file))
    run = open_run(tmp_path / "run")
    assert run.config == tiny_config
    assert run.genes.index.tolist() == ["AAA", "BBB", "CCC", "DDD", "nontargeting"]
    assert run.store_path == tiny_store.path
    assert {"versions", "commit", "command", "seed", "started"} <= run.record.keys()
    assert [c.name for c in checkpoints(run.path)] == ["step_00000004", "step_00000008", "step_00000012"]
    lines = list(read_metrics(run.path / METRICS_FILE))
    terms = [line for line in lines if "cycle" in line]
    assert [line["step"] for line in terms] == [2, 4, 6, 8, 10, 12]
    assert {"d_adversarial", "d_r1", "g_adversarial", "style", "images_per_s"} <= terms[0].keys()
    scores = [line for line in lines if "map" in line]
    assert [line["step"] for line in scores] == [6, 12]
    assert {"map", "map_ema", "map_style", "map_style_ema", "map_chance"} <= scores[0].keys()


def test_equal_seeds_give_equal_weights_and_others_do_not(tiny_store, tiny_config, tmp_path):
    for name, config in (("a", tiny_config), ("b", tiny_config), ("c", changed(tiny_config, "seed=1"))):
        train(tiny_store.path, tmp_path / name, config)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert files_of(tmp_path / "a") != files_of(tmp_path / "c")


def test_an_average_of_weights_is_the_papers_filter(tiny_store, tiny_config, tmp_path):
    config = changed(tiny_config, "train.checkpoint_every=1", "train.keep_checkpoints=12", "train.steps=5")
    run = train(tiny_store.path, tmp_path / "run", config)
    nets = run.build()
    expected = None
    for path in checkpoints(run.path):
        restore_nets(path, nets, averaged=False)
        weights = nets.embedding.weight.detach().clone()
        step = int(path.name[5:])
        if step % 2 == 0:
            expected = weights if expected is None else 0.5 * expected + 0.5 * weights
        if step >= 2:
            restore_nets(path, nets, averaged=True)
            torch.testing.assert_close(nets.embedding.weight.detach(), expected)


def test_resuming_equals_never_having_stopped(tiny_store, tiny_config, truth_file, tmp_path):
    train(tiny_store.path, tmp_path / "whole", tiny_config, truth=str(truth_file))
    train(tiny_store.path, tmp_path / "parts", changed(tiny_config, "train.steps=5"), truth=str(truth_file))
    train(tiny_store.path, tmp_path / "parts", tiny_config, truth=str(truth_file), resume=True)
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")


def start_training(store: Path, run: Path, config_file: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "grape_ops", "train", str(store), "--out", str(run), "--config", str(config_file)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *more], env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_step(process: subprocess.Popen, run: Path, step: int) -> None:
    file = run / METRICS_FILE
    while not file.exists() or all(line["step"] < step for line in read_metrics(file)):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise AssertionError(f"training ended by itself: {process.stderr.read()}")


@pytest.mark.parametrize("seed", [0, 1])
def test_kill_9_at_any_moment_then_resume_gives_the_same_bits(tiny_store, tiny_config, tmp_path, seed):
    rng = np.random.default_rng(seed)
    config = changed(tiny_config, "train.steps=400", "train.checkpoint_every=3", "train.log_every=1")
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    killed = start_training(tiny_store.path, tmp_path / "killed", file)
    moment = int(rng.integers(5, 25))
    wait_for_step(killed, tmp_path / "killed", moment)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    last = int(checkpoints(tmp_path / "killed")[-1].name[5:])
    goal = changed(config, f"train.steps={last + 7}")
    train(tiny_store.path, tmp_path / "killed", goal, resume=True)
    train(tiny_store.path, tmp_path / "whole", goal)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    steps = [line["step"] for line in read_metrics(tmp_path / "killed" / METRICS_FILE)]
    assert steps == list(range(1, last + 8))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_saves_and_says_how_to_go_on(tiny_store, tiny_config, tmp_path, number):
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(changed(tiny_config, "train.steps=100000", "train.checkpoint_every=100000")))
    process = start_training(tiny_store.path, tmp_path / "run", file)
    wait_for_step(process, tmp_path / "run", 2)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "--resume" in said
    assert "Traceback" not in said
    assert len(checkpoints(tmp_path / "run")) == 1


def test_an_ignored_ctrl_c_stays_ignored():
    """Shells start background jobs so, and Ctrl-C is then meant for another program."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.number == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.number == signal.SIGTERM
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_golden_trace(tiny_store, tiny_config, tmp_path):
    """The first steps of a fixed run; a change of these numbers is a change of the method."""
    train(tiny_store.path, tmp_path / "run", changed(tiny_config, "train.log_every=1", "train.steps=6"))
    golden = yaml.safe_load((Path(__file__).parent / "golden_trace.yaml").read_text())
    lines = list(read_metrics(tmp_path / "run" / METRICS_FILE))
    for line, expected in zip(lines, golden, strict=True):
        for name, value in expected.items():
            assert line[name] == pytest.approx(value, rel=1e-4), (line["step"], name)


def test_a_second_run_in_a_folder_is_refused(tiny_store, tiny_config, tmp_path):
    config = changed(tiny_config, "train.steps=1")
    train(tiny_store.path, tmp_path, config)
    with pytest.raises(GrapeOpsError, match="--resume"):
        train(tiny_store.path, tmp_path, config)
    with pytest.raises(GrapeOpsError, match=r"model.style_dim: was 4, is 5"):
        train(tiny_store.path, tmp_path, changed(config, "model.style_dim=5"), resume=True)


def test_a_run_that_goes_on_from_nothing_logs_its_initialisation_once(tmp_path):
    for _ in range(2):  # killed before its first checkpoint, and resumed
        MetricsLog(tmp_path, 0).write(0, {"init_s": 1.0})
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_FILE)] == [0]
    MetricsLog(tmp_path, 0).write(2, {"cycle": 1.0})
    (tmp_path / METRICS_FILE).write_text((tmp_path / METRICS_FILE).read_text() + "null\n")
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_FILE)] == [2]


def test_fewer_steps_than_a_run_has_are_refused(tiny_store, tiny_config, tmp_path):
    train(tiny_store.path, tmp_path, tiny_config)
    with pytest.raises(GrapeOpsError, match="12 steps already"):
        train(tiny_store.path, tmp_path, changed(tiny_config, "train.steps=3"), resume=True)
    assert open_run(tmp_path).config.train.steps == 12


def test_a_truth_file_is_found_from_any_folder(tiny_store, tiny_config, truth_file, tmp_path, monkeypatch):
    monkeypatch.chdir(truth_file.parent)
    config = changed(tiny_config, "train.steps=6")
    train(tiny_store.path, tmp_path / "run", config, truth="truth.tsv")
    monkeypatch.chdir(tmp_path)
    train(tiny_store.path, Path("run"), tiny_config, resume=True)
    scores = [line["step"] for line in read_metrics(Path("run") / METRICS_FILE) if "map" in line]
    assert scores == [6, 12]


def test_other_cells_are_refused(tiny_store, tiny_config, tmp_path):
    train(tiny_store.path, tmp_path / "run", changed(tiny_config, "train.steps=1"))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["store_fingerprint"] = "0" * 64
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    with pytest.raises(GrapeOpsError, match="other cells"):
        train(tiny_store.path, tmp_path / "run", tiny_config, resume=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"truth": 1.5}))
    with pytest.raises(GrapeOpsError, match="it does not say truth as text"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "foreign", "no average"])
def test_a_damaged_checkpoint_is_named(tiny_store, tiny_config, tmp_path, damage):
    run = train(tiny_store.path, tmp_path / "run", changed(tiny_config, "train.steps=1"))
    file = checkpoints(run.path)[-1] / "nets.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-10])
    elif damage == "flip":
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "remove":
        file.unlink()
    elif damage == "no average":
        record = json.loads(file.with_name("state.json").read_text())
        del record["files"]["average.safetensors"]
        file.with_name("state.json").write_text(json.dumps(record))
    else:
        file.parent.joinpath("state.json").write_text("{}")
    with pytest.raises(GrapeOpsError, match="damaged|not a checkpoint"):
        train(tiny_store.path, tmp_path / "run", tiny_config, resume=True)


def test_checkpoints_beyond_those_to_keep_are_deleted(tiny_store, tiny_config, tmp_path):
    train(tiny_store.path, tmp_path, changed(tiny_config, "train.checkpoint_every=2", "train.keep_checkpoints=2"))
    assert sorted(f.name for f in (tmp_path / CHECKPOINTS_DIR).iterdir()) == ["step_00000010", "step_00000012"]


def test_losses_that_are_no_numbers_stop_the_run():
    means = IntervalMean(batch_size=8)
    means.add({"cycle": torch.tensor(1.0), "style": torch.tensor(float("nan"))})
    with pytest.raises(GrapeOpsError, match="step 30: style no longer finite; .*step_00000020"):
        check_finite(means.take(), 30, Path("step_00000020"))


def test_a_diverging_run_stops_with_words(tiny_store, tiny_config, tmp_path):
    config = changed(tiny_config, "train.optimizer.learning_rate=1e30", "train.steps=40")
    with pytest.raises(GrapeOpsError, match="no longer finite"):
        train(tiny_store.path, tmp_path, config)


def test_wrong_stores_are_errors_in_words(tiny_config, tmp_path):
    with pytest.raises(GrapeOpsError, match="no crop store"):
        train(tmp_path / "nothing", tmp_path / "run", tiny_config)
    assert not (tmp_path / "run").exists()


def test_an_interruption_is_a_user_error_with_the_shells_code():
    assert Interrupted("x", signal.SIGTERM).exit_code == 143
    assert isinstance(Interrupted("x", signal.SIGINT), GrapeOpsError)


def test_the_networks_learn_what_distinguishes_the_genes(tiny_store, tiny_config, tmp_path):
    """With bright and dim genes, D's margin between right and wrong gene grows above zero on real crops."""
    off = ("train.ema.enabled=false", "train.evaluate_every=0")
    run = train(tiny_store.path, tmp_path, changed(tiny_config, "train.steps=150", "train.checkpoint_every=150", *off))
    store = CropStore.open(tiny_store.path)
    nets = run.build()
    restore_nets(checkpoints(run.path)[-1], nets, averaged=False)
    with torch.no_grad():
        logits = nets.discriminator(torch.from_numpy(store.standardized(np.arange(len(store))))).numpy()
    right = logits[np.arange(len(store)), store.labels]
    wrong = (logits.sum(axis=1) - right) / (logits.shape[1] - 1)
    assert (right - wrong).mean() > 0.2
