"""Which cells are cropped, where their crops lie in the store, and why the others are left out.

The cell table is read one well at a time. Legend: N cells of a well, T tiles of the screen.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.writer import shard_names
from grape_ops.config import PreprocessSettings
from grape_ops.preprocess.crops import corner, near_edge, outside
from grape_ops.preprocess.first_pass import LARGEST_TILE, WINDOW
from grape_ops.preprocess.groups import TilePlaces, batch_of_cells
from grape_ops.preprocess.non_finite import Kept, needs_non_finite
from grape_ops.preprocess.quality_table import Problems, named
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, IS_CONTROL, PLATE, ROW, SHARD, TILE, WELL, X, Y
from grape_ops.screen.chunks import AbsentChunks
from grape_ops.screen.screen import Screen
from grape_ops.screen.zarr_tiles import ZarrTiles

ABSENT_CHUNKS = "on zarr chunks that are absent"
NON_FINITE = "on pixels that are NaN or infinite"


@dataclass
class Choice:
    """How many cells are kept and dropped, over all wells.

    Attributes
    ----------
    dropped : number of cells left out, by reason.
    genes : kept cells of each gene, of each batch; all controls are one gene.
    controls : kept controls of each batch.
    bare : batches without controls, whose cells are left out as well.
    wells : wells with cells that are kept.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    genes: dict[str, Counter[str]] = field(default_factory=dict)
    controls: Counter[str] = field(default_factory=Counter)
    bare: set[str] = field(default_factory=set)
    wells: set[tuple[str, str]] = field(default_factory=set)

    @property
    def kept(self) -> int:
        """Number of cells that are kept."""
        return sum(counts.total() for counts in self.genes.values())

    def count(self, cells: pd.DataFrame, batch: np.ndarray, kept: np.ndarray) -> None:
        """Count the kept cells of a well: (N,) batch of each cell, and whether it is kept."""
        genes = cells[GENE].where(~cells[IS_CONTROL], CONTROL_LABEL)[kept]
        for name, own in genes.groupby(batch[kept]):
            self.genes.setdefault(str(name), Counter()).update(own.tolist())
        self.controls.update(batch[kept & cells[IS_CONTROL].to_numpy(bool)].tolist())

    def leave_out_bare(self, problems: Problems) -> None:
        """Drop the batches that have no controls, once all wells are counted."""
        self.bare = self.genes.keys() - self.controls.keys()
        problems.add("batches without control cells", sorted(self.bare))
        lost = sum(self.genes.pop(name).total() for name in self.bare)
        if lost:
            self.dropped["batch without controls"] = lost

    def quality(self) -> dict[str, Any]:
        """Count what was kept and dropped, over genes and batches."""
        genes: Counter[str] = Counter()
        for counts in self.genes.values():
            genes.update(counts)
        return {
            "cells_in_table": self.kept + self.dropped.total(),
            "cells_kept": self.kept,
            "cells_dropped": dict(sorted(self.dropped.items())),
            "cells_per_gene": dict(sorted(genes.items())),
            "cells_per_batch": {name: counts.total() for name, counts in sorted(self.genes.items())},
            "controls_per_batch": {name: self.controls[name] for name in sorted(self.genes)},
        }


@dataclass(frozen=True)
class Well:
    """The kept cells of a (plate, well), in the order of its shard.

    Attributes
    ----------
    shard : name.
    cells : table with batch, shard and row.
    tile : (N,) place of each cell's tile in the screen's list.
    window : (N,) number of the window of its tile that the crop's corner lies in; 0 but for large tiles.
    corners : (N, 2) first row and column of each crop in its tile.
    """

    shard: str
    cells: pd.DataFrame
    tile: np.ndarray
    window: np.ndarray
    corners: np.ndarray


