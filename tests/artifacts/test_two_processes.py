"""Two real processes and one place: the first is stopped half-way, the second comes, the first goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anndata
import pytest

from grape_ops.artifacts.locks import locked
from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.train.checkpoint import checkpoints, read_state
from grape_ops.train.loop import train

BUSY = r"is being written by process \d+"
# Stops this process the first time a function of a module is called.
STOPPING = """
import importlib, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)

def stop_at(module, name, after=False):
    module = importlib.import_module(module)
    plain = getattr(module, name)
    def stopping(*args, **more):
        setattr(module, name, plain)
        if not after: os.kill(os.getpid(), signal.SIGSTOP)
        done = plain(*args, **more)
        if after: os.kill(os.getpid(), signal.SIGSTOP)
        return done
    setattr(module, name, stopping)
"""
EMBED = """
from grape_ops.embed import write_embedding
stop_at("grape_ops.cells.genes", "write_anndata", after=True)
write_embedding(Path(sys.argv[1]), Path(sys.argv[2]), position=1)
"""
TRAIN = """
from grape_ops.config import load_config
from grape_ops.train.loop import train
stop_at("grape_ops.train.loop", "save_checkpoint")
train(Path(sys.argv[1]), Path(sys.argv[2]), load_config(sys.argv[3]))
"""
PREPROCESS = """
from grape_ops.config import load_config
from grape_ops.preprocess.pipeline import preprocess_folder
stop_at("grape_ops.preprocess.pipeline", "finish_store")
preprocess_folder(Path(sys.argv[1]), Path(sys.argv[2]), load_config(sys.argv[3]))
"""


def stopped(code: str, *arguments: object) -> subprocess.Popen:
    """Start a process, and wait until it has stopped itself."""
    process = subprocess.Popen([sys.executable, "-c", STOPPING + code, *map(str, arguments)])
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return process


def goes_on(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0


def grape_ops(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "grape_ops", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(tiny_store, tiny_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    train(tiny_store.path, folder, tiny_config)
    return folder


def test_two_that_embed_into_one_file_leave_a_whole_one(run, tmp_path):
    out = tmp_path / "genes.h5ad"
    first = stopped(EMBED, run, out)
    assert not out.exists()
    second = grape_ops("embed", run, "--out", out, "--position", "2")
    assert second.returncode == 0, second.stderr
    assert anndata.read_h5ad(out).uns["method"] == "GRAPE F(M)"
    goes_on(first)
    assert anndata.read_h5ad(out).uns["method"] == "GRAPE M"
    assert os.listdir(tmp_path) == ["genes.h5ad"]


def test_what_a_killed_one_left_is_cleared_by_the_next(run, tmp_path):
    out = tmp_path / "genes.h5ad"
    first = stopped(EMBED, run, out)
    first.kill()
    first.wait()
    assert len(os.listdir(tmp_path)) == 1 and not out.exists()
    assert grape_ops("embed", run, "--out", out).returncode == 0
    assert os.listdir(tmp_path) == ["genes.h5ad"]


def test_a_second_training_in_a_run_folder_is_told_at_once(tiny_store, tiny_config, tmp_path):
    from grape_ops.config import dump_config

    (tmp_path / "config.yaml").write_text(dump_config(tiny_config))
    first = stopped(TRAIN, tiny_store.path, tmp_path / "run", tmp_path / "config.yaml")
    with pytest.raises(GrapeOpsError, match=rf"{BUSY}.*another --out for a run"):
        train(tiny_store.path, tmp_path / "run", tiny_config, resume=True)
    goes_on(first)
    assert read_state(checkpoints(tmp_path / "run")[-1])["step"] == tiny_config.train.steps
    assert not list((tmp_path / "run").glob(".*"))


def test_a_second_preprocessing_into_a_folder_is_told_at_once(tmp_path):
    from grape_ops.config import SimulateSettings
    from grape_ops.simulate.write_screen import simulate_screen

    small = {"complexes": 1, "genes_per_complex": 2, "cells_per_gene": 20, "control_cells": 40, "plates": 1}
    simulate_screen(tmp_path / "screen", SimulateSettings(**small, wells_per_plate=1, tile_size=256), workers=1)
    (tmp_path / "config.yaml").write_text("preprocess: {crop_size: 32, workers: 1}")
    arguments = (tmp_path / "screen", tmp_path / "store", tmp_path / "config.yaml")
    first = stopped(PREPROCESS, *arguments)
    command = ("preprocess", arguments[0], "--out", arguments[1], "--config", arguments[2])
    for more in ((), ("--resume",), ("--overwrite",)):
        second = grape_ops(*command, *more)
        assert second.returncode == 1 and "is being written by process" in second.stderr
    goes_on(first)
    CropStore.open(tmp_path / "store").verify()
    assert not list((tmp_path / "store").glob(".*"))


def test_one_that_may_wait_waits(tmp_path):
    code = (
        "import sys; from pathlib import Path; from grape_ops.artifacts.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'features', wait=True): print('in')"
    )
    with locked(tmp_path, "features"):
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None and "waiting for process" in second.stderr.readline()
    assert second.communicate()[0] == "in\n"
