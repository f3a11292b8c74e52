"""A few cells of a few wells, read before anything is computed: to measure nuclei, and to show crops as they will be.

Legend: N cells, C channels, S crop size.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crop_wells import fitting, to_store
from grape_ops.preprocess.crops import binned, corner, cut
from grape_ops.preprocess.flat_field import FlatField
from grape_ops.preprocess.intensity import Rescaling
from grape_ops.preprocess.ready_crops import wants_rescaling
from grape_ops.schema import IS_CONTROL, X, Y
from grape_ops.screen.screen import Screen, Window, read_window, tile_header
from grape_ops.screen.tile_pattern import TILE_KEY

WELLS, PER_KIND = 4, 4  # wells looked at, and control and other cells of each; more of fewer wells
MOST_WELLS, ENOUGH = 16, 24  # where wells hold few cells, more are looked at, until there are so many cells
REGION = 1024  # px of a tile that are read
CLEAR = 128  # px; cells this far from a region's border come first
_PIXEL_TYPE = "uint16"


@dataclass(frozen=True)
class SampledWell:
    """Some cells of a well and the pixels around them.

    Attributes
    ----------
    cells : (N,) rows of the cell table.
    pixels : (C, h, w), a region of a tile, or (N, C, H, W), ready crops.
    origin : first row and column of the region in its tile.
    scaling : as ``screen.crop_scaling``.
    """

    cells: pd.DataFrame
    pixels: np.ndarray
    origin: tuple[int, int]
    scaling: str

    @property
    def ready(self) -> bool:
        """Whether these are ready crops."""
        return self.pixels.ndim == 4

    def surroundings(self, channel: int, side: int) -> list[np.ndarray]:
        """Raw pixels of a channel around each cell: N times (side, side), or as much as was read."""
        if self.ready:
            return list(self.pixels[:, channel])
        side = min(side, *self.pixels.shape[1:])
        plane = np.pad(self.pixels[channel], side // 2, mode="reflect")
        return [plane[top : top + side, left : left + side] for top, left in (self._corners(side) + side // 2)]

    def crops(self, settings: PreprocessSettings) -> np.ndarray:
        """Crops as preprocessing would make them, but for the flat field, and with the sample's own percentiles.

        -> (N, C, S, S) in [0, 1].
        """
        shares = (settings.intensity.lower, settings.intensity.upper)
        if self.ready:
            rescaled = wants_rescaling(self.pixels, self.scaling)
            crops = fitting(self.pixels, settings.crop_size, settings.shrink, rescaled)
            scale = np.percentile(crops, shares, axis=(0, 2, 3)).T[None] if rescaled else None
            made = to_store(crops, scale, _PIXEL_TYPE)
        else:
            region = self.pixels.astype(np.float32)
            scaling = Rescaling.between(np.percentile(region, shares, axis=(1, 2)).T, _PIXEL_TYPE)
            shape, field = (region.shape[1], region.shape[2]), FlatField.none(len(region))
            made = cut(
                region, (0, 0), shape, self._corners(settings.cut_size), settings.cut_size, "reflect", field, scaling
            )
        return binned(made, settings.shrink) / np.iinfo(_PIXEL_TYPE).max

    def _corners(self, side: int) -> np.ndarray:
        places = (self.cells[axis].to_numpy(float) - start for axis, start in zip((Y, X), self.origin, strict=True))
        return np.stack([corner(centre, side) for centre in places], axis=1)


def sample_wells(screen: Screen) -> list[SampledWell]:
    """Read some control and some other cells of a few wells; wells that cannot be read are left out."""
    found: list[SampledWell] = []
    step = max(-(-len(screen.cells.wells) // WELLS), 1)
    wells = [*screen.cells.wells[::step], *(w for i, w in enumerate(screen.cells.wells) if i % step)]
    per_kind = max(PER_KIND, ENOUGH // (2 * max(len(wells), 1)))
    for number, place in enumerate(wells[:MOST_WELLS]):
        if number >= WELLS and sum(len(well.cells) for well in found) >= ENOUGH:
            break
        cells = screen.cells.of(*place)
        try:
            well = _ready(screen, cells, per_kind) if screen.read_crops else _region(screen, cells, per_kind)
        except GrapeOpsError:
            continue  # what cannot be read is told elsewhere
        if well is not None and len(well.cells) and well.pixels.size:
            found.append(well)
    return found


def _some(cells: pd.DataFrame, per_kind: int) -> pd.DataFrame:
    """Control and other cells, evenly over the table."""
    controls = cells[IS_CONTROL].to_numpy(bool)
    chosen = [np.flatnonzero(kind) for kind in (controls, ~controls)]
    rows = [kind[:: -(-len(kind) // per_kind)] for kind in chosen if len(kind)]
    return cells.iloc[np.concatenate(rows)] if rows else cells[:0]


def _ready(screen: Screen, cells: pd.DataFrame, per_kind: int) -> SampledWell:
    assert screen.read_crops is not None
    some = _some(cells, per_kind)
    return SampledWell(some, screen.read_crops(some), (0, 0), screen.crop_scaling)


def _region(screen: Screen, cells: pd.DataFrame, per_kind: int) -> SampledWell | None:
    """Read the surroundings of a control cell, or of any where there is none, with the cells that lie in them."""
    controls = cells[cells[IS_CONTROL].to_numpy(bool)]
    first = (controls if len(controls) else cells).iloc[len(controls if len(controls) else cells) // 2]
    listed = screen.tiles[(screen.tiles[TILE_KEY] == first[TILE_KEY].tolist()).all(axis=1)]
    if listed.empty:
        return None
    header = tile_header(screen.read_tile, listed.iloc[0])
    spans = []
    for centre, length in ((first[Y], header.height), (first[X], header.width)):
        if not 0 <= centre < length:
            return None
        start = min(max(int(centre) - REGION // 2, 0), max(length - REGION, 0))
        spans.append((start, min(REGION, length - start)))
    (top, height), (left, width) = spans
    own = cells[(cells[TILE_KEY] == first[TILE_KEY].tolist()).all(axis=1)]
    distance = np.minimum.reduce([own[Y] - top, top + height - 1 - own[Y], own[X] - left, left + width - 1 - own[X]])
    inside, clear = own[distance >= 0], own[distance >= CLEAR]
    pixels = read_window(screen.read_tile, listed.iloc[0], Window(top, left, height, width))
    return SampledWell(
        _some(clear if len(clear) >= 2 * per_kind else inside, per_kind), pixels, (top, left), screen.crop_scaling
    )
