"""Which tiles share a flat field, which share percentiles, and which cells share a batch.

All three are lists of table columns; a group is one combination of their values, joined by "|".
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL
from grape_ops.screen.screen import Screen

TILE_KEY = [PLATE, WELL, TILE]


def tile_of_cells(screen: Screen) -> np.ndarray:
    """Place of each cell's tile in ``screen.tiles``, -1 if it is not listed: (N,) int64."""
    listed = pd.MultiIndex.from_frame(screen.tiles[TILE_KEY].astype(str))
    if not listed.is_unique:
        twice = listed[listed.duplicated()][0]
        raise GrapeOpsError(f"The screen lists tile {' '.join(map(str, twice))} more than once.")
    return listed.get_indexer(pd.MultiIndex.from_frame(screen.cells[TILE_KEY].astype(str)))


def batch_of_cells(screen: Screen, tile_of_cell: np.ndarray, columns: Sequence[str]) -> np.ndarray:
    """Name each cell's batch: (N,) strings."""
    parts = []
    for column in columns:
        if column in screen.cells:
            values = screen.cells[column]
        elif column in screen.tiles:
            values = screen.tiles[column].reindex(pd.RangeIndex(-1, len(screen.tiles))).iloc[tile_of_cell + 1]
        else:
            raise _no_column(screen, column, "preprocess.batch_columns")
        empty = int(values.isna().sum())
        if empty:
            raise GrapeOpsError(
                f"{empty} cells have no value in column {column!r}, which preprocess.batch_columns names."
            )
        parts.append(values.astype(str).to_numpy())
    return _joined(parts, len(screen.cells))


def group_of_tiles(screen: Screen, tile_of_cell: np.ndarray, columns: Sequence[str], setting: str) -> np.ndarray:
    """Name each tile's group: (T,) strings; empty where a tile has no cells and only the cell table would know.

    Raises
    ------
    GrapeOpsError : a column is in no table, or takes several values within a tile.
    """
    parts = []
    for column in columns:
        if column in screen.tiles:
            values = screen.tiles[column].reset_index(drop=True)
        elif column in screen.cells:
            values = _from_cells(screen, tile_of_cell, column, setting)
        else:
            raise _no_column(screen, column, setting)
        parts.append(values.astype(object).where(values.notna(), "").astype(str).to_numpy())
    names = _joined(parts, len(screen.tiles))
    for part in parts:
        names[part == ""] = ""
    return names


def _from_cells(screen: Screen, tile_of_cell: np.ndarray, column: str, setting: str) -> pd.Series:
    values = screen.cells[column].groupby(tile_of_cell)
    several = values.nunique(dropna=False)
    several = several[(several > 1) & (several.index >= 0)]
    if len(several):
        tile = " ".join(screen.tiles[TILE_KEY].iloc[several.index[0]].astype(str))
        raise GrapeOpsError(
            f"{setting} names column {column!r}, but it takes {several.iloc[0]} values within tile {tile} "
            f"and varies within {len(several)} tiles; a tile has to belong to one group."
        )
    return values.first().reindex(range(len(screen.tiles)))


def _joined(parts: list[np.ndarray], length: int) -> np.ndarray:
    if not parts:  # no columns: everything is one group
        return np.full(length, "all", dtype=object)
    joined = parts[0].astype(object)
    for part in parts[1:]:
        joined = joined + "|" + part.astype(object)
    return joined


def _no_column(screen: Screen, column: str, setting: str) -> GrapeOpsError:
    known = sorted({*screen.cells.columns, *screen.tiles.columns} - {"path"})
    return GrapeOpsError(f"{setting} names column {column!r}; the tables have: {', '.join(map(str, known))}.")
