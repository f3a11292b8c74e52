"""A run to restyle cells with, trained for a few steps only."""

import pytest
import torch

from grape_ops.cells.store import CropStore
from grape_ops.config import load_config
from grape_ops.restyle.restyler import Restyler
from grape_ops.train.loop import train
from grape_ops.train.run_folder import Run, open_run

TINY = (
    "preprocess.crop_size=32",
    "model={embedding_dim: 8, style_dim: 4, mapping_width: 8}",
    "model.generator={width: 4, max_width: 8, down_blocks: 2, middle_blocks: 1}",
    "model.discriminator={width: 4, max_width: 8, blocks: 3}",
    "model.style_encoder={width: 4, max_width: 8, blocks: 3}",
    "train={batch_size: 8, steps: 4, checkpoint_every: 4, log_every: 2, evaluate_every: 4, threads: 1}",
    "train.ema={every: 2, decay: 0.5}",
)


@pytest.fixture(scope="session")
def tiny_run(tiny_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("generate") / "run"
    train(tiny_store.path, folder, load_config(overrides=TINY))
    return open_run(folder)


@pytest.fixture
def restyler(tiny_run: Run) -> Restyler:
    return Restyler.open(tiny_run.path, batch_size=5)
