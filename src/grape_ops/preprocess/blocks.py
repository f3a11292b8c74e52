"""A block of tiles, which one task of the first pass reads, and the note on what became of it."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grape_ops.screen.screen import Window


@dataclass(frozen=True)
class Piece:
    """A tile, or a window of a large one.

    Attributes
    ----------
    tile : place in the screen's list of tiles.
    position : place among the tiles that share both groups.
    window : the part of the tile; None is all of it.
    """

    tile: int
    position: int
    window: Window | None = None


@dataclass(frozen=True)
class Block:
    """A few pieces that share flat field and percentiles.

    Attributes
    ----------
    file : path of its result.
    group, scale : names of the flat field's and of the percentiles' group.
    pieces : all of one tile if any is a window.
    of : number of tiles that share both groups.
    """

    file: Path
    group: str
    scale: str
    pieces: tuple[Piece, ...]
    of: int


@dataclass(frozen=True)
class BlockNote:
    """What became of a block or a group: the tiles' shape and type, largest value, tiles that failed, and one read."""

    shape: tuple[int, int] | None = None
    dtype: str = ""
    limit: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    example: str = ""

    @classmethod
    def read(cls, text: str) -> "BlockNote":
        """Read what ``asdict`` made JSON of."""
        note = json.loads(text)
        shape = tuple(note["shape"]) if note["shape"] else None
        unreadable = {int(tile): why for tile, why in note["unreadable"].items()}
        return cls(shape, note["dtype"], note["limit"], unreadable, note["example"])


def read_note(file: Path) -> BlockNote | None:
    """Return what became of a block or a group, or None if it is not finished."""
    try:
        with np.load(file) as content:
            return BlockNote.read(str(content["note"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or cut off when the machine went down
