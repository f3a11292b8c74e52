"""What a worker does in the first pass: sums and histograms of a block of tiles, and the flat field of a group.

A block is a few tiles of one group, or a few windows of one large tile, and one task. It leaves behind one file:
the sum of its tiles' pixels on a lattice (two sums, over every other tile) and its counted pixels, both without
those of absent chunks and those that are no numbers. When all blocks of a group are there, the group's field is
estimated, the counted pixels are corrected by it and go into histograms. Blocks are added up in their own order, so
that nothing depends on the number of processes.
Legend: C channels, H x W tile, h x w window.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import draft_of
from grape_ops.config import FlatFieldSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.blocks import Block, BlockNote, Piece, read_note
from grape_ops.preprocess.flat_field import FlatField
from grape_ops.preprocess.illumination import estimate_field, lattice, mean_of_present
from grape_ops.preprocess.intensity import BINS, count_into, count_stride, counted
from grape_ops.preprocess.non_finite import arrays_of, kept_pixels
from grape_ops.screen.chunks import AbsentChunks
from grape_ops.screen.float_scale import without_far
from grape_ops.screen.pixel_types import mixed_types
from grape_ops.screen.screen import TileReader, Window, read_known, tile_header
from grape_ops.screen.zarr_tiles import ZarrTiles

TILE_TYPES = ("uint8", "uint16", "float32")
# What the values of a floating-point image may reach at most: a power of two less one, so that bins fit together.
_FLOAT_LIMITS = (1, 255, 65535, 2**24 - 1, 2**31 - 1)


Shape = tuple[int, int]  # H and W of a tile


def survey_block(block: Block, read_tile: TileReader, rows: pd.DataFrame, channels: int) -> tuple[Block, BlockNote]:
    """Read the block's pieces, one in memory at a time, and write its file."""
    note = BlockNote()
    sums: np.ndarray | None = None
    pixels: list[np.ndarray] = []
    absent: dict[int, AbsentChunks | None] = {}
    lost: list[np.ndarray] = []
    kept: dict[str, np.ndarray] = {}
    gappy = False
    for piece, (_, row) in zip(block.pieces, rows.iterrows(), strict=True):
        if piece.tile in note.unreadable:
            continue
        try:
            image, known, shape = _read(piece, row, read_tile)
            _check(image, shape, row, channels, note)
            if piece.tile not in absent:
                absent[piece.tile] = read_tile.absent(row) if isinstance(read_tile, ZarrTiles) else None
        except GrapeOpsError as error:
            note.unreadable[piece.tile] = str(error)
            continue
        if note.dtype not in ("", str(image.dtype)):
            examples = {note.dtype: note.example, str(image.dtype): str(row["path"])}
            raise mixed_types(f"The tiles of {block.group}", examples)
        whole = piece.window or Window(0, 0, *shape)
        if sums is None:
            size = [len(range(*part.indices(n))) for part, n in zip(lattice(*shape), shape, strict=True)]
            sums = np.zeros((2, channels, *size), dtype=np.uint32 if image.dtype.kind == "u" else np.float64)
            missing = np.zeros((2, *size), np.uint32)
        gaps = _gaps(whole, absent[piece.tile], known)
        if known is not None:
            kept |= kept_pixels(piece.tile, whole, known)
        if gaps.any():
            image = np.where(gaps, image.dtype.type(0), image)
            gappy = True
        inside, (down, across) = _inside(lattice(*shape), whole)
        # Two halves of the tiles, to see later whether they agree on the field.
        for total, channel in zip(sums[piece.position % 2], image, strict=True):
            total[inside] += channel[down][:, across]
        missing[piece.position % 2][inside] += gaps[down][:, across]
        down, across = _inside(_counted(piece, block, shape), whole)[1]
        sample = np.ascontiguousarray(image[:, down, across])
        pixels.append(sample.reshape(channels, -1))
        lost.append(gaps[down, across].ravel())
        largest, example = max(note.limit, _limit(sample)), note.example or str(row["path"])
        note = BlockNote(shape, str(image.dtype), largest, note.unreadable, example)
    content: dict[str, Any] = {"note": json.dumps(asdict(note))}
    if sums is not None:
        content |= {"sums": sums, "pixels": np.concatenate(pixels, axis=1)} | kept
        if gappy:
            content |= {"missing": missing, "lost": np.concatenate(lost)}
    _save(block.file, content)
    return block, note


