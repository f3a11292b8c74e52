"""Checkpoints: tensors and JSON only, written atomically, loaded without running any code.

A checkpoint is a folder ``step_00000100/`` with ``nets.safetensors``, ``average.safetensors`` (if the run keeps one),
``optimizers.safetensors`` and ``state.json``, which names the size and SHA-256 of the others.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grape_ops.artifacts.atomic import clear_leftovers, draft_folder_of, write_text
from grape_ops.artifacts.damage import DAMAGE
from grape_ops.artifacts.identity import sha256_of
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import Grape
from grape_ops.schema import CHECKPOINTS_DIR
from grape_ops.train.optimizers import WeightAverage

FORMAT = 1
_NETS, _AVERAGE, _OPTIMIZERS, _STATE = (
    "nets.safetensors",
    "average.safetensors",
    "optimizers.safetensors",
    "state.json",
)


@dataclass
class TrainingState:
    """Everything that changes while training.

    Attributes
    ----------
    nets : the networks that learn.
    average : their filtered copy, or None.
    optimizers : by name, "discriminator" (D) and "generator" (M, F, G and E).
    step : iterations done.
    """

    nets: Grape
    average: WeightAverage | None
    optimizers: dict[str, torch.optim.Optimizer]
    step: int = 0


def checkpoint_path(run: Path, step: int) -> Path:
    """Folder of a run's checkpoint after ``step`` iterations."""
    return run / CHECKPOINTS_DIR / f"step_{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """A run's finished checkpoints, oldest first."""
    return sorted((run / CHECKPOINTS_DIR).glob("step_????????"))


def save_checkpoint(run: Path, state: TrainingState, keep: int, keep_every: int = 0) -> Path:
    """Write a checkpoint, then delete all but the ``keep`` latest and those at multiples of ``keep_every``.

    A crash leaves no half-written one behind.
    """
    final = checkpoint_path(run, state.step)
    with draft_folder_of(final) as draft:
        _save(state.nets.state_dict(), draft / _NETS)
        if state.average is not None:
            _save(state.average.nets.state_dict(), draft / _AVERAGE)
        _save(_optimizer_tensors(state.optimizers), draft / _OPTIMIZERS)
        files = {f.name: {"bytes": f.stat().st_size, "sha256": sha256_of(f)} for f in sorted(draft.iterdir())}
        updates = state.average.updates if state.average is not None else None
        record = {"format": FORMAT, "step": state.step, "average_updates": updates, "files": files}
        write_text(draft / _STATE, json.dumps(record, indent=2))
    for old in checkpoints(run)[:-keep]:
        if not keep_every or int(old.name[5:]) % keep_every:
            shutil.rmtree(old)
    clear_leftovers(final.parent)
    return final


def restore(path: Path, state: TrainingState) -> None:
    """Put a checkpoint's tensors into a freshly built state, in place and bit for bit."""
    record = read_state(path)
    _load_into(state.nets, path / _NETS)
    if state.average is not None:
        _load_into(state.average.nets, path / _AVERAGE)
        state.average.updates = record["average_updates"]
    _restore_optimizers(state.optimizers, _load(path / _OPTIMIZERS))
    state.step = record["step"]


def restore_nets(path: Path, nets: Grape, averaged: bool) -> bool:
    """Put the filtered weights of a checkpoint into freshly built networks, or else the trained ones.

    Returns whether they are the filtered ones: a run may have kept none, and before its first update the filter
    holds the initial weights, which answer nothing.
    """
    averaged = averaged and bool(read_state(path)["average_updates"])
    _load_into(nets, path / (_AVERAGE if averaged else _NETS))
    return averaged


def weights_sha256(path: Path, averaged: bool) -> str:
    """SHA-256 of a checkpoint's filtered or trained weights, as its record says it."""
    return str(_read_record(path)["files"][_AVERAGE if averaged else _NETS]["sha256"])


def read_state(path: Path) -> dict[str, Any]:
    """A checkpoint's record, after checking that all its files are whole."""
    record = _read_record(path)
    for name, facts in record["files"].items():
        file = path / name
        if not file.is_file() or file.stat().st_size != facts["bytes"] or sha256_of(file) != facts["sha256"]:
            raise GrapeOpsError(
                f"{file} is missing or damaged. Delete the folder {path.name} to go on from the checkpoint before it."
            )
    return record


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads((path / _STATE).read_text())
    except DAMAGE:
        record = None
    match record:
        case {"format": int(known)} if known != FORMAT:
            raise GrapeOpsError(
                f"{path} has checkpoint format {known}; this version of grape-ops reads format {FORMAT}."
            )
        case {"format": int(), "step": int(), "average_updates": int() | None, "files": dict(files)} if all(
            isinstance(facts, dict) and {"bytes", "sha256"} <= set(facts) for facts in files.values()
        ) and {_NETS, _OPTIMIZERS, *([_AVERAGE] if record["average_updates"] is not None else [])} <= set(files):
            return dict(record)
        case _:
            raise GrapeOpsError(f"{path} is not a checkpoint of grape-ops: its {_STATE} is missing or damaged.")


def _optimizer_tensors(optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    return {
        f"{name}/{index}/{key}": value
        for name, optimizer in optimizers.items()
        for index, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
    }


def _restore_optimizers(optimizers: dict[str, torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    for name, optimizer in optimizers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for path, value in tensors.items():
            owner, index, key = path.split("/")
            if owner == name:
                moments.setdefault(int(index), {})[key] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                if value.shape == parameter.shape:  # the fused update needs the parameter's own memory layout
                    state[key] = torch.empty_like(parameter).copy_(value)


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, file)
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise GrapeOpsError(f"{file} cannot be read as a checkpoint: {error}") from None


def _load_into(nets: Grape, file: Path) -> None:
    try:
        nets.load_state_dict(_load(file))
    except RuntimeError as error:
        raise GrapeOpsError(f"{file} holds other networks than the run's configuration describes: {error}") from None
