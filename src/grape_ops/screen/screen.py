"""A screen as every layout hands it over: tiles that are read on demand, and a cell table in our columns.

There are two kinds of screens: screens of tiles have ``tiles`` and ``read_tile``; screens of ready crops, cut by
other software, have ``read_crops`` and an empty list of tiles.
Legend: C channels, H x W tile, N cells, S size of a crop.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.cell_table import CellTable

_ASKED = 8  # tiles, of which the first may be missing
# A row of the tile table -> (C, H, W). For readers that are such plain functions, ``tile_header`` and ``read_window``
# read the whole tile.
TileReader = Callable[[pd.Series], np.ndarray]


class TileHeader(NamedTuple):
    """Shape and type of a tile, from the headers of its files."""

    channels: int
    height: int
    width: int
    dtype: str


class Window(NamedTuple):
    """A rectangle of a tile, wholly inside it."""

    top: int
    left: int
    height: int
    width: int


@runtime_checkable
class WindowedReader(Protocol):
    """A tile reader that can also read headers and windows, as those of all layouts can."""

    def __call__(self, tile: pd.Series) -> np.ndarray:
        """Read the whole tile: -> (C, H, W)."""

    def header(self, tile: pd.Series) -> TileHeader:
        """Read the headers of a tile's files, without its pixels."""

    def read(self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None) -> np.ndarray:
        """Read some channels (None: all) of a window (None: the whole tile): -> (c, h, w)."""


@runtime_checkable
class MeasuredReader(Protocol):
    """A tile reader whose files may tell how large a pixel is."""

    def pixel_size(self, tile: pd.Series) -> float | None:
        """Micrometres of a pixel, or None."""


@runtime_checkable
class KnowingReader(Protocol):
    """A tile reader whose files may hold NaN or infinite pixels, which it gives as whole numbers."""

    def read_known(
        self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See the function ``read_known``."""


class CropReader(Protocol):
    """Reads crops that other software has cut."""

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        """Read the crop of each row of the cell table: -> (N, C, S, S), integers or floats of the file."""


@dataclass(frozen=True)
class Screen:
    """One screen, ready to be cut into crops. It pickles, so that worker processes can read tiles themselves.

    Attributes
    ----------
    root : folder it was read from.
    channels : names, in the order of a tile's first axis.
    cells : one row per cell: gene_symbol, sgRNA, plate, well, tile (strings), y, x (float, tile pixels), is_control.
    tiles : one row per tile that the cell table or the folder names: plate, well, tile (strings), `path`
        (missing files are listed too, so that they can be reported).
    read_tile : a row of ``tiles`` -> (channels, height, width) array of the file's own integer type; raises
        GrapeOpsError naming the file when it cannot be read. See ``WindowedReader`` for reading less.
    corrected : whether the tiles are flat-fielded already.
    crop_scaling : as the setting ``screen.crop_scaling``.
    read_crops : rows of the cell table -> ready crops, if the screen has those in place of tiles.
    pixel_size : micrometres of a pixel, if the settings or the images tell.
    simulated : whether `grape-ops simulate` made it.
    """

    root: Path
    channels: tuple[str, ...]
    cells: CellTable
    tiles: pd.DataFrame
    read_tile: TileReader
    corrected: bool = False
    crop_scaling: str = "auto"
    read_crops: CropReader | None = None
    pixel_size: float | None = None
    simulated: bool = False


def known_pixel_size(screen: Screen) -> float | None:
    """Size of a pixel in micrometres, from the metadata of the first tiles."""
    if not isinstance(screen.read_tile, MeasuredReader):
        return None
    sizes = (screen.read_tile.pixel_size(tile) for _, tile in screen.tiles.head(_ASKED).iterrows())
    return next((size for size in sizes if size), None)


def no_tiles() -> pd.DataFrame:
    """Return the list of tiles of a screen of ready crops."""
    return pd.DataFrame(columns=["plate", "well", "tile", "path"], dtype=object)


def no_tile(tile: pd.Series) -> np.ndarray:
    """Tile reader of a screen of ready crops, which has no tiles: always an error."""
    raise GrapeOpsError("This screen has ready crops and no tiles.")


def tile_header(reader: TileReader, tile: pd.Series) -> TileHeader:
    """Read the headers of a tile's files; with a plain function, the whole tile."""
    if isinstance(reader, WindowedReader):
        return reader.header(tile)
    image = reader(tile)
    channels, height, width = image.shape
    return TileHeader(channels, height, width, str(image.dtype))


def read_window(
    reader: TileReader, tile: pd.Series, window: Window | None, channels: tuple[int, ...] | None = None
) -> np.ndarray:
    """Read a window of a tile and nothing else, if the reader can: -> (c, h, w)."""
    if isinstance(reader, WindowedReader):
        return reader.read(tile, channels, window)
    image = reader(tile)
    image = image if channels is None else image[list(channels)]
    if window is None:
        return image
    return image[:, window.top : window.top + window.height, window.left : window.left + window.width]


def read_known(
    reader: TileReader, tile: pd.Series, window: Window | None, channels: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a window, with 0 for pixels that are NaN or infinite: -> (c, h, w), and where all channels' are numbers.

    The latter is (h, w) bool, None where all are.
    """
    if isinstance(reader, KnowingReader):
        return reader.read_known(tile, channels, window)
    image = read_window(reader, tile, window, channels)
    if image.dtype.kind != "f" or image.ndim != 3 or (finite := np.isfinite(image)).all():
        return image, None
    return np.where(finite, image, image.dtype.type(0)), finite.all(axis=0)


_DNA_NAME = re.compile(r"dna|dapi|hoechst|nucle(us|i|ar)|draq|h2b|sytox|\bpi\b", re.IGNORECASE)


def chosen_channels(present: tuple[str, ...], settings: ScreenSettings) -> tuple[str, ...]:
    """Return the channels that ``screen.channels`` names, all if it names none; upper and lower case are one.

    Raises
    ------
    GrapeOpsError : a name is not there.
    """
    by_name = {name.lower(): name for name in present}
    unknown = [name for name in settings.channels if name.lower() not in by_name]
    if unknown:
        raise GrapeOpsError(
            f"screen.channels names {', '.join(unknown)}; the screen has the channels {', '.join(present)}."
        )
    return tuple(by_name[name.lower()] for name in settings.channels) or present


def shows_nuclei(channel: str) -> bool:
    """Whether a channel shows nuclei, by its name."""
    return _DNA_NAME.search(channel) is not None
