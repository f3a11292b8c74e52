"""Ways of carrying a step out that must not change what it learns: parts, checkpointing, compiling, processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_config import changed
from lightning_fabric import Fabric
from one_step import main as one_step
from safetensors.torch import load_file

from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops, hold_out
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, ModelSettings, dump_config, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import build_grape
from grape_ops.schema import METRICS_FILE
from grape_ops.train.checkpoint import TrainingState, checkpoints
from grape_ops.train.estimate import estimate, multiply_adds, print_estimate
from grape_ops.train.log import read_metrics
from grape_ops.train.loop import iterate, out_of_memory_in_words, train
from grape_ops.train.optimizers import make_optimizers
from grape_ops.train.step import Objectives
from grape_ops.train.watch import MemorizationMonitor

CPU = torch.device("cpu")


def gradients_of_one_step(
    store: CropStore, config: Config, *, checkpointing: bool = False, n_parts: int = 1, backend: str = "off"
) -> dict[str, torch.Tensor]:
    """Gradients of D and of the others, as one iteration leaves them."""
    n = len(store.perturbations)
    nets = build_grape(
        config.model,
        n_perturbations=n,
        channels=len(store.channels),
        image_size=store.crop_size,
        rng=torch.Generator().manual_seed(0),
        checkpointing=checkpointing,
    ).double()
    batch = BatchLoader(StandardizedCrops(store, CPU), Sampler(store.labels, n, 8, 0)).fetch(0)
    batch = type(batch)(batch.images.double(), batch.labels, batch.targets)
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    state = TrainingState(nets, None, make_optimizers(nets, config.train.optimizer))
    iterate(fabric, state, batch, Objectives(config.train.loss, backend), n_parts)
    return {name: p.grad.clone() for name, p in nets.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("ways", [{"n_parts": 2}, {"n_parts": 4}, {"checkpointing": True}, {"backend": "aot_eager"}])
def test_the_way_of_computing_changes_no_gradient(tiny_store, tiny_config, ways):
    plain, other = (gradients_of_one_step(tiny_store, tiny_config, **w) for w in ({}, ways))
    assert plain.keys() == other.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-7, atol=1e-9, msg=name)


def test_a_resident_store_gives_the_same_batches(tiny_store):
    sampler = Sampler(tiny_store.labels, len(tiny_store.perturbations), 8, 0)
    streamed, resident = (
        BatchLoader(StandardizedCrops(tiny_store, CPU, how), sampler, augment=True).fetch(2)
        for how in ("never", "always")
    )
    assert torch.equal(streamed.images, resident.images)


def test_bf16_follows_full_precision_closely_at_first(tiny_store, tiny_config, tmp_path):
    for name, precision in (("full", "32-true"), ("half", "bf16-mixed")):
        config = changed(tiny_config, f"train.precision={precision}", "train.steps=2", "train.log_every=1")
        train(tiny_store.path, tmp_path / name, config)
    full, half = (next(read_metrics(tmp_path / name / METRICS_FILE)) for name in ("full", "half"))
    for term in ("d_adversarial", "g_adversarial", "cycle", "style"):
        assert half[term] == pytest.approx(full[term], rel=0.03)
    assert half["cycle"] != full["cycle"]


def test_two_processes_have_the_gradient_of_one_on_the_joined_batch(tiny_store, tiny_config, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(tiny_config))
    script = Path(__file__).parent / "one_step.py"
    one_step(tiny_store.path, file, 1, tmp_path / "1")
    run(sys.executable, script, tiny_store.path, file, 2, tmp_path / "2")
    one, two = (load_file(tmp_path / name) for name in ("1", "2"))
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-6, atol=1e-12, msg=name)


def test_two_processes_train_like_one(tiny_store, tiny_config, tmp_path):
    file = tmp_path / "config.yaml"
    settings = ("train.steps=3", "train.accelerator=cpu", "train.log_every=1")
    config = changed(tiny_config, *settings)
    file.write_text(dump_config(config))
    train(tiny_store.path, tmp_path / "1", config)
    command = ("-m", "grape_ops", "train", tiny_store.path, "--out", tmp_path / "2", "--config", file)
    run(sys.executable, *command, "--set", "train.devices=2")
    one, two = (list(read_metrics(tmp_path / name / METRICS_FILE)) for name in ("1", "2"))
    # Adam turns gradients near zero into full steps of either sign, so that weights drift apart from the first update.
    for name in ("d_adversarial", "d_r1", "g_adversarial", "cycle", "style"):
        assert two[0][name] == pytest.approx(one[0][name], rel=1e-5)
        assert two[2][name] == pytest.approx(one[2][name], rel=1e-2)


def run(*command: object) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_held_out_cells_are_never_drawn_and_are_watched(tiny_store, tiny_config, tmp_path):
    held = hold_out(tiny_store.labels, 0.3, seed=0)
    assert 0.2 < held.mean() < 0.4
    drawn = Sampler(tiny_store.labels, 5, 8, 0, cells=(~held).nonzero()[0])
    assert not any(held[drawn.draw(step)[0]].any() for step in range(50))
    train(tiny_store.path, tmp_path, changed(tiny_config, "train.holdout=0.3"))
    looks = [line for line in read_metrics(tmp_path / METRICS_FILE) if "d_unseen_logit" in line]
    assert [line["step"] for line in looks] == [6, 12]


def test_cells_seen_and_unseen_are_of_the_same_perturbations_and_each_has_its_own_mean(tiny_store):
    labels, held = tiny_store.labels, hold_out(tiny_store.labels, 0.3, seed=0)
    monitor = MemorizationMonitor.of(StandardizedCrops(tiny_store, CPU), held, seed=0)
    assert sorted(monitor.unseen) == np.flatnonzero(held).tolist()
    assert not held[monitor.seen].any() and (labels[monitor.seen] == labels[monitor.unseen]).all()
    of_cell = {crop.numpy().tobytes(): cell for cell, crop in enumerate(monitor.crops(np.arange(len(labels))))}

    class Heads:
        """A cell's logit is its number, at its own head."""

        def logits(self, images: torch.Tensor, heads: torch.Tensor) -> torch.Tensor:
            cells = [of_cell[image.numpy().tobytes()] for image in images]
            assert heads.tolist() == labels[cells].tolist()
            return torch.tensor(cells, dtype=torch.float32)

    means = {"d_seen_logit": monitor.seen.mean(), "d_unseen_logit": monitor.unseen.mean()}
    assert monitor.score(Heads()) == pytest.approx(means)
    assert MemorizationMonitor.of(monitor.crops, np.zeros_like(held), seed=0) is None


