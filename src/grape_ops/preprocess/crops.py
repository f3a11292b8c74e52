"""Cutting crops out of a tile: corrected, rescaled, and whole at the tile's edge (section 3.2, steps 1 to 3).

Where a cell lies: its centre (y, x) belongs to the pixel floor(y + 0.5), floor(x + 0.5), and that pixel comes
to row and column S // 2 of the crop. An odd crop is centred on it; an even one reaches one pixel further up
and left than down and right.
Legend: N cells, C channels, H x W tile, S crop size.
"""

import numpy as np

from grape_ops.preprocess.illumination import FlatField
from grape_ops.preprocess.intensity import rescale


def corner(centre: np.ndarray, size: int) -> np.ndarray:
    """First row (or column) of the crop around each centre: (N,) float -> (N,) int64."""
    return np.floor(np.asarray(centre, dtype=np.float64) + 0.5).astype(np.int64) - size // 2


def outside(y: np.ndarray, x: np.ndarray, height: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Tell which centres lie in no pixel of their tile, unknown ones included: (N,) bool."""
    inside = (y >= -0.5) & (y < height - 0.5) & (x >= -0.5) & (x < width - 0.5)
    return ~inside  # the comparisons are false for NaN


def near_edge(
    y: np.ndarray, x: np.ndarray, height: np.ndarray, width: np.ndarray, size: int, margin: int | None
) -> np.ndarray:
    """Tell whose crop leaves the tile, or whose centre is closer to its edge than the margin: (N,) bool."""
    near = np.zeros(len(y), dtype=bool)
    for centre, length in ((y, height), (x, width)):
        first = corner(centre, size)
        near |= (first < 0) | (first + size > length)
        near |= np.minimum(centre, length - 1 - centre) < (margin or 0)
    return near


def cut(
    tile: np.ndarray,
    corners: np.ndarray,
    size: int,
    edge: str,
    field: FlatField,
    scale: np.ndarray,
    pixel_type: str,
) -> np.ndarray:
    """Cut crops out of one tile; each depends on its own window only.

    Parameters
    ----------
    tile : (C, H, W) raw pixels.
    corners : (N, 2) first row and column of each crop; may lie outside the tile.
    edge : "reflect" or "zero" says what is put where a crop leaves the tile; with "drop" none does.
    field : the tile's flat field.
    scale : (C, 2) the corrected values that become 0 and 1.

    Returns
    -------
    (N, C, S, S) of ``pixel_type``.
    """
    crops = np.empty((len(corners), len(tile), size, size), dtype=pixel_type)
    for crop, (top, left) in zip(crops, corners.tolist(), strict=True):
        rows, columns = np.arange(top, top + size), np.arange(left, left + size)
        inner_rows, inner_columns = _mirrored(rows, tile.shape[1]), _mirrored(columns, tile.shape[2])
        if inner_rows is rows and inner_columns is columns:
            pixels = tile[:, top : top + size, left : left + size]
        else:
            pixels = tile[:, inner_rows[:, None], inner_columns]
        crop[...] = rescale(pixels / field.at(inner_rows, inner_columns), scale[:, 0], scale[:, 1], pixel_type)
        if edge == "zero":
            crop[:, inner_rows != rows] = 0
            crop[:, :, inner_columns != columns] = 0
    return crops


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Reflect places beyond either end back in, the end pixels not repeated (numpy.pad's "reflect")."""
    if places[0] >= 0 and places[-1] < length:
        return places
    period = max(2 * (length - 1), 1)
    folded = places % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(places)
