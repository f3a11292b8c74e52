"""Second pass over the tiles: crops are cut, and written to one shard for each (plate, well).

A tile's crops lie together in its shard, so that each task writes a stretch of its own. When the last tile
of a shard is done, the shard is summed up, renamed, forced to the disk, and marked as finished; an interrupted
run goes on behind it. Legend: N cells, C channels.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.identity import sha256_of
from grape_ops.cells.writer import finish_shard, put_crops, read_shard_record, seal_shard, start_shard, write_part
from grape_ops.config import PreprocessSettings
from grape_ops.preprocess.crops import binned, cut, reach
from grape_ops.preprocess.first_pass import Measurement, TileGroups
from grape_ops.preprocess.flat_field import FIELDS_FILE, FlatField, read_fields, write_fields
from grape_ops.preprocess.intensity import Rescaling
from grape_ops.preprocess.selection import Choice, Selector, Well
from grape_ops.progress import progress
from grape_ops.schema import BATCH, IS_CONTROL, UNFINISHED_DIR
from grape_ops.screen.screen import TileReader, Window, read_known
from grape_ops.workers import Task, TaskRunner

_CROPS_AT_ONCE = 64


@dataclass(frozen=True)
class Cutting:
    """What becomes of the cells of one tile, or of one window of a large one.

    Attributes
    ----------
    shard, file, offset, row : where the crops go; see ``cells/writer.py``.
    corners : (N, 2) first row and column of each crop.
    shape : H and W of the tile.
    group, scale : name of the tile's flat field, and its percentiles.
    """

    shard: str
    file: Path
    offset: int
    row: int
    corners: np.ndarray
    shape: tuple[int, int]
    group: str
    scale: np.ndarray


def cut_tile(
    cutting: Cutting,
    read_tile: TileReader,
    row: pd.Series,
    fields: tuple[Path, str],
    settings: PreprocessSettings,
) -> tuple[str, int]:
    """Read what is needed of a tile and write its crops to the unfinished shard; returns the shard and their number."""
    part = Window(*reach(cutting.corners, settings.cut_size, cutting.shape))
    image, _ = read_known(read_tile, row, None if part[2:] == cutting.shape else part)
    flat = _fields(*fields)[cutting.group]
    scaling = Rescaling.between(cutting.scale, settings.pixel_type)
    for first in range(0, len(cutting.corners), _CROPS_AT_ONCE):
        some = cutting.corners[first : first + _CROPS_AT_ONCE]
        crops = cut(image, part[:2], cutting.shape, some, settings.cut_size, settings.edge, flat, scaling)
        put_crops(cutting.file, cutting.offset, cutting.row + first, binned(crops, settings.shrink))
    return cutting.shard, len(cutting.corners)


@lru_cache(maxsize=1)
def _fields(folder: Path, checksum: str) -> dict[str, FlatField]:
    # A worker reads the fields once, rather than being sent one with every tile. The checksum tells apart
    # what lay in the folder at different times.
    return read_fields(folder)


@dataclass
class _Unfinished:
    """A shard that is being filled: cuttings left, what marks it as of these inputs, batch and kind of its cells."""

    left: int
    marks: dict[str, Any]
    cells: pd.DataFrame


@dataclass
class Cutter:
    """Runs the second pass, or what is left of it.

    Attributes
    ----------
    out : folder of the store.
    records : what is known of each finished shard.
    parts : the cell table of each shard.
    """

    selector: Selector
    out: Path
    groups: TileGroups
    measurement: Measurement
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: list[Path] = field(default_factory=list)
    _unfinished: dict[str, _Unfinished] = field(default_factory=dict)

    def run(self, choice: Choice, workers: TaskRunner) -> None:
        """Cut all kept cells."""
        write_fields(self.out, self.measurement.fields)
        fields = (self.out, sha256_of(self.out / FIELDS_FILE))
        first: deque[Task] = deque()
        sealed: Future[None] | None = None
        # Forcing a shard to the disk takes as long as making it; meanwhile the workers go on.
        with progress("Cutting crops", choice.kept, "crop") as advance, ThreadPoolExecutor(1) as disk:
            for result in workers.run(first, self._tasks(choice, fields, advance)):
                if isinstance(result, dict):
                    self.records[result["shard"]] = result
                    if sealed:
                        sealed.result()
                    sealed = disk.submit(seal_shard, self.out, result["shard"], result)
                    continue
                shard, n_crops = result
                advance(n_crops)
                unfinished = self._unfinished[shard]
                unfinished.left -= 1
                if not unfinished.left:
                    del self._unfinished[shard]
                    first.append((finish_shard, (self.out, shard, unfinished.cells, unfinished.marks)))
        if sealed:
            sealed.result()

    def _tasks(self, choice: Choice, fields: tuple[Path, str], advance: Any) -> Iterator[Task]:
        """Make the tasks of a well when those before it are handed out: not all cells are in memory."""
        screen, settings = self.selector.screen, self.selector.settings
        for well in self.selector.wells(choice):
            self.parts.append(write_part(self.out / UNFINISHED_DIR, well.shard, well.cells))
            marks = {"shard": well.shard, "inputs": self._digest(well)}
            record = read_shard_record(self.out, well.shard)
            if record and record.get("inputs") == marks["inputs"]:
                self.records[well.shard] = record
                advance(len(well.cells), fresh=False)
                continue
            shape = (len(well.cells), len(screen.channels), settings.crop_size, settings.crop_size)
            file, offset = start_shard(self.out, well.shard, shape, settings.pixel_type)
            changes = np.diff(well.tile, prepend=-1) != 0
            changes |= np.diff(well.window, prepend=-1) != 0
            starts = np.flatnonzero(changes)
            self._unfinished[well.shard] = _Unfinished(len(starts), marks, well.cells[[BATCH, IS_CONTROL]])
            for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(well.cells)], strict=True):
                tile = int(well.tile[start])
                height, width = self.measurement.shapes[tile].tolist()
                cutting = Cutting(
                    well.shard,
                    file,
                    offset,
                    start,
                    well.corners[start:end],
                    (height, width),
                    self.groups.field[tile],
                    self.measurement.scales[self.groups.scale[tile]],
                )
                yield cut_tile, (cutting, screen.read_tile, screen.tiles.iloc[tile], fields, settings)

    def _digest(self, well: Well) -> str:
        """Fingerprint of everything a shard's bytes depend on, besides the tiles' pixels themselves."""
        settings = self.selector.settings
        digest = hashlib.sha256(f"{settings.crop_size} {settings.edge} {settings.pixel_type}".encode())
        digest.update(well.tile.astype(np.int64).tobytes() + well.corners.tobytes())
        for values in (well.cells[BATCH], well.cells[IS_CONTROL]):
            digest.update("\n".join(values.astype(str)).encode())
        tiles = np.unique(well.tile)
        for group, scale in sorted({(self.groups.field[tile], self.groups.scale[tile]) for tile in tiles}):
            flat = self.measurement.fields[group]
            for part in (flat.grid, flat.rows, flat.columns, self.measurement.scales[scale]):
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()
