"""What restyling should leave alone: where a cell lies, how it is turned, and what surrounds it.

Structure is compared after a low pass, under which a change of texture vanishes and a cell that moved, turned or lost
a neighbour does not. Every number stands beside what two unrelated cells reach. Letters: n cells, C channels, H crop
size.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

LOW_PASS = 1 / 16  # of the crop: structures smaller than this are style
ELONGATED = 1.2  # ratio of a nucleus' axes from which on its direction is defined

FindRegions = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ContentAgreement:
    """Agreement of cells before and after, averaged over cells; NaN where nothing could be compared.

    Attributes
    ----------
    structure : correlation of the low-passed crops, averaged over channels.
    surroundings : the same outside the cell in the middle.
    nucleus_shift : distance between the nuclei's centroids, px.
    nucleus_turn : angle between the nuclei's long axes, degrees (45 by chance).
    nuclei_lost : share of cells whose nucleus is found before and not after.
    """

    structure: float
    surroundings: float
    nucleus_shift: float
    nucleus_turn: float
    nuclei_lost: float

    def named(self, suffix: str = "") -> dict[str, float]:
        """As columns of a table."""
        return {name + suffix: value for name, value in asdict(self).items()}


def compare_content(before: np.ndarray, after: np.ndarray, find: FindRegions) -> ContentAgreement:
    """Compare cells with what became of them.

    Parameters
    ----------
    before, after : (n, C, H, H) pixels, the same cells in the same order.
    find : crops (n, C, H, H) -> (n, 2, H, H) bool, nucleus and body of the cell in the middle.
    """
    masks = find(before)
    return _compare(before, after, masks, find(after))


def unrelated_content(cells: np.ndarray, find: FindRegions) -> ContentAgreement:
    """The same numbers for each cell and the next one: what nothing in common gives; two cells at least."""
    masks = find(cells)
    return _compare(cells, np.roll(cells, 1, axis=0), masks, np.roll(masks, 1, axis=0))


def _compare(before: np.ndarray, after: np.ndarray, masks: np.ndarray, masks_after: np.ndarray) -> ContentAgreement:
    smooth, smooth_after = low_pass(before), low_pass(after)
    everywhere = np.ones_like(masks[:, 1])
    found, still = masks[:, 0].any(axis=(1, 2)), masks_after[:, 0].any(axis=(1, 2))
    both = found & still
    centre, axis, ratio = nucleus_shape(masks[both, 0])
    centre_after, axis_after, ratio_after = nucleus_shape(masks_after[both, 0])
    long = (ratio > ELONGATED) & (ratio_after > ELONGATED)
    turn = np.abs(axis - axis_after)[long] % 180
    return ContentAgreement(
        structure=_mean(correlation(smooth, smooth_after, everywhere)),
        surroundings=_mean(correlation(smooth, smooth_after, ~(masks[:, 1] | masks_after[:, 1]))),
        nucleus_shift=_mean(np.linalg.norm(centre - centre_after, axis=1)),
        nucleus_turn=_mean(np.minimum(turn, 180 - turn)),
        nuclei_lost=float((found & ~still).sum() / found.sum()) if found.any() else float("nan"),
    )


def low_pass(crops: np.ndarray) -> np.ndarray:
    """Blur crops: (n, C, H, H) -> (n, C, H, H) float32."""
    sigma = LOW_PASS * crops.shape[-1]
    return ndimage.gaussian_filter(crops.astype(np.float32), (0, 0, sigma, sigma))


def correlation(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Pearson correlation over some pixels: (n, C, H, H) twice, (n, H, H) bool -> (n, C); NaN where one is flat."""
    weight = where[:, None].astype(np.float64)
    count = np.maximum(weight.sum(axis=(2, 3)), 1)

    def centred(part: np.ndarray) -> np.ndarray:
        return (part - ((part * weight).sum(axis=(2, 3)) / count)[:, :, None, None]) * weight

    a, b = centred(first), centred(second)
    size = np.sqrt((a**2).sum(axis=(2, 3)) * (b**2).sum(axis=(2, 3)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, (a * b).sum(axis=(2, 3)) / size, np.nan)


def nucleus_shape(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centroids, directions in degrees, and ratios of axes: (n, H, H) bool, none empty -> (n, 2), (n,), (n,)."""
    rows, columns = np.mgrid[: masks.shape[1], : masks.shape[2]]
    area = masks.sum(axis=(1, 2))
    centre = np.stack([(masks * part).sum(axis=(1, 2)) / area for part in (rows, columns)], axis=1)
    dy, dx = (part - centre[:, axis, None, None] for axis, part in enumerate((rows, columns)))
    yy, xx, yx = ((masks * part).sum(axis=(1, 2)) / area for part in (dy * dy, dx * dx, dy * dx))
    spread = np.sqrt((yy - xx) ** 2 + 4 * yx**2)
    ratio = np.sqrt((yy + xx + spread) / np.maximum(yy + xx - spread, 1e-9))
    return centre, np.degrees(0.5 * np.arctan2(2 * yx, yy - xx)), ratio


def _mean(values: np.ndarray) -> float:
    found = values[np.isfinite(values)]
    return float(found.mean()) if len(found) else float("nan")
