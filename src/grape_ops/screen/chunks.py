"""Chunks of zarr and HDF5 arrays that are absent or were cut off, of which the libraries make pixels without a word.

An absent chunk is read as the fill value: black. Writers rightly leave out chunks that hold nothing else, such as the
rim of a stitched well, and a chunk that was lost looks the same. So absence does no harm by itself; what needs a pixel
of an absent chunk is left out and counted, and flat fields and percentiles are taken of the pixels that are there.
Within a shard, an index says which chunks the writer left out: those are empty by its word, and only whole shards can
be lost.

The decoder of Blosc reads on beyond the end of a chunk that was cut off; ``use_whole_chunks`` makes zarr refuse it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numcodecs.compat import ensure_contiguous_ndarray
from numcodecs.registry import register_codec
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

_BLOSC_HEAD = 16  # bytes; the last four of them are the length of the whole


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
        # A crop that leaves the tile mirrors its pixels, one further in than it reaches itself.
        ends = np.maximum(corners + size - 1, -corners)
        return any_within(self.absent, *(np.clip(place // np.array(self.side), 0, last) for place in (corners, ends)))

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Tell which pixels lie in an absent chunk, at every pair of a row and a column: (m,), (n,) -> (m, n) bool."""
        return self.absent[np.ix_(rows // self.side[0], columns // self.side[1])]


def any_within(mask: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Tell which rectangles hold a true place: (h, w) bool, (N, 2) first and last row and column -> (N,) bool."""
    (top, left), (bottom, right) = first.T, last.T
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
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


def named_dimensions(array: Any) -> list[str]:
    """Return the names that a zarr array gives its axes (zarr v3, or xarray's attribute); empty if it gives none."""
    if not isinstance(array, zarr.Array):
        return []
    named: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or []
    return [str(name).lower() for name in named]


def stored_chunks(array: Any) -> tuple[int, ...]:
    """Return the shape of what is there or not as a whole: a chunk, or a shard of chunks."""
    return tuple(getattr(array, "shards", None) or array.chunks)


def absent_chunks(array: Any, numbers: Sequence[Sequence[int]]) -> np.ndarray:
    """Tell which chunks are not there, for their numbers along each axis: -> bool of as many places along each."""
    shape = tuple(map(len, numbers))
    if not isinstance(array, zarr.Array):  # HDF5
        present = _present_in_hdf5(array)
        return np.zeros(shape, bool) if present is None else ~present[np.ix_(*numbers)]
    if not isinstance(array.store, LocalStore):
        return np.zeros(shape, bool)
    home = Path(array.store.root) / array.path
    keys = map(array.metadata.encode_chunk_key, product(*numbers))
    return np.fromiter((not (home / key).exists() for key in keys), bool, int(np.prod(shape))).reshape(shape)


@lru_cache(maxsize=2)
def _present_in_hdf5(array: Any) -> np.ndarray | None:
    """Tell of every chunk of an HDF5 array whether it is there; None if all are.

    The library finds a chunk by going through all of them, so they are gone through once.
    """
    grid = [-(-length // side) for length, side in zip(array.shape, array.chunks, strict=True)]
    if array.id.get_num_chunks() == np.prod(grid):
        return None
    present = np.zeros(grid, bool)

    def mark(chunk: Any) -> None:
        present[tuple(first // side for first, side in zip(chunk.chunk_offset, array.chunks, strict=True))] = True

    array.id.chunk_iter(mark)
    return present


class WholeBlosc(Blosc):
    """Blosc of zarr v2 that refuses a chunk of another length than the chunk says."""

    codec_id = "blosc"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a chunk.

        Raises
        ------
        ValueError : it was cut off.
        """
        _check_length(ensure_contiguous_ndarray(buf))
        return super().decode(buf, out)


class WholeBloscCodec(BloscCodec):
    """The same of zarr v3."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check_length(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


def _check_length(chunk: Any) -> None:
    packed = memoryview(chunk).cast("B")
    if len(packed) < _BLOSC_HEAD or int.from_bytes(packed[_BLOSC_HEAD - 4 : _BLOSC_HEAD], "little") != len(packed):
        raise ValueError("a chunk is cut off")


def use_whole_chunks() -> None:
    """Let zarr refuse Blosc's chunks that were cut off, in this process."""
    register_codec(WholeBlosc)
    zarr.registry.register_codec("blosc", WholeBloscCodec)
    zarr.config.set({"codecs.blosc": f"{__name__}.{WholeBloscCodec.__name__}"})


use_whole_chunks()
