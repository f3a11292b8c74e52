"""A run to restyle cells with, trained for a few steps only."""

import pytest
import torch

from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.restyle.restyler import Restyler
from grape_ops.train.loop import train
from grape_ops.train.run_folder import Run, open_run


@pytest.fixture(scope="session")
def short_config(tiny_config: Config) -> Config:
    short = tiny_config.train.model_copy(update={"steps": 4, "evaluate_every": 4})
    return tiny_config.model_copy(update={"train": short})


@pytest.fixture(scope="session")
def tiny_run(tiny_store: CropStore, short_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("generate") / "run"
    train(tiny_store.path, folder, short_config)
    return open_run(folder)


@pytest.fixture
def restyler(tiny_run: Run) -> Restyler:
    return Restyler.open(tiny_run.path, batch_size=5)
