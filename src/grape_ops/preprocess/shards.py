"""Second pass over the tiles: crops are cut, and written to one shard for each (plate, well).

A tile's crops lie together in its shard, so that each task writes a stretch of its own. When the last tile
of a shard is done, the shard is checked, summed up and renamed; an interrupted run goes on behind it.
Legend: N cells, C channels.
"""

import hashlib
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.store import sha256_of
from grape_ops.cells.writer import finish_shard, put_crops, read_shard_record, start_shard
from grape_ops.config import PreprocessSettings
from grape_ops.preprocess.crops import cut
from grape_ops.preprocess.illumination import FIELDS_FILE, FlatField, read_fields, write_fields
from grape_ops.preprocess.measurement import Measurement, TileGroups
from grape_ops.preprocess.selection import Selection
from grape_ops.preprocess.workers import Task, Workers
from grape_ops.progress import progress
from grape_ops.schema import BATCH, IS_CONTROL, SHARD
from grape_ops.screen.screen import Screen, TileReader

_CROPS_AT_ONCE = 64


@dataclass(frozen=True)
class Cutting:
    """What becomes of one tile's cells.

    Attributes
    ----------
    shard, file, offset, row : where the crops go; see ``cells/writer.py``.
    corners : (N, 2) first row and column of each crop.
    group, scale : name of the tile's flat field, and its percentiles.
    """

    shard: str
    file: Path
    offset: int
    row: int
    corners: np.ndarray
    group: str
    scale: np.ndarray


def cut_tile(
    cutting: Cutting,
    read_tile: TileReader,
    row: pd.Series,
    fields: tuple[Path, str],
    settings: PreprocessSettings,
) -> tuple[str, int]:
    """Read a tile, cut its crops, and write them into the unfinished shard; returns the shard and their number."""
    tile = read_tile(row)
    field = _fields(*fields)[cutting.group]
    for first in range(0, len(cutting.corners), _CROPS_AT_ONCE):
        some = cutting.corners[first : first + _CROPS_AT_ONCE]
        crops = cut(tile, some, settings.crop_size, settings.edge, field, cutting.scale, settings.pixel_type)
        put_crops(cutting.file, cutting.offset, cutting.row + first, crops)
    return cutting.shard, len(cutting.corners)


@lru_cache(maxsize=1)
def _fields(folder: Path, checksum: str) -> dict[str, FlatField]:
    # A worker reads the fields once, rather than being sent one with every tile. The checksum tells apart
    # what lay in the folder at different times.
    return read_fields(folder)


def cut_shards(
    screen: Screen,
    out: Path,
    selection: Selection,
    groups: TileGroups,
    measurement: Measurement,
    settings: PreprocessSettings,
    workers: Workers,
) -> dict[str, dict[str, Any]]:
    """Run the second pass, or what is left of it.

    Returns
    -------
    what ``finish_shard`` noted of each shard.
    """
    records: dict[str, dict[str, Any]] = {}
    left: dict[str, int] = {}
    marks: dict[str, dict[str, Any]] = {}
    queue: deque[Task] = deque()
    write_fields(out, measurement.fields)
    fields = (out, sha256_of(out / FIELDS_FILE))
    places = {str(shard): np.asarray(cells) for shard, cells in selection.cells.groupby(SHARD).indices.items()}
    for shard, cells in places.items():
        marks[shard] = {"shard": shard, "inputs": _digest(cells, selection, groups, measurement, settings)}
        record = read_shard_record(out, shard)
        if record and record.get("inputs") == marks[shard]["inputs"]:
            records[shard] = record
            continue
        shape = (len(cells), len(screen.channels), settings.crop_size, settings.crop_size)
        file, offset = start_shard(out, shard, shape, settings.pixel_type)
        tiles = selection.tile[cells]
        starts = np.flatnonzero(np.diff(tiles, prepend=-1))
        left[shard] = len(starts)
        for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(cells)], strict=True):
            tile = int(tiles[first])
            group, scale = groups.field[tile], measurement.scales[groups.scale[tile]]
            cutting = Cutting(shard, file, offset, first, selection.corners[cells[first:last]], group, scale)
            queue.append((cut_tile, (cutting, screen.read_tile, screen.tiles.iloc[tile], fields, settings)))

    done = sum(record["cells"] for record in records.values())
    with progress("Cutting crops", len(selection.cells), "crop", done) as advance:
        for result in workers.run(queue):
            if isinstance(result, dict):
                records[result["shard"]] = result
                continue
            shard, n_crops = result
            advance(n_crops)
            left[shard] -= 1
            if not left[shard]:
                own = selection.cells.iloc[places[shard]][[BATCH, IS_CONTROL]]
                queue.appendleft((finish_shard, (out, shard, own, marks[shard])))
    return records


def _digest(
    cells: np.ndarray,
    selection: Selection,
    groups: TileGroups,
    measurement: Measurement,
    settings: PreprocessSettings,
) -> str:
    """Fingerprint of everything a shard's bytes depend on, besides the tiles' pixels themselves."""
    digest = hashlib.sha256(f"{settings.crop_size} {settings.edge} {settings.pixel_type}".encode())
    tiles = selection.tile[cells]
    digest.update(tiles.astype(np.int64).tobytes() + selection.corners[cells].tobytes())
    for values in (selection.cells[BATCH], selection.cells[IS_CONTROL]):
        digest.update("\n".join(values.iloc[cells].astype(str)).encode())
    for tile in np.unique(tiles):
        field = measurement.fields[groups.field[tile]]
        for part in (field.grid, field.rows, field.columns, measurement.scales[groups.scale[tile]]):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
