"""First pass over the tiles: what the flat fields and the percentiles are computed from.

A block is a few tiles of one group, and one task. It leaves behind the sum of its tiles' pixels (two sums,
over every other tile), its counted pixels, and, last, a note that it is finished. When all blocks of a group
are there, the group's field is estimated, the counted pixels are corrected by it and go into histograms.
Only whole numbers are added up, so that nothing depends on the order or the number of processes.
Legend: C channels, H x W tile.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.cells.writer import write_json
from grape_ops.config import FlatFieldSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.illumination import FlatField, estimate_field, lattice
from grape_ops.preprocess.intensity import BINS, count_into, count_stride, counted
from grape_ops.screen.screen import TileReader

TILE_TYPES = ("uint8", "uint16")


@dataclass(frozen=True)
class Block:
    """A few tiles that share flat field and percentiles.

    Attributes
    ----------
    file : path of its files, without ending.
    group, scale : names of the flat field's and of the percentiles' group.
    tiles : places in the screen's list of tiles.
    first, of : place of its first tile in, and size of, what shares both groups.
    """

    file: Path
    group: str
    scale: str
    tiles: tuple[int, ...]
    first: int
    of: int


@dataclass(frozen=True)
class BlockNote:
    """What became of a block: the tiles' shape, their largest possible value, and tiles that failed."""

    shape: tuple[int, int] | None
    limit: int
    unreadable: dict[int, str]