def finish_group(
    file: Path, blocks: Sequence[Block], channels: int, settings: FlatFieldSettings, supplied: FlatField | None
) -> None:
    """Estimate the field of a group, or take the supplied one, count its corrected pixels, and write one file."""
    if read_note(file):
        return  # an earlier try had come to its end before its worker was lost
    notes = [read_note(block.file) for block in blocks]
    failed = {tile: why for note in notes if note for tile, why in note.unreadable.items()}
    readable = [(b, n) for b, n in zip(blocks, notes, strict=True) if n and n.shape and _is_whole(b, failed)]
    if len(examples := {note.dtype: note.example for _, note in readable}) > 1:
        raise mixed_types(f"The tiles of {blocks[0].group}", examples)
    shapes = {note.shape for _, note in readable if note.shape}
    if len(shapes) > 1:
        raise GrapeOpsError(
            f"The tiles of {blocks[0].group} have different sizes ({', '.join(map(str, sorted(shapes)))}) and can "
            "not share a flat field; name a column that distinguishes them in preprocess.flat_field.columns."
        )
    note = BlockNote(unreadable=failed)
    content: dict[str, Any] = {}
    if shapes:
        shape, dtype = shapes.pop(), readable[0][1].dtype
        note = BlockNote(shape, dtype, max(n.limit for _, n in readable), failed, examples[dtype])
        if not settings.enabled:
            flat = FlatField.none(channels)
        else:
            flat = _checked_field(supplied, channels, shape) if supplied else _field(readable, shape, settings)
        content |= vars(flat)
        for scale in sorted({block.scale for block, _ in readable}):
            counts = np.zeros((channels, BINS), dtype=np.uint32)  # of COUNTED pixels at most
            for block, own in readable:
                if block.scale == scale:
                    _count_block(counts, block, own, flat, note.limit)
            filled = np.flatnonzero(counts)
            content |= {f"bins:{scale}": filled, f"counts:{scale}": counts.ravel()[filled]}
        for block, _ in readable:
            with np.load(block.file) as own_file:
                content |= {name: own_file[name] for tile, name in arrays_of(own_file.files) if tile not in failed}
    _save(file, content | {"note": json.dumps(asdict(note))})
    for block in blocks:  # as long as the tiles themselves when there are few
        block.file.unlink(missing_ok=True)


def read_group(file: Path) -> tuple[FlatField, BlockNote, list[str]] | None:
    """Return field, note (shape, type, largest value) and scales of a finished group; None without a readable tile."""
    with np.load(file) as content:
        if "grid" not in content:
            return None
        flat = FlatField(*(content[name] for name in ("grid", "rows", "columns", "agreement")))
        scales = [name.removeprefix("bins:") for name in content if name.startswith("bins:")]
        return flat, BlockNote.read(str(content["note"])), scales