def test_every_perturbation_keeps_a_cell_to_train_on(tiny_store):
    held = hold_out(tiny_store.labels, 0.89, seed=0)
    assert set(tiny_store.labels[~held]) == set(range(5))


def test_milestones_stay_beside_the_latest_checkpoints(tiny_store, tiny_config, tmp_path):
    settings = ("train.checkpoint_every=1", "train.keep_checkpoints=2", "train.keep_every=5")
    train(tiny_store.path, tmp_path, changed(tiny_config, *settings))
    assert [int(path.name[5:]) for path in checkpoints(tmp_path)] == [5, 10, 11, 12]


def test_a_batch_that_cannot_be_split_is_said(tiny_store, tiny_config, tmp_path):
    with pytest.raises(GrapeOpsError, match=r"train.batch_size=8 .*3 parts"):
        train(tiny_store.path, tmp_path, changed(tiny_config, "train.accumulate=3"))


def test_running_out_of_memory_names_the_settings_that_help():
    with (
        pytest.raises(GrapeOpsError, match=r"train.accumulate.*train.activation_checkpointing"),
        out_of_memory_in_words(),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_tensorboard_gets_what_the_metrics_file_gets(tiny_store, tiny_config, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = ("train.tensorboard=true", "train.steps=4", "train.holdout=0.3", "train.evaluate_every=4")
    train(tiny_store.path, tmp_path, changed(tiny_config, *settings))
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {(e.step, name): e.value for name in board.Tags()["scalars"] for e in board.Scalars(name)}
    lines = list(read_metrics(tmp_path / METRICS_FILE))
    written = {(line["step"], name): value for line in lines for name, value in line.items() if name != "step"}
    assert {(2, "cycle"), (4, "cycle"), (4, "d_unseen_logit")} <= written.keys()
    assert shown == pytest.approx(written, rel=1e-6)


def test_the_papers_preset_keeps_its_way_of_computing():
    settings = load_config("paper.yaml").train
    assert (settings.accumulate, settings.holdout, settings.compile) == (1, 0.0, "off")


def test_a_dry_run_counts_times_and_writes_nothing(tiny_store, tiny_config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cost = estimate(tiny_store.path, tiny_config)
    assert cost.parameters["embedding"] == 5 * 8
    assert cost.seconds_per_step > 0
    assert cost.hours == pytest.approx(cost.seconds_per_step * 12 / 3600)
    assert cost.initialization_hours == 0
    checkpointed = estimate(tiny_store.path, changed(tiny_config, "train.activation_checkpointing=true"))
    assert checkpointed.memory.activations < 0.8 * cost.memory.activations
    print_estimate(tiny_store.path, tiny_config)
    assert "Nothing was written." in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_dry_run_counts_the_initialisation(tiny_store, tiny_config, capsys):
    small = "classifier: {width: 4, max_width: 8, batch_size: 8, steps: 1000}"
    one, two = (changed(tiny_config, f"train.init={{kind: classifier, networks: {n}, {small}}}") for n in (1, 2))
    assert estimate(tiny_store.path, one).initialization_hours > 0
    print_estimate(tiny_store.path, two)
    assert "initialisation: 2 classifiers, one after the other, of 1,000 steps" in " ".join(
        capsys.readouterr().out.split()
    )


def test_the_papers_forward_passes_cost_what_was_counted_by_hand():
    """Fused resampling takes 4/9 of the multiply-adds of the resampling convolutions, and shortcuts a quarter."""
    plain = multiply_adds(Config(model=ModelSettings(fused_resampling=False)), 107, 4, 96)
    fused = multiply_adds(Config(), 107, 4, 96)
    assert plain["generator"] == pytest.approx(7.781, abs=0.002)
    assert plain["discriminator"] == pytest.approx(2.310, abs=0.002)
    assert 0.5 < fused["generator"] / plain["generator"] < 0.8
