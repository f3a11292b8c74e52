"""Pixels of tiles that are NaN or infinite: kept in the first pass, so that no cell is cropped from one.

A block's file, and later its group's, has an array for each piece with such pixels, named after the tile and the
window; it holds one bit a pixel, packed. Legend: h x w window, N crops.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from grape_ops.screen.chunks import any_within
from grape_ops.screen.screen import Window

_MARK = "nonfinite"
Kept = tuple[Path, str]  # file, and name of the array in it


def kept_pixels(tile: int, window: Window, known: np.ndarray) -> dict[str, np.ndarray]:
    """Make the array of a piece: (h, w) bool, whether the pixels of all channels are numbers."""
    name = ":".join([_MARK, *map(str, (tile, *window))])
    return {name: np.frombuffer(zlib.compress(np.packbits(~known).tobytes(), 1), np.uint8)}


def arrays_of(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Go through the names of a file's arrays: tile and name of those that ``kept_pixels`` made."""
    return ((int(name.split(":")[1]), name) for name in names if name.startswith(f"{_MARK}:"))


def pixels_by_tile(files: Sequence[Path]) -> dict[int, list[Kept]]:
    """Find what finished groups have kept of each tile."""
    found: dict[int, list[Kept]] = {}
    for file in files:
        with np.load(file) as content:
            for tile, name in arrays_of(content.files):
                found.setdefault(tile, []).append((file, name))
    return found


def needs_non_finite(kept: Sequence[Kept], corners: np.ndarray, size: int, shape: tuple[int, int]) -> np.ndarray:
    """Tell which crops of a tile need such a pixel: (N, 2) first row and column, H and W of the tile -> (N,) bool."""
    found = np.zeros(len(corners), bool)
    # A crop that leaves the tile mirrors its pixels, one further in than it reaches itself.
    first = np.clip(corners, 0, np.array(shape) - 1)
    last = np.clip(np.maximum(corners + size - 1, -corners), 0, np.array(shape) - 1)
    for file, name in kept:
        top, left, height, width = map(int, name.split(":")[2:])
        origin, end = np.array([top, left]), np.array([top + height - 1, left + width - 1])
        near = np.flatnonzero(((first <= end) & (last >= origin)).all(axis=1))
        if len(near):
            with np.load(file) as content:
                bits = np.frombuffer(zlib.decompress(content[name].tobytes()), np.uint8)
            mask = np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)
            found[near] |= any_within(mask, *(np.clip(some[near], origin, end) - origin for some in (first, last)))
    return found
