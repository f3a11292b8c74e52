"""The first pass over the tiles: ``measure`` hands blocks and groups to workers and gathers what each tile came to.

What a worker does with a block is in ``block_sums.py``.

Legend: T tiles of the screen's list, C channels.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.block_sums import add_counts, finish_group, read_group, survey_block
from grape_ops.preprocess.blocks import Block, BlockNote, Piece, read_note
from grape_ops.preprocess.flat_field import FlatField, supplied_field
from grape_ops.preprocess.intensity import BINS, percentiles
from grape_ops.preprocess.non_finite import Kept, pixels_by_tile
from grape_ops.progress import progress
from grape_ops.screen.pixel_types import mixed_types
from grape_ops.screen.screen import Screen, Window, WindowedReader
from grape_ops.workers import Task, TaskRunner

# Blocks are small enough to keep several workers busy with one well, and large enough that a screen of many
# thousand tiles does not leave as many files.
_BLOCKS_OF_A_GROUP, _TILES_OF_A_BLOCK = 16, 16
# Tiles with more pixels are read in windows: a stitched well has 10,000 million.
LARGEST_TILE, WINDOW = 1 << 25, 2048


@dataclass(frozen=True)
class TileGroups:
    """Groups of each tile, (T,) names each; "" for a tile whose group is unknown."""

    field: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """What the second pass needs.

    Attributes
    ----------
    shapes : (T, 2) height and width of each tile, 0 if it could not be read.
    fields : flat field of each group.
    scales : (C, 2) corrected values that become 0 and 1, of each group.
    unreadable : message for each tile that could not be read.
    non_finite : where it is kept which pixels of a tile are NaN or infinite; see ``non_finite.py``.
    """

    shapes: np.ndarray
    fields: dict[str, FlatField]
    scales: dict[str, np.ndarray]
    unreadable: dict[int, str]
    non_finite: dict[int, list[Kept]] = field(default_factory=dict)


def measure(
    screen: Screen, groups: TileGroups, folder: Path, settings: PreprocessSettings, workers: TaskRunner
) -> Measurement:
    """Run the first pass, or what is left of it, with its files in ``folder``."""
    blocks = list(_blocks(screen, groups, folder))
    of_group: dict[str, list[Block]] = defaultdict(list)
    for block in blocks:
        of_group[block.group].append(block)
    files = {group: folder / f"group-{n:05d}.npz" for n, group in enumerate(of_group)}
    if settings.on_problem == "stop":
        _forget_failures(files)
    notes = _survey(screen, of_group, files, settings, workers)
    shapes = np.zeros((len(screen.tiles), 2), dtype=np.int64)
    unreadable: dict[int, str] = {}
    for group, members in of_group.items():
        for block, note in zip(members, notes[group], strict=True):
            unreadable |= note.unreadable
            readable = [piece.tile for piece in block.pieces if piece.tile not in note.unreadable]
            shapes[readable] = note.shape or 0
    shapes[list(unreadable)] = 0
    if unreadable and settings.on_problem == "stop":
        return Measurement(shapes, {}, {}, unreadable)
    fields, scales = _collect(files, len(screen.channels), (settings.intensity.lower, settings.intensity.upper))
    return Measurement(shapes, fields, scales, unreadable, pixels_by_tile(list(files.values())))


def _blocks(screen: Screen, groups: TileGroups, folder: Path) -> Iterator[Block]:
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for tile, pair in enumerate(zip(groups.field.tolist(), groups.scale.tolist(), strict=True)):
        if all(pair):
            members[pair].append(tile)
    # File names are numbers: groups may be named by anything a table holds.
    for number, ((group, scale), tiles) in enumerate(sorted(members.items())):
        parts = _windows(screen, tiles)
        bundles: list[list[Piece]] = []
        if parts == [None]:
            size = min(_TILES_OF_A_BLOCK, -(-len(tiles) // _BLOCKS_OF_A_GROUP))
            pieces = [Piece(tile, position) for position, tile in enumerate(tiles)]
            bundles = [pieces[first : first + size] for first in range(0, len(pieces), size)]
        else:
            for position, tile in enumerate(tiles):
                pieces = [Piece(tile, position, part) for part in parts]
                bundles += [pieces[n : n + _TILES_OF_A_BLOCK] for n in range(0, len(pieces), _TILES_OF_A_BLOCK)]
        for nth, bundle in enumerate(bundles):
            file = folder / f"block-{number:05d}-{nth:06d}.npz"
            yield Block(file, group, scale, tuple(bundle), len(tiles))


def _windows(screen: Screen, tiles: list[int]) -> list[Window | None]:
    """Cut large tiles, such as stitched wells, into windows; those of a group are of one size."""
    if not isinstance(screen.read_tile, WindowedReader):
        return [None]
    for tile in tiles:
        try:
            _, height, width, _ = screen.read_tile.header(screen.tiles.iloc[tile])
        except GrapeOpsError:
            continue  # it is reported when it is read
        return [None] if height * width <= LARGEST_TILE else list(windows_of(height, width))
    return [None]


def windows_of(height: int, width: int) -> Iterator[Window]:
    """Cut a large tile into windows, row by row."""
    for top in range(0, height, WINDOW):
        for left in range(0, width, WINDOW):
            yield Window(top, left, min(WINDOW, height - top), min(WINDOW, width - left))


def _forget_failures(files: dict[str, Path]) -> None:
    # An earlier call was set to go on without unreadable tiles. This one is not, and they may be repaired.
    for file in files.values():
        if (note := read_note(file)) and note.unreadable:
            file.unlink()


def _survey(
    screen: Screen,
    of_group: dict[str, list[Block]],
    files: dict[str, Path],
    settings: PreprocessSettings,
    workers: TaskRunner,
) -> dict[str, list[BlockNote]]:
    """Survey all blocks and finish all groups that are not; returns the note of each block."""
    notes: dict[str, list[BlockNote]] = {}
    finished: dict[Path, BlockNote] = {}
    queue: deque[Task] = deque()
    channels = len(screen.channels)

    def finish_if_whole(group: str) -> None:
        members = of_group[group]
        if any(block.file not in finished for block in members):
            return
        notes[group] = [finished.pop(block.file) for block in members]
        if settings.on_problem == "stop" and any(note.unreadable for note in notes[group]):
            return  # not worth finishing: the user repairs the tile and resumes, or drops it
        supplied = supplied_field(screen.root, settings.flat_field, group)
        queue.appendleft((finish_group, (files[group], tuple(members), channels, settings.flat_field, supplied)))

    for group, members in of_group.items():
        if whole := read_note(files[group]):
            notes[group] = [whole] * len(members)
            continue
        for block in members:
            # Tiles that failed are tried again.
            if (note := read_note(block.file)) and not note.unreadable:
                finished[block.file] = note
            else:
                rows = screen.tiles.iloc[[piece.tile for piece in block.pieces]]
                queue.append((survey_block, (block, screen.read_tile, rows, channels)))
        finish_if_whole(group)
    total = sum(len(block.pieces) for members in of_group.values() for block in members)
    left = sum(len(arguments[0].pieces) for function, arguments in queue if function is survey_block)
    with progress("Measuring illumination and intensities", total, "tile", total - left) as advance:
        for result in workers.run(queue):
            if result is not None:  # a block, not the end of a group
                block, note = result
                finished[block.file] = note
                advance(len(block.pieces))
                finish_if_whole(block.group)
    return notes


def _collect(
    files: dict[str, Path], channels: int, shares: tuple[float, float]
) -> tuple[dict[str, FlatField], dict[str, np.ndarray]]:
    fields: dict[str, FlatField] = {}
    types: dict[str, dict[str, str]] = defaultdict(dict)
    parts: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for group, file in files.items():
        if (found := read_group(file)) is None:
            continue
        fields[group], note, names = found
        for scale in names:
            types[scale].setdefault(note.dtype, note.example)
            parts[scale].append((file, note.limit))
    scales = {}
    for scale, some in parts.items():
        if len(types[scale]) > 1:
            raise mixed_types(
                f"The tiles of {scale}, which share percentiles (preprocess.intensity.columns),", types[scale]
            )
        counts = np.zeros((channels, BINS), dtype=np.int64)  # of one scale at a time: a screen may have hundreds
        limit = max(limit for _, limit in some)
        for file, own in some:
            add_counts(counts, file, scale, (limit + 1) // (own + 1))
        if counts.any():
            scales[scale] = percentiles(counts, limit, shares)
    return fields, scales
