"""A store of drawn control cells: a round nucleus in a cell, on two plates of different brightness."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.power.planted_store import Source, read_source

SIZE, CHANNELS = 40, ("DNA", "actin")


def drawn_cell(rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """A nucleus of about 9 px radius and a cell around it, both with texture: -> (2, SIZE, SIZE) uint16."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    radius, aspect = 8.5 * np.exp(0.1 * rng.standard_normal()), np.exp(0.1 + 0.1 * abs(rng.standard_normal()))
    angle = rng.uniform(0, np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    distance = np.hypot(along / np.sqrt(aspect), across * np.sqrt(aspect))
    grain = ndimage.gaussian_filter(rng.standard_normal((2, SIZE, SIZE)), (0, 1, 1))
    nucleus = (distance < radius) * (1 + 0.4 * grain[0]) * np.exp(0.2 * rng.standard_normal())
    body = np.exp(-distance / 14) * (1 + 0.8 * grain[1]) * np.exp(0.2 * rng.standard_normal())
    light = ndimage.gaussian_filter(np.stack([nucleus, body]), (0, 0.8, 0.8))
    return (500 + gain * 12000 * np.clip(light, 0, None) + 30 * rng.standard_normal(light.shape)).astype(np.uint16)


def write_controls(folder: Path, n: int) -> CropStore:
    """Write n drawn control cells on two plates."""
    rng = np.random.default_rng(1)
    plates = np.arange(n) % 2
    crops = np.stack([drawn_cell(rng, 1.0 + 0.4 * plate) for plate in plates])
    cells = pd.DataFrame({"plate": np.array(["p1", "p2"])[plates], "well": "A1"})
    cells = cells.assign(gene_symbol="nontargeting", sgRNA="ntc_1", is_control=True, batch=cells["plate"] + "|A1")
    cells = cells.assign(shard=cells["plate"] + "_A1", row=np.arange(n) // 2)
    shards = {f"p{plate + 1}_A1": crops[plates == plate] for plate in (0, 1)}
    write_store(folder, shards, cells, CHANNELS)
    return CropStore.open(folder)


@pytest.fixture(scope="session")
def controls(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return write_controls(tmp_path_factory.mktemp("controls") / "store", 240)


@pytest.fixture(scope="session")
def source(controls: CropStore) -> Source:
    """The control cells with their nuclei found and their traits measured, which takes a second."""
    return read_source(controls)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Settings of a training of two steps on 40-px crops."""
    return [
        "train.steps=2",
        "train.batch_size=8",
        "train.checkpoint_every=2",
        "train.evaluate_every=0",
        "model.generator.width=4",
        "model.discriminator={width: 4, max_width: 8, blocks: 3}",
        "model.style_encoder={width: 4, max_width: 8, blocks: 3}",
        "embed.cells_per_gene=8",
    ]
