"""Where the cell of a crop lies: its nucleus, and the ground around it that no other nucleus is nearer to.

Legend: S crop size.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

SMALLEST_NUCLEUS = 0.01  # share of the crop
REACH = 1.0  # how far the ground goes beyond the nucleus, in its radii


@dataclass(frozen=True)
class Anatomy:
    """The cell in the middle of a crop.

    Attributes
    ----------
    nucleus, ground : (S, S) bool; the ground holds the nucleus.
    depth : (S, S) float32, 0 in the middle of the nucleus, growing outwards; pixels.
    centre : y and x of the nucleus.
    radius : of a disk of the nucleus' area, in pixels.
    angle : of the nucleus' long axis to the x axis, in radians.
    elongation : long over short axis of the ellipse with the nucleus' second moments.
    """

    nucleus: np.ndarray
    ground: np.ndarray
    depth: np.ndarray
    centre: tuple[float, float]
    radius: float
    angle: float
    elongation: float


def find_anatomy(stain: np.ndarray) -> Anatomy | None:
    """Find the cell in the middle of a crop by its nuclear stain: (S, S); None if no whole nucleus is there."""
    size = len(stain)
    smooth = ndimage.gaussian_filter(stain.astype(np.float32), size / 68)
    if smooth.max() <= smooth.min():
        return None
    mask = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    inside = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask).astype(np.float32), size / 68)
    apart = max(2, size // 10)
    peaks = peak_local_max(inside, min_distance=apart, labels=ndimage.label(mask)[0], exclude_border=False)
    seeds = np.zeros(mask.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    nuclei = watershed(-inside, seeds, mask=mask)
    own = nuclei[size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1]
    if not own.all():
        return None
    return _describe(nuclei, int(np.bincount(own.ravel()).argmax()))


def _describe(nuclei: np.ndarray, label: int) -> Anatomy | None:
    nucleus = nuclei == label
    border = nucleus[0].any() or nucleus[-1].any() or nucleus[:, 0].any() or nucleus[:, -1].any()
    y, x = np.nonzero(nucleus)
    if border or len(y) < SMALLEST_NUCLEUS * nucleus.size:
        return None
    radius = float(np.sqrt(len(y) / np.pi))
    values, vectors = np.linalg.eigh(np.cov(np.stack([y, x])) + np.eye(2) / 12)
    outside = ndimage.distance_transform_edt(~nucleus)
    to_others = ndimage.distance_transform_edt(~((nuclei > 0) & ~nucleus)) if (nuclei > 0).sum() > len(y) else np.inf
    within = ndimage.distance_transform_edt(nucleus)
    ground = nucleus | ((outside <= REACH * radius) & (outside < to_others))
    return Anatomy(
        nucleus=nucleus,
        ground=ground,
        depth=(within.max() - within + outside).astype(np.float32),
        centre=(float(y.mean()), float(x.mean())),
        radius=radius,
        angle=float(np.arctan2(vectors[0, 1], vectors[1, 1])),
        elongation=float(np.sqrt(values[1] / values[0])),
    )
