"""Pixels around a cell, read before anything is computed: what a look at a screen rests on.

Legend: C channels, h x w window.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from grape_ops.schema import X, Y
from grape_ops.screen.screen import Screen, Window, read_known, tile_header
from grape_ops.screen.tile_pattern import TILE_KEY
from grape_ops.screen.zarr_tiles import ZarrTiles


@dataclass(frozen=True)
class Surroundings:
    """A window of a tile.

    Attributes
    ----------
    pixels : (C, h, w).
    there : (h, w) bool, false in absent chunks and where a channel is NaN or infinite, which are no pixels.
    origin : first row and column of the window in its tile.
    """

    pixels: np.ndarray
    there: np.ndarray
    origin: tuple[int, int]


def surroundings(screen: Screen, cell: pd.Series, side: int) -> Surroundings | None:
    """Read a window around a cell, of so many pixels or as many as the tile has; None if no tile of the list holds it.

    Raises
    ------
    GrapeOpsError : the tile cannot be read.
    """
    listed = screen.tiles[(screen.tiles[TILE_KEY] == cell[TILE_KEY].tolist()).all(axis=1)]
    if listed.empty:
        return None
    tile = listed.iloc[0]
    header = tile_header(screen.read_tile, tile)
    spans = []
    for centre, length in ((cell[Y], header.height), (cell[X], header.width)):
        if not 0 <= centre < length:
            return None
        first = min(max(int(centre) - side // 2, 0), max(length - side, 0))
        spans.append((first, min(side, length - first)))
    (top, height), (left, width) = spans
    pixels, known = read_known(screen.read_tile, tile, Window(top, left, height, width))
    there = np.ones((height, width), bool) if known is None else known
    absent = screen.read_tile.absent(tile) if isinstance(screen.read_tile, ZarrTiles) else None
    if absent is not None:
        there = there & ~absent.at(np.arange(top, top + height), np.arange(left, left + width))
    return Surroundings(pixels, there, (top, left))
