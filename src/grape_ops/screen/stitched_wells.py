"""In which pixels the cells of a well of the OPS Data Standard lie: those of its tiles, or of the image made of them.

This is decided well by well, over the whole table: wells with images of their tiles may stand beside merged ones, and
in a merged well the tile that bears the image's name is a tile like the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import TILE, X, Y

GLOBAL = ("global_y", "global_x")
BOX = "bounding_box"
_JUDGED = 1000  # cells of a well and a stretch of the table, whose bounding boxes are looked at
_LEAST_CELLS, _ALIKE = 5, 1.5  # of a tile that is compared; how far all tiles together reach, in the reach of one

Well = tuple[str, str, str]  # plate, row, column


@dataclass
class Frame:
    """What the cells of a well with one image tell.

    Attributes
    ----------
    near : cells whose centre (y, x), and (global_y, global_x), lies nearer to the middle of the bounding box.
    low, high, count : of each tile, the least and largest of y, x, global_y and global_x, and the number of cells.
    has_global : whether there are global centres.
    """

    near: list[int] = field(default_factory=lambda: [0, 0])
    low: pd.DataFrame = field(default_factory=pd.DataFrame)
    high: pd.DataFrame = field(default_factory=pd.DataFrame)
    count: pd.Series = field(default_factory=lambda: pd.Series(dtype=int))
    has_global: bool = False

    def add(self, cells: pd.DataFrame) -> None:
        """Take a stretch of the well's cells."""
        self.has_global = set(GLOBAL) <= set(cells)
        centres = (
            cells[[Y, X, *(GLOBAL if self.has_global else ())]].apply(pd.to_numeric, errors="coerce").astype(float)
        )
        if self.has_global and BOX in cells:
            middle, some = _middles(cells[BOX].iloc[:_JUDGED]), centres.to_numpy()[:_JUDGED]
            own, other = (np.abs(middle - some[:, place : place + 2]).sum(axis=1) for place in (0, 2))
            self.near[0] += int((own < other).sum())
            self.near[1] += int((other < own).sum())
        tiles = centres.groupby(cells[TILE].astype(str).to_numpy() if TILE in cells else np.full(len(cells), ""))
        self.low = pd.concat([self.low, tiles.min()]).groupby(level=0).min()
        self.high = pd.concat([self.high, tiles.max()]).groupby(level=0).max()
        self.count = pd.concat([self.count, tiles.size()]).groupby(level=0).sum()

    def is_global(self, image: str) -> bool:
        """Whether the global centres are in the pixels of the well's one image.

        The bounding box is in the pixels of the image, so the centres that lie nearer to its middle are the ones.
        Without one the global centres are, where cells name other tiles than the image.
        """
        if sum(self.near):
            return self.near[1] > self.near[0]
        return self.has_global and any(not same_field(str(tile), image) for tile in self.count.index)

    def in_tiles(self, image: str) -> bool:
        """Whether the centres lie within tiles: each tile's reach over the same pixels, which no stitched tiles do."""
        centres = list(GLOBAL if self.is_global(image) else (Y, X))
        known = self.count >= _LEAST_CELLS
        if known.sum() < 2:
            return False
        low, high = self.low.loc[known, centres], self.high.loc[known, centres]
        return bool((high.max() - low.min() <= _ALIKE * (high - low).max()).all())


def judge_frames(
    stretches: Iterator[tuple[pd.DataFrame, pd.Series]], images: Mapping[Well, tuple[str, ...]]
) -> dict[Well, bool]:
    """Tell of each well with one image whether its global centres are meant.

    Parameters
    ----------
    stretches : rows of the table, and the well of each as ``images`` names it.
    images : names of the images of each well.

    Raises
    ------
    GrapeOpsError : centres lie within tiles, of which there is no image.
    """
    frames: dict[Well, Frame] = {}
    for table, wells in stretches:
        for well, cells in table.groupby(wells, sort=False):
            if len(images.get(well, ())) == 1:
                frames.setdefault(well, Frame()).add(cells)
    for well, frame in frames.items():
        image = images[well][0]
        if frame.in_tiles(image):
            where = f"plate {well[0]}, well {well[1]}{well[2]}" if well[0] else f"well {well[1]}{well[2]}"
            raise GrapeOpsError(
                f"The cells of {where} name {len(frame.count)} tiles, and the well has one image ({image}); every "
                "tile's centres go over the same pixels, as those within tiles do, so they are not in the pixels of "
                f"the image. Add the centres in its pixels as {', '.join(GLOBAL)}, or the images of the tiles."
            )
    return {well: frame.is_global(images[well][0]) for well, frame in frames.items()}


def same_field(tile: str, image: str) -> bool:
    """Whether a table's tile is an image of that name, which may be padded with zeros."""
    return tile == image or (tile.isdigit() and image.isdigit() and int(tile) == int(image))


def _middles(boxes: pd.Series) -> np.ndarray:
    """Read the middles of bounding boxes "(y0, x0, y1, x1)": (N, 2), unknown where there is none."""
    corners = boxes.astype(str).str.extractall(r"(-?\d+\.?\d*)")[0].unstack().astype(float).reindex(boxes.index)
    if corners.shape[1] != 4:
        return np.full((len(boxes), 2), np.nan)
    return np.stack([(corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2], axis=1)
