"""A screen as every layout hands it over: tiles that are read on demand, and a cell table in our columns.

Two kinds there are. A screen of tiles has ``tiles`` and ``read_tile``; one of ready crops, cut by other
software, has ``read_crops``, and its ``tiles`` are empty.
Legend: C channels, H x W tile, N cells, S size of a crop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.screen.cell_parts import CellParts
from grape_ops.screen.quality import Tally

_ASKED = 8  # tiles, of which the first may be missing
# A row of the tile table -> (C, H, W). What a function as plain as this lacks, ``tile_header`` and
# ``read_window`` make up for by reading the whole tile.
TileReader = Callable[[pd.Series], np.ndarray]


class TileHeader(NamedTuple):
    """What the head of a tile's files says, before any pixel is read."""

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
    """A tile reader that can also read heads and windows; those of all layouts can."""

    def __call__(self, tile: pd.Series) -> np.ndarray:
        """Read the whole tile: -> (C, H, W)."""

    def header(self, tile: pd.Series) -> TileHeader:
        """Read the head of a tile's files, without its pixels."""

    def read(self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None) -> np.ndarray:
        """Read some channels (None: all) of a window (None: the whole tile): -> (c, h, w)."""


@runtime_checkable
class MeasuredReader(Protocol):
    """A tile reader whose files may tell how large a pixel is."""

    def pixel_size(self, tile: pd.Series) -> float | None:
        """Micrometres of a pixel, or None."""


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
        Empty if the table is too large to be held and lies in ``parts``; ``cells_of`` serves both.
    tiles : one row per tile that the cell table or the folder names: plate, well, tile (strings), `path`
        (missing files are listed too, so that they can be reported).
    read_tile : a row of ``tiles`` -> (channels, height, width) array of the file's own integer type; raises
        GrapeOpsError naming the file when it cannot be read. See ``WindowedReader`` for reading less.
    quality : what reading the tables met: how many cells, kept or dropped, by which setting.
    parts : the cell table in files, one a (plate, well), if it was asked to be kept there.
    corrected : whether the tiles are flat-fielded already.
    crop_scaling : as the setting ``screen.crop_scaling``.
    read_crops : rows of the cell table -> ready crops, if the screen has those in place of tiles.
    pixel_size : micrometres of a pixel, if the settings or the images tell.
    simulated : whether `grape-ops simulate` made it.
    """

    root: Path
    channels: tuple[str, ...]
    cells: pd.DataFrame
    tiles: pd.DataFrame
    read_tile: TileReader
    quality: tuple[Tally, ...] = ()
    parts: CellParts | None = None
    corrected: bool = False
    crop_scaling: str = "auto"
    read_crops: CropReader | None = None
    pixel_size: float | None = None
    simulated: bool = False

    @property
    def wells(self) -> list[tuple[str, str]]:
        """Every (plate, well) that has cells, sorted."""
        return (
            self.parts.wells if self.parts else sorted(set(zip(self.cells["plate"], self.cells["well"], strict=True)))
        )

    def cells_of(self, plate: str, well: str) -> pd.DataFrame:
        """Return the cells of one well, in the order of the table; only these are in memory if there are parts."""
        if self.parts:
            return self.parts.read(plate, well)
        own = (self.cells["plate"] == plate) & (self.cells["well"] == well)
        return self.cells[own].reset_index(drop=True)


def known_pixel_size(screen: Screen) -> float | None:
    """Ask the first tiles of a screen for the size of a pixel, in micrometres."""
    if not isinstance(screen.read_tile, MeasuredReader):
        return None
    sizes = (screen.read_tile.pixel_size(tile) for _, tile in screen.tiles.head(_ASKED).iterrows())
    return next((size for size in sizes if size), None)


def no_tiles() -> pd.DataFrame:
    """Return the list of tiles of a screen of ready crops."""
    return pd.DataFrame(columns=["plate", "well", "tile", "path"], dtype=object)


def no_tile(tile: pd.Series) -> np.ndarray:
    """Stand for the tile reader of a screen of ready crops."""
    raise GrapeOpsError("This screen has ready crops and no tiles.")


def tile_header(reader: TileReader, tile: pd.Series) -> TileHeader:
    """Read the head of a tile's files; of a plain function, the whole tile."""
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
