"""Tiles in TIFF files: one file per tile, one file per channel, or a few channels per file; z-stacks are max-projected.

Legend: C channels of a tile, Z planes of a stack, H x W tile.
"""

import logging
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tifffile

from grape_ops.artifacts.damage import DAMAGE
from grape_ops.artifacts.declared_size import check_packed
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.pixel_size import tiff_pixel_size
from grape_ops.screen.screen import TileHeader, Window
from grape_ops.screen.tiff_planes import Planes, check_upright, open_tiff, read_planes
from grape_ops.screen.tile_pattern import CHANNEL_FIELD, PATH, TilePattern

# Every message about a damaged file is ours; tifffile would print its own beside it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

# What the reader and its decompressors raise on files that are cut off, overwritten, or of a kind they lack.
DAMAGED = (tifffile.TiffFileError, *DAMAGE)


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


def count_channels_of(path: Path) -> int:
    """Count the channels of a file that holds one picture.

    Raises
    ------
    GrapeOpsError : it is damaged, or has several z or time points too.
    """
    with _opened(path, path.name) as file:
        series, planes = read_planes(file, path.name)
        return len(_numbers(series, planes, None, False, path.name, ""))


def read_tiff_crop(path: Path, name: str) -> np.ndarray:
    """Read a crop: -> (C, S, S).

    Raises
    ------
    GrapeOpsError : it is damaged, or states other axes than channels, height and width.
    """
    with _opened(path, name) as file:
        series, planes = read_planes(file, name)
        numbers = _numbers(series, planes, None, False, name, "")
        picture = _Picture(file, series, numbers)
        return np.stack([_projected(picture, channel, None) for channel in range(len(numbers))])


def planes_of_pattern(pattern: TilePattern, channels: tuple[str, ...]) -> tuple[Plane, ...]:
    """Place the channels in one file per tile, or with ``{channel}`` in the pattern in one file each."""
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
    by_name : whether files' names tell their channels, as the stains of a layout; see ``read_planes``.
    """

    root: Path
    planes: tuple[Plane, ...]
    stacked: bool = False
    mend: str = "`channels` in screen.yaml names them"
    by_name: bool = False

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
            with self._picture(path, places[0][1].of) as picture:
                height, width = picture.series.shape[-2:]
                shapes[path] = (height, width, str(picture.series.dtype))
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
            with self._picture(path, places[0][1].of) as picture:
                series, order = picture.series, [picture.numbers[plane.index].tolist() for _, plane in places]
                whole = window is None and len(places) == len(wanted) and series.dataoffset is not None
                if whole and order == [[number] for number in range(int(np.prod(series.shape[:-2])))]:
                    lines = int(np.prod(series.shape[:-1]))
                    return _lying(picture.file, series, 0, lines).reshape(-1, *series.shape[-2:])
                for place, plane in places:
                    images[place] = _projected(picture, plane.index, window)
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
    def _picture(self, path: str, of: int) -> Iterator["_Picture"]:
        full = self.root / path
        if full.is_dir():
            raise GrapeOpsError(f"The tile {path} is a folder, not a file.")
        if not full.is_file():
            raise GrapeOpsError(f"There is no tile {path}.")
        with _opened(full, path, "The tile ") as file:
            series, planes = read_planes(file, path, self.by_name)
            names = ", ".join(plane.channel for plane in self.planes)
            wanted = f"({of}, height, width)" if of > 1 else "(height, width)"
            wanted = f", where {wanted} is wanted for the channels {names}; {self.mend}"
            numbers = _numbers(series, planes, of, self.stacked, path, wanted, self.by_name)
            if series.dtype.kind != "u" or series.dtype.itemsize > 2:
                raise GrapeOpsError(f"{path} holds {series.dtype} pixels; raw tiles are uint8 or uint16.")
            yield _Picture(file, series, numbers)


class _Picture(NamedTuple):
    """An open file, its pixels, and the numbers of each channel's planes: (C, Z)."""

    file: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    numbers: np.ndarray


@contextmanager
def _opened(full: Path, path: str, what: str = "") -> Iterator[tifffile.TiffFile]:
    try:
        with open_tiff(full) as file:
            if _is_cut_off(file):
                raise GrapeOpsError(f"{what}{path} cannot be read: it is cut off.")
            first = file.pages.first
            packed = first.compression != 1 or first.bitspersample % 8 != 0
            for page in file.pages:
                if 0 in page.databytecounts:
                    raise GrapeOpsError(f"{what}{path} cannot be read: parts of its pixels are absent.")
                check_packed(page.nbytes, sum(page.databytecounts), packed, f"{what}{path}")
                check_upright(page, f"{what}{path}")
            yield file
    except DAMAGED as error:
        raise GrapeOpsError(f"{what}{path} cannot be read: {error or type(error).__name__}") from None


def _numbers(
    series: tifffile.TiffPageSeries,
    planes: Planes,
    of: int | None,
    stacked: bool,
    path: str,
    wanted: str,
    by_name: bool = False,
) -> np.ndarray:
    """Number the planes of each channel, if the file's shape and what it states fit: (C, Z)."""
    numbers = planes.of_channels(of, stacked, by_name) if series.axes[-2:] == "YX" else None
    if numbers is None:
        said = f" (it states {planes.said})" if planes.said else ""
        if series.axes[-2:] != "YX" and {"X", "Y"} <= set(series.axes):
            said = f" (axes {series.axes})"
        wanted = wanted or ", where (channels, height, width) is wanted"
        raise GrapeOpsError(f"{path} has the shape {tuple(series.shape)}{said}{wanted}.")
    return numbers


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


def _projected(picture: _Picture, index: int, window: Window | None) -> np.ndarray:
    """Read one channel, the maximum over its Z planes: -> (h, w)."""
    top, left, height, width = window or (0, 0, *picture.series.shape[-2:])
    part = (slice(top, top + height), slice(left, left + width))
    image: np.ndarray | None = None
    for number in picture.numbers[index].tolist():
        plane = _plane(picture.file, picture.series, number, part)
        image = plane if image is None else np.maximum(image, plane)
    assert image is not None  # a series has at least one plane
    return image


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
