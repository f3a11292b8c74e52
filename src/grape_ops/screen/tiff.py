"""Tiles in TIFF files: a file a tile, a file a channel, or a few channels a file; z-stacks are max-projected.

Legend: C channels of a tile, Z planes of a stack, H x W tile.
"""

import logging
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from grape_ops.errors import GrapeOpsError
from grape_ops.screen.pixel_size import tiff_pixel_size
from grape_ops.screen.screen import TileHeader, Window
from grape_ops.screen.tile_pattern import CHANNEL_FIELD, PATH, TilePattern

# Every message about a damaged file is ours; tifffile would print its own beside it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

# What the reader and its decompressors raise on files that are cut off, overwritten, or of a kind they lack.
DAMAGED = (
    tifffile.TiffFileError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    TypeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Plane:
    """Where a channel of a tile lies.

    Attributes
    ----------
    channel : its name; stands for ``{channel}`` in the file's path.
    column : column of the tile table that holds the path.
    index, of : which of how many channels of that file it is.
    """

    channel: str
    column: str = PATH
    index: int = 0
    of: int = 1


def count_planes(path: Path) -> int:
    """Count the planes of a file that holds one picture of several channels."""
    with tifffile.TiffFile(path) as file:
        return int(np.prod(file.series[0].shape[:-2]))


def planes_of_pattern(pattern: TilePattern, channels: tuple[str, ...]) -> tuple[Plane, ...]:
    """Place the channels in one file a tile, or with ``{channel}`` in the pattern in one file each."""
    if pattern.per_channel:
        return tuple(Plane(name) for name in channels)
    return tuple(Plane(name, index=i, of=len(channels)) for i, name in enumerate(channels))


@dataclass(frozen=True)
class TiffTiles:
    """Reads tiles of a folder. It pickles, so that worker processes can read by themselves.

    Attributes
    ----------
    root : folder that paths count from; messages name paths within it, since they are kept with the store.
    planes : where each channel lies.
    stacked : whether a file may hold Z planes of each of its channels, of which the maximum is taken.
    mend : what a user should set if the number of channels is wrong.
    """

    root: Path
    planes: tuple[Plane, ...]
    stacked: bool = False
    mend: str = "`channels` in screen.yaml names them"

    def __call__(self, tile: pd.Series) -> np.ndarray:
        """Read a whole tile: -> (C, H, W) unsigned integers.

        Raises
        ------
        GrapeOpsError : a file is missing, damaged, or of another shape.
        """
        return self.read(tile, None, None)

    def files(self, tile: pd.Series) -> list[str]:
        """List the files of a tile, each once."""
        return list(self._by_file(tile, range(len(self.planes))))

    def header(self, tile: pd.Series) -> TileHeader:
        """Read the heads of a tile's files; their length is checked too, so that most damage shows.

        Raises
        ------
        GrapeOpsError : a file is missing, cut off, or of another shape.
        """
        shapes: dict[str, tuple[int, int, str]] = {}
        for path, places in self._by_file(tile, range(len(self.planes))).items():
            with self._opened(path, places[0][1].of) as (_, series):
                height, width = series.shape[-2:]
                shapes[path] = (height, width, str(series.dtype))
        return TileHeader(len(self.planes), *_common(shapes))

    def pixel_size(self, tile: pd.Series) -> float | None:
        """Micrometres of a pixel, if the tile's first file tells."""
        return tiff_pixel_size(self.root / self.files(tile)[0])

    def read(self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None) -> np.ndarray:
        """Read some channels (None: all) of a window (None: the whole tile): -> (c, h, w)."""
        wanted = range(len(self.planes)) if channels is None else channels
        images: dict[int, np.ndarray] = {}
        shapes = {}
        for path, places in self._by_file(tile, wanted).items():
            with self._opened(path, places[0][1].of) as (file, series):
                whole = window is None and len(places) == len(wanted)
                if whole and [(plane.index, plane.of) for _, plane in places] == _lying_planes(series):
                    lines = int(np.prod(series.shape[:-1]))
                    return _lying(file, series, 0, lines).reshape(-1, *series.shape[-2:])
                for place, plane in places:
                    images[place] = _projected(file, series, plane.index, plane.of, window)
                    shapes[path] = (*images[place].shape, str(images[place].dtype))
        _common(shapes)
        return np.stack([images[place] for place in range(len(images))])

    def _by_file(self, tile: pd.Series, channels: Iterable[int]) -> dict[str, list[tuple[int, Plane]]]:
        """Group channels by the file they lie in: path -> (place among those asked for, plane)."""
        files: dict[str, list[tuple[int, Plane]]] = {}
        for place, channel in enumerate(channels):
            plane = self.planes[channel]
            path = str(tile[plane.column])
            path = TilePattern(path).fill({CHANNEL_FIELD: plane.channel}) if "{" in path else path
            files.setdefault(path, []).append((place, plane))
        return files

    @contextmanager
    def _opened(self, path: str, of: int) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPageSeries]]:
        full = self.root / path
        if full.is_dir():
            raise GrapeOpsError(f"The tile {path} is a folder, not a file.")
        if not full.is_file():
            raise GrapeOpsError(f"There is no tile {path}.")
        try:
            with tifffile.TiffFile(full) as file:
                if _is_cut_off(file):
                    raise GrapeOpsError(f"The tile {path} cannot be read: it is cut off.")
                yield file, self._checked(file.series[0], path, of)
        except DAMAGED as error:
            raise GrapeOpsError(f"The tile {path} cannot be read: {error or type(error).__name__}") from None

    def _checked(self, series: tifffile.TiffPageSeries, path: str, of: int) -> tifffile.TiffPageSeries:
        """Return a file's picture if its shape and type fit."""
        leading = int(np.prod(series.shape[:-2]))
        fits = leading % of == 0 if self.stacked else leading == of
        if series.axes[-2:] != "YX" or not fits:
            names = ", ".join(plane.channel for plane in self.planes)
            wanted = f"({of}, height, width)" if of > 1 else "(height, width)"
            raise GrapeOpsError(
                f"{path} has the shape {tuple(series.shape)}, where {wanted} is wanted for the channels {names}; "
                f"{self.mend}."
            )
        if series.dtype.kind != "u":
            raise GrapeOpsError(f"{path} holds {series.dtype} pixels; raw tiles are uint8 or uint16.")
        return series


