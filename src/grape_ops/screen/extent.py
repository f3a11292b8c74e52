"""How far the cells' centres reach in their tiles: centres in micrometres all lie near one corner."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from grape_ops.schema import X, Y
from grape_ops.screen.screen import TileHeader

_ENOUGH = 50  # cells; anywhere in their tiles, so many do not lie in one quarter of them by chance
_HALF, _FITS = 0.5, (0.75, 1.02)  # of a tile


@dataclass
class Extent:
    """What tiles of known size show.

    Attributes
    ----------
    cells : that lie in them.
    reach : largest share of a tile's height and width that centres reach.
    centre, size : the largest y and x, and the height and width of the tile that the reach is of.
    """

    cells: int = 0
    reach: np.ndarray = field(default_factory=lambda: np.zeros(2))
    centre: np.ndarray = field(default_factory=lambda: np.zeros(2))
    size: np.ndarray = field(default_factory=lambda: np.ones(2))

    def take(self, cells: pd.DataFrame, head: TileHeader) -> None:
        """Add the cells of a tile."""
        centres, size = cells[[Y, X]].to_numpy(float), np.array([head.height, head.width])
        centres = centres[np.isfinite(centres).all(axis=1)]
        if len(centres):
            self.cells += len(centres)
            top = centres.max(axis=0)
            farther = top / size > self.reach
            self.centre, self.size = np.where(farther, top, self.centre), np.where(farther, size, self.size)
            self.reach = np.maximum(self.reach, top / size)

    def doubts(self, pixel_size: float | None) -> list[str]:
        """Say that the centres seem to be in another unit than pixels, if they do."""
        if self.cells < _ENOUGH or (self.reach >= _HALF).any():
            return []
        (y, x), (height, width) = self.centre, self.size.astype(int)
        fits = pixel_size and ((_FITS[0] <= self.reach / pixel_size) & (self.reach / pixel_size <= _FITS[1])).all()
        mend = (
            f"divided by the size of a pixel ({pixel_size:.4g} µm) they reach {y / pixel_size:,.0f} and "
            f"{x / pixel_size:,.0f}, as far as the tiles do"
            if pixel_size and fits
            else "divide them by the size of a pixel, or multiply them by the binning"
        )
        return [
            f"The centres of {self.cells:,} cells reach no further than y {y:,.1f} and x {x:,.1f}, in tiles of "
            f"{height:,} x {width:,} pixels: are they in micrometres, or in pixels of binned images, or are y and x "
            f"other columns (screen.columns)? Centres count in tile pixels: {mend}."
        ]
