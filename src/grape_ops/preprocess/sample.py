"""A few cells of a few wells, read before anything is computed: to measure nuclei, and to show crops as they will be.

Legend: N cells, C channels, S crop size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
from grape_ops.screen.screen import Screen
from grape_ops.screen.surroundings import surroundings
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
    there : (h, w) bool of a region, false in absent chunks and where a channel is NaN or infinite.
    """

    cells: pd.DataFrame
    pixels: np.ndarray
    origin: tuple[int, int]
    scaling: str
    there: np.ndarray | None = None

    @property
    def ready(self) -> bool:
        """Whether these are ready crops."""
        return self.pixels.ndim == 4

    def covered(self, side: int) -> np.ndarray:
        """Tell which cells have no absent pixel in a square around them: (N,) bool."""
        if self.there is None or self.there.all():
            return np.ones(len(self.cells), bool)
        return np.array([square.all() for square in self._squares(self.there, side)], bool)

    def surroundings(self, channel: int, side: int) -> list[np.ndarray]:
        """Raw pixels of a channel around each covered cell: (side, side) each, or as much as was read."""
        if self.ready:
            return list(self.pixels[:, channel])
        covered = self.covered(side).tolist()
        return [
            square for square, whole in zip(self._squares(self.pixels[channel], side), covered, strict=True) if whole
        ]

    def _squares(self, plane: np.ndarray, side: int) -> Iterator[np.ndarray]:
        side = min(side, *plane.shape)
        padded = np.pad(plane, side // 2, mode="reflect")
        return (padded[top : top + side, left : left + side] for top, left in self._corners(side) + side // 2)

    def crops(self, settings: PreprocessSettings) -> np.ndarray:
        """Crops as preprocessing would make them, but for the flat field, and with the sample's own percentiles.

        -> (N, C, S, S) in [0, 1]; those of cells that are not covered show absent pixels as black.
        """
        shares = (settings.intensity.lower, settings.intensity.upper)
        if self.ready:
            rescaled = wants_rescaling(self.pixels, self.scaling)
            crops = fitting(self.pixels, settings.crop_size, settings.shrink, rescaled)
            scale = np.percentile(crops, shares, axis=(0, 2, 3)).T[None] if rescaled else None
            made = to_store(crops, scale, _PIXEL_TYPE)
        else:
            region = self.pixels.astype(np.float32)
            present = region.reshape(len(region), -1) if self.there is None else region[:, self.there]
            scaling = Rescaling.between(np.percentile(present, shares, axis=1).T, _PIXEL_TYPE)
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
    crops = screen.read_crops(some)
    whole = np.isfinite(crops).all(axis=(1, 2, 3))
    return SampledWell(some[whole], crops[whole], (0, 0), screen.crop_scaling)


def _region(screen: Screen, cells: pd.DataFrame, per_kind: int) -> SampledWell | None:
    """Read the surroundings of a control cell, or of any where there is none, with the cells that lie in them."""
    controls = cells[cells[IS_CONTROL].to_numpy(bool)]
    first = (controls if len(controls) else cells).iloc[len(controls if len(controls) else cells) // 2]
    found = surroundings(screen, first, REGION)
    if found is None:
        return None
    own = cells[(cells[TILE_KEY] == first[TILE_KEY].tolist()).all(axis=1)]
    (top, left), (height, width) = found.origin, found.there.shape
    distance = np.minimum.reduce([own[Y] - top, top + height - 1 - own[Y], own[X] - left, left + width - 1 - own[X]])
    inside, clear = (
        SampledWell(own[distance >= margin], found.pixels, found.origin, screen.crop_scaling, found.there)
        for margin in (0, CLEAR)
    )
    near, far = inside.cells[inside.covered(1)], clear.cells[clear.covered(2 * CLEAR)]
    return replace(inside, cells=_some(far if len(far) >= 2 * per_kind else near, per_kind))
