"""Which cells are cropped, where their crops lie in the store, and why the others are left out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.writer import shard_names
from grape_ops.config import PreprocessSettings
from grape_ops.preprocess.crops import corner, near_edge, outside
from grape_ops.preprocess.problems import Problems
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, IS_CONTROL, PLATE, ROW, SHARD, TILE, WELL, X, Y
from grape_ops.screen.screen import Screen


@dataclass(frozen=True)
class Selection:
    """The cells of a store, in its order.

    Attributes
    ----------
    cells : table with batch, shard and row.
    tile : (N,) place of each cell's tile in the screen's list.
    corners : (N, 2) first row and column of each crop in its tile.
    dropped : number of cells left out, by reason.
    """

    cells: pd.DataFrame
    tile: np.ndarray
    corners: np.ndarray
    dropped: dict[str, int]


def select_cells(
    screen: Screen,
    tile_of_cell: np.ndarray,
    batch: np.ndarray,
    shapes: np.ndarray,
    settings: PreprocessSettings,
    problems: Problems,
) -> Selection:
    """Decide on every cell; the first reason that applies to it is the one that is counted.

    Parameters
    ----------
    tile_of_cell : (N,) place of each cell's tile, -1 if it is not listed.
    batch : (N,) batch names.
    shapes : (T, 2) height and width of each tile, 0 if it could not be read.
    problems : takes note of cells outside their tile and batches without controls; tiles were noted before.
    """
    cells = screen.cells.reset_index(drop=True)
    y, x = cells[Y].to_numpy(np.float64), cells[X].to_numpy(np.float64)
    height, width = np.where(tile_of_cell[:, None] >= 0, shapes[tile_of_cell], 0).T
    reason = np.full(len(cells), "", dtype=object)

    def leave_out(which: np.ndarray, why: str) -> np.ndarray:
        fresh = which & (reason == "")
        reason[fresh] = why
        return fresh

    leave_out(cells[GENE].isna().to_numpy(), "no gene symbol")
    leave_out(height == 0, "tile missing or unreadable")
    astray = leave_out(outside(y, x, height, width), "outside its tile")
    problems.add("cells outside their tile", name_places(cells[astray]))
    if settings.edge == "drop":
        margin = settings.edge_margin
        leave_out(near_edge(y, x, height, width, settings.crop_size, margin), "too close to the tile's edge")
    kept = reason == ""
    bare = sorted(set(batch[kept]) - set(batch[kept & cells[IS_CONTROL].to_numpy(bool)]))
    problems.add("batches without control cells", bare)
    leave_out(np.isin(batch, bare), "batch without controls")

    dropped = _counts(pd.Series(reason[reason != ""]))
    return _arranged(cells, reason == "", batch, tile_of_cell, settings.crop_size, dropped)


def _arranged(
    cells: pd.DataFrame, kept: np.ndarray, batch: np.ndarray, tile: np.ndarray, size: int, dropped: dict[str, int]
) -> Selection:
    table = cells[kept].assign(**{BATCH: batch[kept]})
    names = shard_names(zip(table[PLATE], table[WELL], strict=True))
    table[SHARD] = [names[place] for place in zip(table[PLATE], table[WELL], strict=True)]
    # Cells of a tile lie together, tiles in the screen's order, cells of a tile in the table's.
    order = np.lexsort((tile[kept], table[SHARD].to_numpy(str)))
    table = table.iloc[order].reset_index(drop=True)
    table[ROW] = table.groupby(SHARD).cumcount().astype(np.int64)
    corners = np.stack([corner(table[axis].to_numpy(), size) for axis in (Y, X)], axis=1)
    return Selection(table, tile[kept][order], corners.reshape(-1, 2), dropped)


def count_quality(screen: Screen, selection: Selection) -> dict[str, Any]:
    """Count what was kept and dropped, over genes and batches."""
    cells = selection.cells
    genes = cells[GENE].where(~cells[IS_CONTROL], CONTROL_LABEL)
    return {
        "cells_in_table": len(screen.cells),
        "cells_kept": len(cells),
        "cells_dropped": selection.dropped,
        "cells_per_gene": _counts(genes),
        "cells_per_batch": _counts(cells[BATCH]),
        "controls_per_batch": _counts(cells.loc[cells[IS_CONTROL], BATCH]),
    }


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().sort_index().items()}


def name_places(cells: pd.DataFrame) -> list[str]:
    """Say where each cell lies, for messages."""
    return [
        f"({y:g}, {x:g}) in tile {plate} {well} {tile}"
        for y, x, plate, well, tile in zip(cells[Y], cells[X], cells[PLATE], cells[WELL], cells[TILE], strict=True)
    ]
