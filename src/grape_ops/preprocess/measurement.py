"""The first pass as a whole: blocks and groups of tiles handed to workers, and what comes out for each tile.

Legend: T tiles of the screen's list, C channels.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.illumination import FlatField
from grape_ops.preprocess.intensity import BINS, percentiles
from grape_ops.preprocess.survey import Block, BlockNote, add_counts, finish_group, read_group, read_note, survey_block
from grape_ops.preprocess.workers import Task, Workers
from grape_ops.progress import progress
from grape_ops.screen.screen import Screen

# Blocks are small enough to keep several workers busy with one well, and large enough that a screen of many
# thousand tiles does not leave as many files.
_BLOCKS_OF_A_GROUP, _TILES_OF_A_BLOCK = 16, 16


@dataclass(frozen=True)
class TileGroups:
    """Groups of each tile, (T,) names each; "" for a tile whose group nobody knows."""

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
    """

    shapes: np.ndarray
    fields: dict[str, FlatField]
    scales: dict[str, np.ndarray]
    unreadable: dict[int, str]


def measure(
    screen: Screen, groups: TileGroups, folder: Path, settings: PreprocessSettings, workers: Workers
) -> Measurement:
    """Run the first pass, or what is left of it, with its files in ``folder``."""
    blocks = list(_blocks(groups, folder))
    of_group: dict[str, list[Block]] = defaultdict(list)
    for block in blocks:
        of_group[block.group].append(block)
    files = {
        group: members[0].file.with_name(f"group-{n:05d}.npz") for n, (group, members) in enumerate(of_group.items())
    }
    if settings.on_problem == "stop":
        _forget_failures(of_group, files)
    notes = _survey(screen, blocks, of_group, files, settings, workers)
    shapes = np.zeros((len(screen.tiles), 2), dtype=np.int64)
    unreadable: dict[int, str] = {}
    for block, note in zip(blocks, notes, strict=True):
        unreadable |= note.unreadable
        readable = [tile for tile in block.tiles if tile not in note.unreadable]
        shapes[readable] = note.shape or 0
    if unreadable and settings.on_problem == "stop":
        return Measurement(shapes, {}, {}, unreadable)
    fields, scales = _collect(files, len(screen.channels), (settings.intensity.lower, settings.intensity.upper))
    return Measurement(shapes, fields, scales, unreadable)


def _blocks(groups: TileGroups, folder: Path) -> Iterator[Block]:
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for tile, pair in enumerate(zip(groups.field.tolist(), groups.scale.tolist(), strict=True)):
        if all(pair):
            members[pair].append(tile)
    # File names are numbers: groups may be named by anything a table holds.
    for number, ((group, scale), tiles) in enumerate(sorted(members.items())):
        size = min(_TILES_OF_A_BLOCK, -(-len(tiles) // _BLOCKS_OF_A_GROUP))
        for first in range(0, len(tiles), size):
            file = folder / f"block-{number:05d}-{first:06d}"
            yield Block(file, group, scale, tuple(tiles[first : first + size]), first, len(tiles))


def _forget_failures(of_group: dict[str, list[Block]], files: dict[str, Path]) -> None:
    # An earlier call was told to go on without unreadable tiles. This one is not, and they may be mended.
    for group, blocks in of_group.items():
        if files[group].is_file() and any(note.unreadable for block in blocks if (note := read_note(block))):
            files[group].unlink()
            for block in blocks:
                block.file.with_suffix(".json").unlink(missing_ok=True)


def _survey(
    screen: Screen,
    blocks: list[Block],
    of_group: dict[str, list[Block]],
    files: dict[str, Path],
    settings: PreprocessSettings,
    workers: Workers,
) -> list[BlockNote]:
    finished = {block.file: note for block in blocks if (note := _kept(block, files[block.group]))}
    queue: deque[Task] = deque()
    channels = len(screen.channels)
    for block in blocks:
        if block.file not in finished:
            rows = screen.tiles.iloc[list(block.tiles)]
            queue.append((survey_block, (block, screen.read_tile, rows, channels)))

    def finish_if_whole(group: str) -> None:
        members = of_group[group]
        if files[group].is_file() or any(block.file not in finished for block in members):
            return
        if settings.on_problem == "stop" and any(finished[block.file].unreadable for block in members):
            return  # not worth finishing: the user mends the tile and resumes, or drops it
        queue.appendleft((finish_group, (files[group], tuple(members), channels, settings.flat_field)))

    for group in of_group:
        finish_if_whole(group)
    total, done = (sum(len(b.tiles) for b in some) for some in (blocks, [b for b in blocks if b.file in finished]))
    with progress("Measuring illumination and intensities", total, "tile", done) as advance:
        for result in workers.run(queue):
            if result is not None:  # a block, not the end of a group
                block, note = result
                finished[block.file] = note
                advance(len(block.tiles))
                finish_if_whole(block.group)
    return [finished[block.file] for block in blocks]


def _kept(block: Block, group_file: Path) -> BlockNote | None:
    note = read_note(block)
    if note is None or group_file.is_file():
        return note
    # Tiles that failed are tried again; a block without its pixels has to be read again.
    return note if not note.unreadable and block.file.with_suffix(".pixels").is_file() else None


def _collect(
    files: dict[str, Path], channels: int, shares: tuple[float, float]
) -> tuple[dict[str, FlatField], dict[str, np.ndarray]]:
    fields: dict[str, FlatField] = {}
    limits: dict[str, set[int]] = defaultdict(set)
    parts: dict[str, list[Path]] = defaultdict(list)
    for group, file in files.items():
        if (found := read_group(file)) is None:
            continue
        fields[group], limit, names = found
        for scale in names:
            limits[scale].add(limit)
            parts[scale].append(file)
    scales = {}
    for scale, some in parts.items():
        if len(limits[scale]) > 1:
            raise GrapeOpsError(f"The tiles of {scale} are of different integer types and cannot share percentiles.")
        counts = np.zeros((channels, BINS), dtype=np.int64)  # of one scale at a time: a screen may have hundreds
        for file in some:
            add_counts(counts, file, scale)
        if counts.any():
            scales[scale] = percentiles(counts, limits[scale].pop(), shares)
    return fields, scales