def _is_cut_off(file: tifffile.TiffFile) -> bool:
    """Tell whether a file ends before its pixels do, or points to a page that is not there."""
    last, kind, handle = file.pages[-1], file.tiff, file.filehandle
    handle.seek(last.offset)
    (tags,) = struct.unpack(kind.tagnoformat, handle.read(kind.tagnosize))
    handle.seek(last.offset + kind.tagnosize + tags * kind.tagsize)
    (following,) = struct.unpack(kind.offsetformat, handle.read(kind.offsetsize))
    ends = [
        start + size for page in file.pages for start, size in zip(page.dataoffsets, page.databytecounts, strict=True)
    ]
    return following != 0 or max(ends) > handle.size


def _common(shapes: dict[str, tuple[int, int, str]]) -> tuple[int, int, str]:
    """Return the height, width and type that all files of a tile share."""
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{path} {height} x {width} {dtype}" for path, (height, width, dtype) in shapes.items())
        raise GrapeOpsError(f"The files of a tile differ in shape: {listed}.")
    return next(iter(shapes.values()))


def _projected(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int, of: int, window: Window | None
) -> np.ndarray:
    """Read one channel, the maximum over its Z planes: -> (h, w)."""
    order = _plane_numbers(series, of)[index]
    top, left, height, width = window or (0, 0, *series.shape[-2:])
    part = (slice(top, top + height), slice(left, left + width))
    image: np.ndarray | None = None
    for plane in (_plane(file, series, number, part) for number in order):
        image = plane if image is None else np.maximum(image, plane)
    assert image is not None  # a series has at least one plane
    return image


def _plane_numbers(series: tifffile.TiffPageSeries, of: int) -> np.ndarray:
    """Which planes of a file belong to each channel: (C, Z). Channels vary fastest unless the file says otherwise."""
    leading, axes = series.shape[:-2], series.axes[:-2]
    numbers = np.arange(int(np.prod(leading))).reshape(leading)
    if of > 1 and "C" in axes and leading[axes.index("C")] == of:
        numbers = np.moveaxis(numbers, axes.index("C"), -1)
    return numbers.reshape(-1, of).T


def _plane(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int, part: tuple[slice, slice]
) -> np.ndarray:
    height, width = series.shape[-2:]
    if series.dataoffset is not None:
        return _lying(file, series, number * height + part[0].start, part[0].stop - part[0].start)[:, part[1]]
    per_page = int(np.prod(series.shape[:-2])) // max(len(series.pages), 1)
    page = series.pages[number // per_page]
    assert page is not None
    return page.asarray().reshape(per_page, height, width)[number % per_page][part]


def _lying(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, first: int, lines: int) -> np.ndarray:
    """Read lines of pixels that lie in the file as they are, and nothing else: -> (lines, W).

    Mapping the file into memory would take several times as long: each of its pages is an interruption.
    """
    width = series.shape[-1]
    dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
    assert series.dataoffset is not None
    file.filehandle.seek(series.dataoffset + first * width * dtype.itemsize)
    pixels = file.filehandle.read_array(dtype, count=lines * width)
    return pixels.reshape(lines, width).astype(series.dtype, copy=False)


def _lying_planes(series: tifffile.TiffPageSeries) -> list[tuple[int, int]]:
    """Index and number of planes, of a file whose planes lie one behind the other, one a channel; else nothing."""
    count = int(np.prod(series.shape[:-2]))
    return [(index, count) for index in range(count)] if series.dataoffset is not None else []
