"""Chunks of zarr and HDF5 arrays that are absent, which are read as the fill value: black.

Writers rightly leave out chunks that hold nothing else, such as the rim of a stitched well, and a chunk that was lost
looks the same. So absence does no harm by itself; what needs a pixel of an absent chunk is left out and counted. Within
a shard, an index says which chunks the writer left out: those are empty by its word, and only whole shards can be lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore


@dataclass(frozen=True)
class AbsentChunks:
    """Where an image has no chunk.

    Attributes
    ----------
    side : height and width of a chunk.
    absent : (rows, columns) of chunks, whether that of any channel is absent.
    """

    side: tuple[int, int]
    absent: np.ndarray

    def touched(self, corners: np.ndarray, size: int) -> np.ndarray:
        """Tell which crops need a pixel of an absent chunk: (N, 2) first row and column -> (N,) bool."""
        last = np.array(self.absent.shape) - 1
        (top, left), (bottom, right) = (
            np.clip(place // np.array(self.side), 0, last).T for place in (corners, corners + size - 1)
        )
        sums = np.pad(self.absent.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        found = sums[bottom + 1, right + 1] - sums[top, right + 1] - sums[bottom + 1, left] + sums[top, left]
        return np.asarray(found > 0)


def absent_in_image(array: Any, axes: str, channels: Sequence[int]) -> AbsentChunks | None:
    """Find the absent chunks of some channels of an image, of all z planes; None if all are there."""
    sides = dict(zip(axes, stored_chunks(array), strict=True))
    numbers = {axis: list(range(-(-array.shape[axes.index(axis)] // sides[axis]))) for axis in axes if axis in "zyx"}
    if "c" in axes:
        numbers["c"] = sorted({channel // sides["c"] for channel in channels})
    absent = absent_chunks(array, [numbers.get(axis, [0]) for axis in axes])
    absent = np.asarray(absent.any(axis=tuple(place for place, axis in enumerate(axes) if axis not in "yx")))
    if axes.index("x") < axes.index("y"):
        absent = absent.T
    return AbsentChunks((sides["y"], sides["x"]), absent) if absent.any() else None


def stored_chunks(array: Any) -> tuple[int, ...]:
    """Return the shape of what is there or not as a whole: a chunk, or a shard of chunks."""
    return tuple(getattr(array, "shards", None) or array.chunks)


def absent_chunks(array: Any, numbers: Sequence[Sequence[int]]) -> np.ndarray:
    """Tell which chunks are not there, for their numbers along each axis: -> bool of as many places along each."""
    shape = tuple(map(len, numbers))
    if not isinstance(array, zarr.Array):  # HDF5
        places = (tuple(n * side for n, side in zip(place, array.chunks, strict=True)) for place in product(*numbers))
        found = (array.id.get_chunk_info_by_coord(place).byte_offset is None for place in places)
        return np.fromiter(found, bool, int(np.prod(shape))).reshape(shape)
    if not isinstance(array.store, LocalStore):
        return np.zeros(shape, bool)
    home = Path(array.store.root) / array.path
    keys = map(array.metadata.encode_chunk_key, product(*numbers))
    return np.fromiter((not (home / key).exists() for key in keys), bool, int(np.prod(shape))).reshape(shape)