def read_note(block: Block) -> BlockNote | None:
    """Return what became of a block, or None if it is not finished."""
    try:
        note = json.loads(block.file.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    shape = tuple(note["shape"]) if note["shape"] else None
    return BlockNote(shape, note["limit"], {int(tile): why for tile, why in note["unreadable"].items()})


def survey_block(block: Block, read_tile: TileReader, rows: pd.DataFrame, channels: int) -> tuple[Block, BlockNote]:
    """Read the block's tiles, one in memory at a time, and write its files."""
    sums: np.ndarray | None = None
    shape: tuple[int, int] | None = None
    limit, unreadable = 0, {}
    block.file.parent.mkdir(parents=True, exist_ok=True)
    with block.file.with_suffix(".pixels").open("wb") as pixels:
        for nth, tile_index in enumerate(block.tiles):
            try:
                tile = _checked(read_tile(rows.iloc[nth]), rows.iloc[nth], channels, shape, limit)
            except GrapeOpsError as error:
                unreadable[tile_index] = str(error)
                continue
            shape, limit = tile.shape[1:], np.iinfo(tile.dtype).max
            down, across = lattice(*shape)
            sparse = tile[:, down, across]
            if sums is None:
                sums = np.zeros((2, *sparse.shape), dtype=np.uint32)
            # Two halves of the tiles, to see later whether they agree on the field.
            position = block.first + nth
            sums[position % 2] += sparse
            lines, places = counted(position, count_stride(block.of * shape[0] * shape[1]), *shape)
            np.save(pixels, tile[:, lines[:, None], places])
    if sums is not None:
        np.save(block.file.with_suffix(".npy"), sums)
    note = BlockNote(shape, limit, unreadable)
    write_json(block.file.with_suffix(".json"), vars(note))
    return block, note


def finish_group(file: Path, blocks: Sequence[Block], channels: int, settings: FlatFieldSettings) -> None:
    """Estimate the field of a group, count its corrected pixels, and write both to one file."""
    notes = [note for block in blocks if (note := read_note(block))]
    shapes = {note.shape for note in notes if note.shape}
    if len({note.limit for note in notes if note.shape}) > 1:
        raise GrapeOpsError(f"The tiles of {blocks[0].group} are of different integer types; convert them to one.")
    if len(shapes) > 1:
        raise GrapeOpsError(
            f"The tiles of {blocks[0].group} have different sizes ({', '.join(map(str, sorted(shapes)))}) and can "
            "not share a flat field; name a column that tells them apart in preprocess.flat_field.columns."
        )
    content: dict[str, np.ndarray] = {}
    if shapes:
        field = _field(blocks, notes, shapes.pop(), settings) if settings.enabled else FlatField.none(channels)
        content |= vars(field) | {"limit": np.array(max(note.limit for note in notes))}
        for scale in sorted({block.scale for block in blocks}):
            own = [b for b in blocks if b.scale == scale]
            counts = np.zeros((channels, BINS), dtype=np.int64)
            for block in own:
                _count_block(counts, block, field)
            filled = np.flatnonzero(counts)
            content |= {f"bins:{scale}": filled, f"counts:{scale}": counts.ravel()[filled]}
    part = file.with_suffix(".partial.npz")
    np.savez(part, **content)  # type: ignore[arg-type]
    part.replace(file)
    for block in blocks:  # as long as the tiles themselves when there are few
        block.file.with_suffix(".pixels").unlink(missing_ok=True)


def read_group(file: Path) -> tuple[FlatField, int, list[str]] | None:
    """Return field, largest possible value and scales of a finished group; None without a readable tile."""
    with np.load(file) as content:
        if "grid" not in content:
            return None
        field = FlatField(*(content[name] for name in ("grid", "rows", "columns", "agreement")))
        scales = [name.removeprefix("bins:") for name in content if name.startswith("bins:")]
        return field, int(content["limit"]), scales


def add_counts(counts: np.ndarray, file: Path, scale: str) -> None:
    """Add the pixels of a finished group that belong to a scale: (C, BINS) in place."""
    with np.load(file) as content:
        counts.ravel()[content[f"bins:{scale}"]] += content[f"counts:{scale}"]


def _field(
    blocks: Sequence[Block], notes: Sequence[BlockNote], shape: tuple[int, int], settings: FlatFieldSettings
) -> FlatField:
    total: np.ndarray | None = None
    n_tiles = np.zeros(2)
    for block, note in zip(blocks, notes, strict=True):
        if note.shape is None:
            continue
        sums = np.load(block.file.with_suffix(".npy"))
        total = sums.astype(np.uint64) if total is None else total + sums
        for nth, tile in enumerate(block.tiles):
            n_tiles[(block.first + nth) % 2] += tile not in note.unreadable
    assert total is not None
    # A lone tile, or one half unreadable: there is nothing to compare with.
    halves = (total[0] / n_tiles[0], total[1] / n_tiles[1]) if n_tiles.all() else None
    mean = total.sum(axis=0) / n_tiles.sum()
    return estimate_field(mean, halves, shape, settings.percentile, settings.steps_per_radius, settings.min_agreement)


def _count_block(counts: np.ndarray, block: Block, field: FlatField) -> None:
    note = read_note(block)
    if note is None or note.shape is None:
        return
    stride = count_stride(block.of * note.shape[0] * note.shape[1])
    with block.file.with_suffix(".pixels").open("rb") as pixels:
        for nth, tile in enumerate(block.tiles):
            if tile not in note.unreadable:
                places = counted(block.first + nth, stride, *note.shape)
                count_into(counts, np.load(pixels) / field.at(*places), note.limit)


def _checked(tile: np.ndarray, row: pd.Series, channels: int, shape: tuple[int, ...] | None, limit: int) -> np.ndarray:
    where = f"tile {row['path']}"
    if tile.ndim != 3 or len(tile) != channels:
        raise GrapeOpsError(f"{where} has shape {tile.shape}; expected {channels} channels, height, width")
    if str(tile.dtype) not in TILE_TYPES:
        raise GrapeOpsError(f"{where} holds {tile.dtype}; expected one of {', '.join(TILE_TYPES)}")
    if shape is not None and tile.shape[1:] != shape:
        raise GrapeOpsError(f"{where} is {tile.shape[1]} x {tile.shape[2]}; its neighbours are {shape[0]} x {shape[1]}")
    if shape is not None and np.iinfo(tile.dtype).max != limit:
        raise GrapeOpsError(f"{where} holds {tile.dtype}; its neighbours are of another integer type")
    return tile
