"""Where a cell lies in its crop, what can be changed in it, how that is measured, and how much it differs naturally.

Every trait is measured on a scale on which changes add up (logarithms, Fisher's z), so one unit of a planted effect is
one standard deviation of the trait over the screen's own control cells: the same effect size means the same in
every screen. Legend: C channels, S crop size, T traits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from grape_ops.cells.averages import robust_sd

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


Kind = Literal["size", "elongation", "intensity", "texture", "foci", "radial", "correlation"]

TINY = 1e-6


@dataclass(frozen=True)
class Trait:
    """One trait: its kind, and the channel it is of.

    Attributes
    ----------
    name : for tables.
    kind : what is changed.
    channel : its channel; of two correlated ones, the one that is changed.
    other : the channel that it is correlated with.
    """

    name: str
    kind: Kind
    channel: int = -1
    other: int = -1


def list_traits(channels: Sequence[str], nuclear: int) -> tuple[Trait, ...]:
    """List the traits of cells with these channels, ``nuclear`` the one of the nucleus."""
    traits = [Trait("nucleus_size", "size"), Trait("nucleus_elongation", "elongation")]
    kinds: tuple[Kind, ...] = ("intensity", "texture", "foci", "radial")
    for kind in kinds:
        traits += [Trait(f"{name}_{kind}", kind, index) for index, name in enumerate(channels)]
    for first, second in combinations(range(len(channels)), 2):
        fixed, changed = (second, first) if second == nuclear else (first, second)
        name = f"{channels[fixed]}_{channels[changed]}_correlation"
        traits.append(Trait(name, "correlation", changed, fixed))
    return tuple(traits)


def region(anatomy: Anatomy, channel: int, nuclear: int) -> np.ndarray:
    """Where a channel's traits live: the nucleus for its own channel, the ground for the others: -> (S, S) bool."""
    return anatomy.nucleus if channel == nuclear else anatomy.ground


def fine_structure(signal: np.ndarray, radius: float) -> np.ndarray:
    """What is finer than a seventh of the nucleus' radius: (S, S) -> (S, S)."""
    return signal - ndimage.gaussian_filter(signal, radius / 7)


def bright_spots(signal: np.ndarray, radius: float) -> np.ndarray:
    """What stands out from its surroundings, by a white top-hat: (S, S) -> (S, S), 0 or more."""
    width = 2 * round(radius / 6) + 1
    return ndimage.white_tophat(signal, size=(width, width))


def outwardness(anatomy: Anatomy, where: np.ndarray) -> np.ndarray:
    """How far out each pixel of a region lies, from 0 in the middle to 1: -> (pixels,)."""
    depth = anatomy.depth[where]
    return depth / max(float(depth.max()), TINY)


def measure(signal: np.ndarray, anatomy: Anatomy, traits: Sequence[Trait], nuclear: int) -> np.ndarray:
    """Measure the traits of one cell: (C, S, S) light above background -> (T,)."""
    return np.array([_measure(signal, anatomy, trait, nuclear) for trait in traits])


def _measure(signal: np.ndarray, anatomy: Anatomy, trait: Trait, nuclear: int) -> float:
    if trait.kind == "size":
        return float(np.log(anatomy.radius**2))
    if trait.kind == "elongation":
        return float(np.log(anatomy.elongation))
    light = signal[trait.channel]
    if trait.kind == "correlation":
        pair = np.corrcoef(signal[trait.other][anatomy.ground], light[anatomy.ground])[0, 1]
        return float(np.arctanh(np.clip(np.nan_to_num(pair), -0.999, 0.999)))
    where = region(anatomy, trait.channel, nuclear)
    mean = max(float(light[where].mean()), TINY)
    if trait.kind == "intensity":
        return float(np.log(mean))
    if trait.kind == "texture":
        return float(np.log(max(float(fine_structure(light, anatomy.radius)[where].std()), TINY) / mean))
    if trait.kind == "foci":
        return float(np.log(max(float(bright_spots(light, anatomy.radius)[where].mean()), TINY) / mean))
    inner, outer = _halves(light[where], outwardness(anatomy, where))
    return float(np.log(inner / outer))


def _halves(light: np.ndarray, out: np.ndarray) -> tuple[float, float]:
    """Mean light of the inner and of the outer half of a region's pixels."""
    inner = out <= np.median(out)
    return max(float(light[inner].mean()), TINY), max(float(light[~inner].mean()) if (~inner).any() else 0.0, TINY)


def natural_spread(measured: np.ndarray, batch_codes: np.ndarray) -> np.ndarray:
    """Standard deviation of each trait over cells of one batch, outliers set aside: (n, T), (n,) -> (T,).

    Taken from the median absolute deviation, since a crop in a hundred shows debris.
    """
    centred = measured.astype(np.float64)
    for code in np.unique(batch_codes):
        own = batch_codes == code
        centred[own] -= np.median(centred[own], axis=0)
    return robust_sd(centred)
