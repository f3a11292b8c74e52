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
    spans : of each tile, cells and least and largest y and x: in (y, x), and in the global ones.
    has_global : whether there are global centres.
    """

    near: list[int] = field(default_factory=lambda: [0, 0])
    spans: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    has_global: bool = False

    def add(self, cells: pd.DataFrame) -> None:
        """Take a stretch of the well's cells."""
        own = cells[[Y, X]].to_numpy(float)
        self.has_global = set(GLOBAL) <= set(cells)
        other = cells[[*GLOBAL]].to_numpy(float) if self.has_global else own
        if self.has_global and BOX in cells:
            middle = _middles(cells[BOX].iloc[:_JUDGED])
            gaps = [np.abs(middle - centres[:_JUDGED]).sum(axis=1) for centres in (own, other)]
            self.near[0] += int((gaps[0] < gaps[1]).sum())
            self.near[1] += int((gaps[1] < gaps[0]).sum())
        tiles = cells[TILE].astype(str).to_numpy() if TILE in cells else np.full(len(cells), "")
        for tile in np.unique(tiles):
            found = tuple(_span(centres[tiles == tile]) for centres in (own, other))
            before = self.spans.get(tile)
            self.spans[tile] = (found[0], found[1]) if before is None else _joined(before, (found[0], found[1]))

    def is_global(self, image: str) -> bool:
        """Whether the global centres are in the pixels of the well's one image.

        The bounding box is in the pixels of the image, so the centres that lie nearer to its middle are the ones.
        Without one the global centres are, where cells name other tiles than the image.
        """
        if sum(self.near):
            return self.near[1] > self.near[0]
        return self.has_global and any(not same_field(tile, image) for tile in self.spans)

    def in_tiles(self, image: str) -> bool:
        """Whether the centres lie within tiles: each tile's reach over the same pixels, which no stitched tiles do."""
        spans = [pair[self.is_global(image)] for pair in self.spans.values()]
        spans = [span for span in spans if span[0] >= _LEAST_CELLS]
        if len(spans) < 2:
            return False
        all_of = np.array(spans)
        reach = (all_of[:, [2, 4]] - all_of[:, [1, 3]]).max(axis=0)
        together = all_of[:, [2, 4]].max(axis=0) - all_of[:, [1, 3]].min(axis=0)
        return bool((together <= _ALIKE * reach).all())


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
                f"The cells of {where} name {len(frame.spans)} tiles, and the well has one image ({image}); every "
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


def _span(centres: np.ndarray) -> np.ndarray:
    """Cells, least and largest y, least and largest x: (N, 2) -> (5,)."""
    known = centres[np.isfinite(centres).all(axis=1)]
    low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.full(2, np.inf), np.full(2, -np.inf))
    return np.array([len(known), low[0], high[0], low[1], high[1]])


def _joined(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    first, second = (
        np.array([a[0] + b[0], min(a[1], b[1]), max(a[2], b[2]), min(a[3], b[3]), max(a[4], b[4])])
        for a, b in zip(before, after, strict=True)
    )
    return first, second