@dataclass(frozen=True)
class Selector:
    """Decides on every cell; the first reason that applies to it is the one that is counted.

    Attributes
    ----------
    screen, settings, places : the screen, and what finds its tiles.
    shapes : (T, 2) height and width of each tile, 0 if it could not be read.
    non_finite : where it is kept which pixels of a tile are NaN or infinite.
    absent : chunks that are absent of tiles that were looked at.
    """

    screen: Screen
    settings: PreprocessSettings
    places: TilePlaces
    shapes: np.ndarray
    non_finite: Mapping[int, Sequence[Kept]] = field(default_factory=dict)
    absent: dict[int, AbsentChunks | None] = field(default_factory=dict)

    def choose(self, problems: Problems) -> Choice:
        """Count what will be kept; notes cells outside their tile and batches without controls as problems."""
        choice = Choice()
        places: dict[str, list[str]] = {"outside its tile": [], ABSENT_CHUNKS: [], NON_FINITE: []}
        for place, cells in self.screen.cells:
            _, batch, reason = self._judge(place, cells)
            for why, found in places.items():
                found += name_places(cells[reason == why])
            choice.dropped.update(reason[reason != ""].tolist())
            kept = reason == ""
            choice.count(cells, batch, kept)
            if kept.any():
                choice.wells.add(place)
        for why, found in places.items():
            problems.add(named(why, len(found))[0], found)
        choice.leave_out_bare(problems)
        return choice

    def wells(self, choice: Choice) -> Iterator[Well]:
        """Arrange the kept cells of each well, in the order of shards."""
        names = {(plate, well): name for (plate, well), name in shard_names(choice.wells).items()}
        for place in sorted(names, key=names.__getitem__):
            cells = self.screen.cells.of(*place)
            tile, batch, reason = self._judge(place, cells)
            kept = (reason == "") & ~np.isin(batch, list(choice.bare))
            if kept.any():
                yield self._arranged(cells[kept], tile[kept], batch[kept], names[place])

    def _judge(self, place: tuple[str, str], cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tile, batch and reason to leave it out ("" for none) of each cell: (N,), (N,), (N,)."""
        tile = self.places.of(place, cells)
        batch = batch_of_cells(self.screen.tiles, cells, tile, self.settings.batch_columns)
        y, x = cells[Y].to_numpy(np.float64), cells[X].to_numpy(np.float64)
        height, width = np.where(tile[:, None] >= 0, self.shapes[tile], 0).T
        reason = np.full(len(cells), "", dtype=object)

        def leave_out(which: np.ndarray, why: str) -> None:
            reason[which & (reason == "")] = why

        leave_out(cells[GENE].isna().to_numpy(), "no gene symbol")
        leave_out(height == 0, "tile missing or unreadable")
        leave_out(outside(y, x, height, width), "outside its tile")
        if self.settings.edge == "drop":
            margin = self.settings.edge_margin
            leave_out(near_edge(y, x, height, width, self.settings.cut_size, margin), "too close to the tile's edge")
        if isinstance(self.screen.read_tile, ZarrTiles):
            leave_out(self._on_absent_chunks(self.screen.read_tile, tile, y, x, reason == ""), ABSENT_CHUNKS)
        leave_out(self._on_non_finite(tile, y, x, reason == ""), NON_FINITE)
        return tile, batch, reason

    def _on_non_finite(self, tile: np.ndarray, y: np.ndarray, x: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Tell which of the cells that are left would be cropped from pixels that are no numbers: (N,) bool."""
        size, found = self.settings.cut_size, np.zeros(len(tile), bool)
        for number in set(np.unique(tile[left]).tolist()) & self.non_finite.keys():
            own = np.flatnonzero(left & (tile == number))
            corners = np.stack([corner(y[own], size), corner(x[own], size)], axis=1)
            height, width = self.shapes[number].tolist()
            found[own] = needs_non_finite(self.non_finite[number], corners, size, (height, width))
        return found

    def _on_absent_chunks(
        self, read_tile: ZarrTiles, tile: np.ndarray, y: np.ndarray, x: np.ndarray, left: np.ndarray
    ) -> np.ndarray:
        """Tell which of the cells that are left would be cropped from chunks that are absent: (N,) bool."""
        size, found = self.settings.cut_size, np.zeros(len(tile), bool)
        for number in np.unique(tile[left]).tolist():
            if number not in self.absent:
                self.absent[number] = read_tile.absent(self.screen.tiles.iloc[number])
            own = np.flatnonzero(left & (tile == number))
            if (absent := self.absent[number]) is not None:
                found[own] = absent.touched(np.stack([corner(y[own], size), corner(x[own], size)], axis=1), size)
        return found

    def _arranged(self, cells: pd.DataFrame, tile: np.ndarray, batch: np.ndarray, shard: str) -> Well:
        size = self.settings.cut_size
        corners = np.stack([corner(cells[axis].to_numpy(), size) for axis in (Y, X)], axis=1).reshape(-1, 2)
        down, across = np.maximum(corners, 0).T // WINDOW
        height, width = self.shapes[tile].T
        window = np.where(height * width > LARGEST_TILE, down * (-(-width // WINDOW)) + across, 0)
        # Cells of a tile lie together, tiles in the screen's order, cells of a tile in the table's.
        order = np.lexsort((window, tile))
        table = cells.iloc[order].reset_index(drop=True)
        table[BATCH], table[SHARD], table[ROW] = batch[order], shard, np.arange(len(table), dtype=np.int64)
        return Well(shard, table, tile[order], window[order], corners[order])


def name_places(cells: pd.DataFrame) -> list[str]:
    """Describe where each cell lies, for messages."""
    return [
        f"({y:g}, {x:g}) in tile {plate} {well} {tile}"
        for y, x, plate, well, tile in zip(cells[Y], cells[X], cells[PLATE], cells[WELL], cells[TILE], strict=True)
    ]
