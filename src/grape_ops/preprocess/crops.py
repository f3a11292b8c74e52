"""Cutting crops out of a tile: corrected, rescaled, and whole at the tile's edge (section 3.2, steps 1 to 3).

Where a cell lies: its centre (y, x) belongs to the pixel floor(y + 0.5), floor(x + 0.5), and that pixel comes
to row and column S // 2 of the crop. An odd crop is centred on it; an even one reaches one pixel further up
and left than down and right.
Legend: N cells, C channels, H x W tile, S crop size.

Shrunken crops are cut larger, rescaled, and then binned by their mean: a pixel of the crop is the mean of rescaled
pixels, so that the percentiles are those of the screen's own pixels whatever the factor.
"""

import numpy as np

from grape_ops.preprocess.flat_field import FlatField
from grape_ops.preprocess.intensity import Rescaling


def corner(centre: np.ndarray, size: int) -> np.ndarray:
    """First row (or column) of the crop around each centre: (N,) float -> (N,) int64."""
    return np.floor(np.asarray(centre, dtype=np.float64) + 0.5).astype(np.int64) - size // 2


def binned(crops: np.ndarray, factor: int) -> np.ndarray:
    """Average squares of pixels, rounded to the crops' integer type: (..., S * f, S * f) -> (..., S, S)."""
    if factor == 1:
        return crops
    *rest, height, width = crops.shape
    squares = crops.reshape(*rest, height // factor, factor, width // factor, factor)
    return np.rint(squares.mean(axis=(-3, -1))).astype(crops.dtype)


def outside(y: np.ndarray, x: np.ndarray, height: np.ndarray | int, width: np.ndarray | int) -> np.ndarray:
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
    window: np.ndarray,
    origin: tuple[int, int],
    shape: tuple[int, int],
    corners: np.ndarray,
    size: int,
    edge: str,
    field: FlatField,
    scaling: Rescaling,
) -> np.ndarray:
    """Cut crops out of one window of a tile; each depends on its own pixels only.

    Parameters
    ----------
    window : (C, h, w) raw pixels, all that ``reach`` of the corners names.
    origin : first row and column of the window in its tile.
    shape : H and W of the tile.
    corners : (N, 2) first row and column of each crop in the tile; may lie outside.
    edge : "reflect" or "zero" says what is put where a crop leaves the tile; with "drop" none does.
    field : the tile's flat field.
    scaling : from corrected to stored values.

    Returns
    -------
    (N, C, S, S) of the scaling's pixel type.
    """
    crops = np.empty((len(corners), len(window), size, size), dtype=scaling.pixel_type)
    down, across = field.along(*(start + np.arange(n) for start, n in zip(origin, window.shape[1:], strict=True)))
    for crop, (top, left) in zip(crops, corners.tolist(), strict=True):
        lines, places = np.arange(top, top + size), np.arange(left, left + size)
        inner_lines, inner_places = _mirrored(lines, shape[0]), _mirrored(places, shape[1])
        rows, columns = _span(inner_lines, origin[0]), _span(inner_places, origin[1])
        # Few passes over pixels that stay in the processor's cache.
        pixels = scaling(np.divide(window[:, rows, columns], field.patch(down, across, rows, columns)))
        if inner_lines is lines and inner_places is places:
            crop[...] = pixels
            continue
        crop[...] = pixels[:, inner_lines[:, None] - inner_lines.min(), inner_places - inner_places.min()]
        if edge == "zero":
            crop[:, inner_lines != lines] = 0
            crop[:, :, inner_places != places] = 0
    return crops


def reach(corners: np.ndarray, size: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part of a tile (H, W) that these crops need, mirrored edges included."""
    spans = []
    for starts, length in zip(corners.T, shape, strict=True):
        ends = [_mirrored(np.arange(start, start + size), length) for start in (starts.min(), starts.max())]
        first = min(int(end.min()) for end in ends)
        spans.append((first, max(int(end.max()) for end in ends) + 1 - first))
    (top, height), (left, width) = spans
    return top, left, height, width


def _span(places: np.ndarray, origin: int) -> slice:
    return slice(int(places.min()) - origin, int(places.max()) + 1 - origin)


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Reflect places beyond either end back in, the end pixels not repeated (numpy.pad's "reflect")."""
    if places[0] >= 0 and places[-1] < length:
        return places
    period = max(2 * (length - 1), 1)
    folded = places % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(places)
