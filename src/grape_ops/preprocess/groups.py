"""Which tiles share a flat field, which share percentiles, and which cells share a batch.

All three are lists of table columns; a group is one combination of their values, joined by "|".
Legend: N cells of a well, T tiles of the screen.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL
from grape_ops.words import counted

TILE_KEY = [PLATE, WELL, TILE]


class TilePlaces:
    """Finds the tiles of cells in the screen's list."""

    def __init__(self, tiles: pd.DataFrame):
        names = tiles[TILE_KEY].astype(str).reset_index(drop=True)
        twice = names[names.duplicated()]
        if len(twice):
            raise GrapeOpsError(f"The screen lists tile {' '.join(twice.iloc[0])} more than once.")
        self._of_well = {
            (str(plate), str(well)): (pd.Index(own[TILE]), own.index.to_numpy(np.int64))
            for (plate, well), own in names.groupby([PLATE, WELL])
        }

    def of(self, place: tuple[str, str], cells: pd.DataFrame) -> np.ndarray:
        """Place of each cell's tile in the list, -1 if it is not listed: (N,) int64."""
        if place not in self._of_well:
            return np.full(len(cells), -1, np.int64)
        names, places = self._of_well[place]
        found = names.get_indexer(pd.Index(cells[TILE].astype(str)))
        return np.where(found < 0, -1, places[found])


def batch_of_cells(
    tiles: pd.DataFrame,
    cells: pd.DataFrame,
    tile_of_cell: np.ndarray,
    columns: Sequence[str],
    setting: str = "preprocess.batch_columns",
) -> np.ndarray:
    """Name each cell's batch, or another group of the columns that a setting names: (N,) strings."""
    parts = []
    for column in columns:
        if column in cells:
            values = cells[column]
        elif column in tiles:
            values = tiles[column].reset_index(drop=True).reindex(pd.RangeIndex(-1, len(tiles))).iloc[tile_of_cell + 1]
        else:
            raise no_column(tiles, cells, column, setting)
        empty = int(values.isna().sum())
        if empty:
            raise GrapeOpsError(
                f"{counted(empty, 'cells')} without a value in column {column!r}, which {setting} names."
            )
        parts.append(values.astype(str).to_numpy(object))
    return _joined(parts, len(cells))


class TileGrouping:
    """Names each tile's group, from columns of the tile list and, as wells come by, of the cell table."""

    def __init__(self, tiles: pd.DataFrame, columns: Sequence[str], setting: str):
        self.tiles, self.columns, self.setting = tiles, columns, setting
        self._values = {
            name: tiles[name].to_numpy(object).copy() if name in tiles else np.full(len(tiles), None, object)
            for name in columns
        }

    def take(self, cells: pd.DataFrame, tile_of_cell: np.ndarray) -> None:
        """Learn from the cells of a well.

        Raises
        ------
        GrapeOpsError : a column is in no table, or takes several values within a tile.
        """
        for column in self.columns:
            if column in self.tiles:
                continue
            if column not in cells:
                raise no_column(self.tiles, cells, column, self.setting)
            values = cells[column].groupby(tile_of_cell)
            several = values.nunique(dropna=False)
            several = several[(several > 1) & (several.index >= 0)]
            if len(several):
                tile = " ".join(self.tiles[TILE_KEY].iloc[several.index[0]].astype(str))
                raise GrapeOpsError(
                    f"{self.setting} names column {column!r}, but it takes {several.iloc[0]} values within tile {tile} "
                    f"and varies within {counted(len(several), 'tiles')} of this well; a tile must belong to one group."
                )
            first = values.first()
            first = first[first.index >= 0]
            self._values[column][first.index.to_numpy()] = first.to_numpy(object)

    def names(self, used: np.ndarray) -> np.ndarray:
        """Name the groups: (T,) strings, empty where a tile has no cells and only the cell table would know.

        Parameters
        ----------
        used : (T,) whether a tile has cells, and must have a group.
        """
        empty = np.zeros(len(self.tiles), bool)
        parts = []
        for values in self._values.values():
            gaps = pd.isna(values) | (values == "")
            empty |= gaps
            parts.append(np.where(gaps, "", values.astype(str)).astype(object))
        bare = np.flatnonzero(used & empty)
        if len(bare):
            tile = " ".join(self.tiles[TILE_KEY].iloc[bare[0]].astype(str))
            raise GrapeOpsError(
                f"{counted(len(bare), 'tiles')}, for example {tile}, without a value in a column that {self.setting} "
                "names."
            )
        names = _joined(parts, len(self.tiles))
        names[empty] = ""
        return names


def _joined(parts: list[np.ndarray], length: int) -> np.ndarray:
    if not parts:  # no columns: everything is one group
        return np.full(length, "all", dtype=object)
    joined = parts[0].astype(object)
    for part in parts[1:]:
        joined = joined + "|" + part.astype(object)
    return joined


def no_column(tiles: pd.DataFrame, cells: pd.DataFrame, column: str, setting: str) -> GrapeOpsError:
    """Say that a setting names a column that is in neither table."""
    known = sorted({*cells.columns, *tiles.columns} - {"path"})
    return GrapeOpsError(f"{setting} names column {column!r}; the tables have: {', '.join(map(str, known))}.")
