"""Real MCF-7 cells of BBBC021 as crop stores: the pool of untreated cells, and the cells of known mechanisms."""

from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.cells.writer import shard_names, write_store
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, WELL
from real_data import real_data

CHANNELS = ("DNA", "actin", "tubulin")
PERCENTILES = (0.1, 99.9)  # as in preprocessing (section 3.2)
FULL_SIZE = 64


def read_cells(name: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Read a part of BBBC021: crops (N, 3, 68, 68) uint16 and their table."""
    folder = real_data("bbbc021")
    return np.load(folder / f"{name}.npz")["images"], pd.read_csv(folder / f"{name}.csv")


def write_pool(out: Path) -> None:
    """Write the pool of untreated cells as a store of controls only, 64 px, a batch a plate."""
    crops, table = read_cells("dmso_pool")
    cells = table.assign(**{GENE: CONTROL_LABEL, GUIDE: "DMSO", IS_CONTROL: True, BATCH: table["plate"]})
    write_cells(out, crops, cells, FULL_SIZE)


def write_cells(out: Path, crops: np.ndarray, cells: pd.DataFrame, size: int) -> None:
    """Rescale raw crops by their batch's percentiles, cut or shrink them, and write them as a store."""
    crops = resized(rescaled(crops, cells[BATCH].to_numpy(str)), size)
    places = list(zip(cells[PLATE].astype(str), cells[WELL].astype(str), strict=True))
    names = shard_names(places)
    cells = cells.assign(**{SHARD: [names[place] for place in places]})
    cells[ROW] = cells.groupby(SHARD).cumcount()
    shards = {str(name): crops[rows] for name, rows in cells.groupby(SHARD).indices.items()}
    write_store(out, shards, cells, CHANNELS, scaling={"percentiles": list(PERCENTILES)})


def rescaled(crops: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Map each batch's and channel's percentiles to the ends of uint16, and clip: (N, C, S, S) -> the same."""
    scaled = np.empty_like(crops)
    for batch in np.unique(batches):
        own = batches == batch
        low, high = np.percentile(crops[own], PERCENTILES, axis=(0, 2, 3))[:, None, :, None, None]
        scaled[own] = np.rint(np.clip((crops[own] - low) / (high - low), 0, 1) * 65535)
    return scaled


def resized(crops: np.ndarray, size: int) -> np.ndarray:
    """The middle 64 px, as they are or with 2 x 2 pixels averaged to one: (N, C, S, S) -> (N, C, size, size)."""
    edge = (crops.shape[-1] - FULL_SIZE) // 2
    middle = crops[:, :, edge : edge + FULL_SIZE, edge : edge + FULL_SIZE]
    if size == FULL_SIZE:
        return np.ascontiguousarray(middle)
    step = FULL_SIZE // size
    blocks = middle.reshape(*crops.shape[:2], size, step, size, step)
    return np.rint(blocks.mean(axis=(3, 5))).astype(crops.dtype)