def add_counts(counts: np.ndarray, file: Path, scale: str, coarser: int) -> None:
    """Add the pixels of a finished group that belong to a scale, whose bins are so many times as wide: (C, BINS)."""
    with np.load(file) as content:
        channel, place = np.divmod(content[f"bins:{scale}"], BINS)
        np.add.at(counts, (channel, place // coarser), content[f"counts:{scale}"])


def _read(piece: Piece, row: pd.Series, read_tile: TileReader) -> tuple[np.ndarray, np.ndarray | None, Shape]:
    """Read a piece: pixels, where they are numbers (None: everywhere), and the shape of its tile."""
    image, known = read_known(read_tile, row, piece.window)
    if piece.window is None:
        height, width = image.shape[1:] if image.ndim == 3 else (0, 0)
    else:
        _, height, width, _ = tile_header(read_tile, row)
    return image, known, (int(height), int(width))


def _gaps(window: Window, absent: AbsentChunks | None, known: np.ndarray | None) -> np.ndarray:
    """Tell which pixels of a window count for nothing: (h, w) bool."""
    top, left, height, width = window
    gaps = np.zeros((height, width), bool) if known is None else ~known
    return gaps if absent is None else gaps | absent.at(np.arange(top, top + height), np.arange(left, left + width))


def _check(image: np.ndarray, shape: tuple[int, int], row: pd.Series, channels: int, before: BlockNote) -> None:
    where = f"tile {row['path']}"
    if image.ndim != 3 or len(image) != channels:
        raise GrapeOpsError(f"{where} has shape {image.shape}; expected {channels} channels, height, width")
    if str(image.dtype) not in TILE_TYPES:
        raise GrapeOpsError(f"{where} holds {image.dtype}; expected one of {', '.join(TILE_TYPES)}")
    if before.shape is not None and shape != before.shape:
        expected = " x ".join(map(str, before.shape))
        raise GrapeOpsError(f"{where} is {shape[0]} x {shape[1]}; its neighbours are {expected}")


def _limit(sample: np.ndarray) -> int:
    if sample.dtype.kind == "u":
        return int(np.iinfo(sample.dtype).max)
    largest = float(without_far(sample.ravel())[0].max(initial=0))
    return next((limit for limit in _FLOAT_LIMITS if largest <= limit), _FLOAT_LIMITS[-1])


def _counted(piece: Piece, block: Block, shape: tuple[int, int]) -> tuple[slice, slice]:
    return counted(piece.position, count_stride(block.of * shape[0] * shape[1]), *shape)


def _inside(lines: tuple[slice, slice], window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Of a lattice of rows and columns, what lies in a window: places in the lattice, and in the window."""
    in_lattice, in_window = [], []
    for part, start, length in zip(lines, window[:2], window[2:], strict=True):
        first = max(0, -(-(start - part.start) // part.step))
        last = max(first, -(-(start + length - part.start) // part.step))
        in_lattice.append(slice(first, last))
        in_window.append(slice(part.start + first * part.step - start, length, part.step))
    return (in_lattice[0], in_lattice[1]), (in_window[0], in_window[1])


def _is_whole(block: Block, failed: dict[int, str]) -> bool:
    return not any(piece.window and piece.tile in failed for piece in block.pieces)


def _field(
    readable: Sequence[tuple[Block, BlockNote]], shape: tuple[int, int], settings: FlatFieldSettings
) -> FlatField:
    total: np.ndarray | None = None
    missing: np.ndarray | None = None
    tiles: tuple[set[int], set[int]] = (set(), set())
    for block, note in readable:
        with np.load(block.file) as content:
            sums = content["sums"]
            if "missing" in content:
                missing = content["missing"] + (0 if missing is None else missing)
        if total is None:
            total = np.zeros(sums.shape, np.float64 if sums.dtype.kind == "f" else np.uint64)
        total += sums
        for piece in block.pieces:
            if piece.tile not in note.unreadable:
                tiles[piece.position % 2].add(piece.tile)
    assert total is not None
    even, odd = len(tiles[0]), len(tiles[1])
    # A lone tile, or one half unreadable: there is nothing to compare with.
    parts = (None, None) if missing is None else missing
    first, second = (mean_of_present(total[i], n, parts[i]) if n else None for i, n in enumerate((even, odd)))
    halves = None if first is None or second is None else (first, second)
    mean = mean_of_present(total.sum(axis=0), even + odd, None if missing is None else missing.sum(axis=0))
    if mean is None:
        return FlatField.none(total.shape[1])
    return estimate_field(mean, halves, shape, settings.percentile, settings.steps_per_radius, settings.min_agreement)


def _checked_field(supplied: FlatField, channels: int, shape: tuple[int, int]) -> FlatField:
    there = (len(supplied.grid), int(supplied.rows[-1]) + 1, int(supplied.columns[-1]) + 1)
    if there != (channels, *shape):
        raise GrapeOpsError(
            f"The flat field of preprocess.flat_field.file is of {there} (channels, height, width); the tiles are of "
            f"{(channels, *shape)}."
        )
    return supplied


def _count_block(counts: np.ndarray, block: Block, note: BlockNote, flat: FlatField, limit: int) -> None:
    assert note.shape is not None
    with np.load(block.file) as content:
        pixels = content["pixels"]
        there = ~content["lost"] if "lost" in content else np.ones(pixels.shape[1], bool)
    start = 0
    for piece in block.pieces:
        if piece.tile in note.unreadable:
            continue
        lines = _counted(piece, block, note.shape)
        window = piece.window or Window(0, 0, *note.shape)
        places = [
            np.arange(part.start + origin, origin + length, part.step)
            for part, origin, length in zip(_inside(lines, window)[1], window[:2], window[2:], strict=True)
        ]
        n_pixels = len(places[0]) * len(places[1])
        sample = pixels[:, start : start + n_pixels].reshape(len(pixels), len(places[0]), len(places[1]))
        own = there[start : start + n_pixels]
        start += n_pixels
        if own.any():
            corrected = sample / flat.at(*places)
            count_into(counts, corrected if own.all() else corrected.reshape(len(pixels), -1)[:, own], limit)


def _save(file: Path, content: dict[str, Any]) -> None:
    # Its checksums tell a file that was cut off, so that it need not be forced to the disk.
    with draft_of(file, forced=False) as draft:
        np.savez(draft, **content)
