"""What does not fit is said before a run folder is made: memory, crop size, batch, and folders of others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from changed_config import changed
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from grape_ops import machine
from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import build_grape
from grape_ops.train import preflight
from grape_ops.train.loop import train
from grape_ops.train.preflight import announce_trainings, memory_needed, mismatches
from grape_ops.train.run_folder import open_run
from grape_ops.train.step import Objectives, frozen


def smaller_crops(store: CropStore, folder: Path, size: int) -> Path:
    shards = {}
    for name in dict.fromkeys(store.cells["shard"]):
        rows = np.flatnonzero(store.cells["shard"] == name)
        shards[name] = np.ascontiguousarray(store.read(rows)[:, :, :size, :size])
    write_store(folder, shards, store.cells.copy(), store.channels)
    return folder


def test_the_traced_memory_is_what_a_real_step_keeps(tiny_store, tiny_config):
    n = len(tiny_store.perturbations)
    nets = build_grape(tiny_config.model, n_perturbations=n, channels=2, image_size=32, rng=torch.Generator())
    crops = StandardizedCrops(tiny_store, torch.device("cpu"))
    batch = BatchLoader(crops, Sampler(tiny_store.labels, n, 8, seed=0)).fetch(0)
    own = {p.untyped_storage().data_ptr() for p in nets.parameters()}
    kept: dict[int, Tensor] = {}
    counts = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def descend(loss: Tensor, _: dict[str, Tensor]) -> None:
        counts.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
        loss.backward()
        kept.clear()
        kept.update(restyling)

    objectives = Objectives(tiny_config.train.loss)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        made = objectives.restyle(nets, batch)
        restyling = dict(kept)
        with frozen(nets.discriminator):
            objectives.descend_generator(nets, batch, made, descend)
    real = max(counts)
    assert memory_needed(tiny_store, tiny_config).activations == pytest.approx(real, rel=0.02)


def test_what_saves_memory_is_counted(tiny_store, tiny_config):
    whole = memory_needed(tiny_store, tiny_config)
    for saving in ("train.accumulate=4", "train.batch_size=2", "train.precision=bf16-mixed"):
        assert memory_needed(tiny_store, changed(tiny_config, saving)).activations < 0.6 * whole.activations, saving
    checkpointed = changed(tiny_config, "train.activation_checkpointing=true")
    assert memory_needed(tiny_store, checkpointed).activations < 0.8 * whole.activations
    assert memory_needed(tiny_store, changed(tiny_config, "train.resident=always")).crops == 60 * 2 * 32 * 32 * 2


def test_a_batch_beyond_memory_is_refused_and_the_way_out_works(tiny_store, tiny_config, tmp_path, monkeypatch):
    need = memory_needed(tiny_store, tiny_config)
    monkeypatch.setattr(preflight, "free_memory", lambda: need.state + int(need.activations / 3))
    with pytest.raises(GrapeOpsError) as refused:
        train(tiny_store.path, tmp_path / "run", tiny_config)
    for setting in ("train.batch_size=8", "accumulate=4", "activation_checkpointing=true", "precision=bf16-mixed"):
        assert setting in str(refused.value)
    assert not (tmp_path / "run").exists()
    train(tiny_store.path, tmp_path / "run", changed(tiny_config, "train.accumulate=4", "train.steps=1"))


def test_a_containers_limit_is_the_machines(tmp_path, monkeypatch):
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(machine, "CONTROL_GROUPS", ((limit, used),))
    free = machine.free_memory()
    limit.write_text("5000000\n")
    used.write_text("1000000\n")
    assert machine.free_memory() == 4_000_000 < free
    limit.write_text("max\n")
    assert machine.free_memory() > 4_000_000


def test_crops_the_networks_cannot_take_leave_no_folder(tiny_store, tiny_config, tmp_path):
    odd = smaller_crops(tiny_store, tmp_path / "store", 30)
    with pytest.raises(GrapeOpsError, match="these are 30 px"):
        train(odd, tmp_path / "run", tiny_config)
    assert not (tmp_path / "run").exists()


def test_settings_made_for_other_crops_are_said(tiny_store, tiny_config, tmp_path, capsys):
    other = changed(tiny_config, "preprocess.crop_size=96", "train.steps=1")
    train(tiny_store.path, tmp_path / "run", other)
    said = capsys.readouterr().err
    assert "Note: The store's crops are 32 px, but these settings are for crops of 96 px" in said
    assert mismatches(tiny_store, tiny_config) == []


def test_what_begins_without_a_configuration_is_said(tiny_store, tiny_config, capsys, monkeypatch):
    announce_trainings([Config()] * 3, tiny_store)
    said = capsys.readouterr().err
    assert "Trainings: 3 of 100,000 steps, each step on 256 crops." in said and "but these settings are for" in said
    assert "--config recommended.yaml, or small.yaml" in said
    announce_trainings([tiny_config] * 2, tiny_store)
    assert capsys.readouterr().err == "Note: Trainings: 2 of 12 steps, each step on 8 crops.\n"
    announce_trainings([tiny_config, changed(tiny_config, "train.steps=7")], tiny_store)
    assert "Trainings: 1 of 12 steps, each step on 8 crops; 1 of 7 steps, each" in capsys.readouterr().err
    announce_trainings([], tiny_store)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    announce_trainings([Config()], tiny_store)
    assert "which needs a GPU" not in capsys.readouterr().err


def test_a_batch_of_more_cells_than_there_are_is_said(tiny_store, tiny_config):
    (sentence,) = mismatches(tiny_store, changed(tiny_config, "train.batch_size=64"))
    assert "more than the 60 cells" in sentence and "Set it to 32 or less" in sentence


def test_a_folder_of_others_is_left_alone(tiny_store, tiny_config, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(GrapeOpsError, match="thesis.tex"):
        train(tiny_store.path, tmp_path, tiny_config)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_crash_left_before_the_run_began_is_no_obstacle(tiny_store, tiny_config, tmp_path):
    (tmp_path / "genes.parquet").write_text("half")
    train(tiny_store.path, tmp_path, changed(tiny_config, "train.steps=1"), resume=True)
    assert len(open_run(tmp_path).genes) == 5
