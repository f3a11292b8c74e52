"""Retrospective flat-field correction (section 3.2, step 1; Lindblad & Bengtsson 2001).

The rule is the one the field's pipelines share: the mean over all tiles of a group, a median filter with a
disk whose area is a twentieth of the tile, divided by its 2nd percentile, never below 1; images are divided
by it. A median over a disk of hundreds of pixels is smooth, so it is evaluated on a grid of a few steps per
radius and interpolated between.
Legend: C channels, H x W tile, h x w lattice of pixels, a x b grid.
"""

from collections.abc import Callable

import numpy as np
from scipy import fft, ndimage

from grape_ops.preprocess.flat_field import FlatField

ROUGH_LEVELS, LEVELS = 16, 48
ROUGH_RADIUS = 15
# Larger disks hold enough pixels when only every second, third ... one is taken.
LATTICE_RADIUS, COMPARED_RADIUS = 60, 20
DiskSums = Callable[[np.ndarray], np.ndarray]


def median_radius(height: int, width: int) -> int:
    """Radius of the disk whose area is a twentieth of the tile."""
    return int(np.sqrt(height * width / (20 * np.pi)))


def lattice(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that the mean is taken of; all of them unless the tile is large."""
    stride = max(1, median_radius(height, width) // LATTICE_RADIUS)
    return slice(stride // 2, None, stride), slice(stride // 2, None, stride)


def mean_of_present(total: np.ndarray, tiles: int, missing: np.ndarray | None) -> np.ndarray | None:
    """Divide the sum of some tiles by how many have each pixel: (C, h, w) -> (C, h, w); None if no pixel is there.

    Parameters
    ----------
    missing : (h, w) how many of the tiles lack a pixel, which counts as 0 in their sum; None if none does. A pixel
        that all lack is given the value of the nearest one that is there.
    """
    if missing is None:
        return np.asarray(total / tiles)
    seen = tiles - missing.astype(np.int64)
    if not seen.any():
        return None
    nearest = ndimage.distance_transform_edt(seen == 0, return_distances=False, return_indices=True)
    return np.asarray((total / np.maximum(seen, 1))[:, *nearest])


def estimate_field(
    mean: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray] | None,
    shape: tuple[int, int],
    percentile: float,
    steps_per_radius: int,
    min_agreement: float,
) -> FlatField:
    """Estimate a field from the mean tile.

    Parameters
    ----------
    mean : (C, h, w) mean of the tiles, at the pixels of ``lattice``.
    halves : the same over two halves of the tiles, or None if there is but one tile.
    shape : H and W of a tile.
    percentile : robust minimum that the field is divided by.
    steps_per_radius : nodes of the grid along a radius.
    min_agreement : a channel whose halves agree less than this is left alone: below a half, the estimate is
        expected to be further from the truth than no correction is.
    """
    stride = lattice(*shape)[0].step
    radius = median_radius(*shape) / stride
    step = max(1, int(radius / steps_per_radius))
    # Two halves are compared roughly.
    sparse = max(1, int(radius / COMPARED_RADIUS))
    coarse = max(1, int(radius / sparse / 5))
    fields, agreements = [], []
    # The last blocks of a row or column may be smaller, and must not count as whole ones.
    sizes = [np.bincount(np.arange(n) // step) for n in mean.shape[1:]]
    size_of_block = np.outer(*sizes).astype(np.float64)
    for channel, picture in enumerate(mean):
        median = local_median(picture, radius, step)
        floor = np.quantile(median, percentile / 100, weights=size_of_block, method="inverted_cdf")
        rough = [half[channel, sparse // 2 :: sparse, sparse // 2 :: sparse] for half in halves or ()]
        medians = [local_median(half, radius / sparse, coarse) for half in rough]
        agreement = _agreement(*medians) if medians else 0.0
        trusted = agreement >= min_agreement and floor > 0
        fields.append(np.maximum(median / floor, 1) if trusted else np.ones_like(median))
        agreements.append(agreement)
    rows, columns = (stride // 2 + stride * _block_means(np.arange(n), step) for n in mean.shape[1:])
    return FlatField(np.stack(fields).astype(np.float32), rows, columns, np.array(agreements))


def local_median(image: np.ndarray, radius: float, step: int) -> np.ndarray:
    """Median over a disk around every ``step``-th pixel: (h, w) -> (a, b). At the rim the disk is cut off.

    Each block of pixels is counted by levels of brightness. The share of pixels under the disk that are
    darker than a level is then one convolution of a small picture, and the median lies where it crosses a
    half: first between rough levels of every few pixels, then between fine ones over the range of what that gave.
    """
    shape = tuple(-(-n // step) for n in image.shape)
    under_disk = _disk_sums(radius / step, shape)
    lowest, highest = float(image.min()), float(image.max())
    if lowest == highest:
        return np.full(shape, lowest)

    def crossing(picture: np.ndarray, step: int, under_disk: DiskSums, levels: np.ndarray) -> np.ndarray:
        counts = _counts_up_to(levels, picture, step)
        darker = under_disk(counts[:-1])
        darker /= np.maximum(under_disk(counts[-1]), 1e-9)
        upper = np.clip((darker < 0.5).sum(axis=0), 1, len(levels) - 1)
        below, above = (np.take_along_axis(darker, k[None], axis=0)[0] for k in (upper - 1, upper))
        share = np.clip((0.5 - below) / np.maximum(above - below, 1e-9), 0, 1)
        return levels[upper - 1] + share * (levels[upper] - levels[upper - 1])

    thin = max(1, int(radius / ROUGH_RADIUS))
    sparse = image[::thin, ::thin]
    rough_step = max(1, int(radius / thin / 4))
    rough_shape = tuple(-(-n // rough_step) for n in sparse.shape)
    levels = np.unique([lowest, *np.quantile(sparse, np.linspace(0, 1, ROUGH_LEVELS)), highest])
    rough = crossing(sparse, rough_step, _disk_sums(radius / thin / rough_step, rough_shape), levels)
    # One rough level further on either side, since few pixels were looked at.
    first, last = np.searchsorted(levels, [rough.min(), rough.max()])
    first, last = max(first - 2, 0), min(last + 1, len(levels) - 1)
    return crossing(image, step, under_disk, np.linspace(levels[first], levels[last], LEVELS))


def _counts_up_to(levels: np.ndarray, image: np.ndarray, step: int) -> np.ndarray:
    """Count the pixels of each block that do not exceed each level, and last all: (L,), (h, w) -> (L + 1, a, b)."""
    rows, columns = (np.arange(n) // step for n in image.shape)
    shape = (len(levels) + 1, rows[-1] + 1, columns[-1] + 1)
    block = (rows[:, None] * shape[2] + columns).astype(np.int32)
    place = np.searchsorted(levels, image.ravel()).astype(np.int32)
    place *= np.int32(shape[1] * shape[2])
    place += block.ravel()
    counts = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
    for level in range(1, len(counts)):  # in place: a copy would be as large as many tiles
        counts[level] += counts[level - 1]
    return counts.astype(np.float32)


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    if min(first.min(), second.min()) <= 0:
        return 0.0
    a, b = (np.log(half) - np.log(half).mean() for half in (first, second))
    signal = max(float((a * b).mean()), 0.0)
    noise = float(((a - b) ** 2).mean()) / 4  # variance of the mean of the two halves
    # Two halves without any structure agree on a flat field.
    return signal / (signal + noise) if signal + noise > 0 else 1.0


def _block_means(values: np.ndarray, step: int) -> np.ndarray:
    starts = np.arange(0, len(values), step)
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])


def _disk_sums(radius: float, shape: tuple[int, ...]) -> DiskSums:
    """Make a function that sums pictures of this shape over a disk around each of their pixels."""
    disk = _soft_disk(radius).astype(np.float32)
    half = len(disk) // 2
    padded = tuple(fft.next_fast_len(n + 2 * half, real=True) for n in shape)
    transform = fft.rfft2(disk, padded)

    def sums(pictures: np.ndarray) -> np.ndarray:
        sums = np.empty((*pictures.shape[:-2], *shape), np.float32)
        for picture, there in zip(pictures.reshape(-1, *shape), sums.reshape(-1, *shape), strict=True):
            spread = fft.rfft2(picture, padded)
            spread *= transform
            there[...] = fft.irfft2(spread, padded)[half : half + shape[0], half : half + shape[1]]
        return sums

    return sums


def _soft_disk(radius: float, fine: int = 8) -> np.ndarray:
    # Blocks that the disk's edge crosses count by the share that lies inside.
    half = int(np.ceil(radius))
    places = (np.arange((2 * half + 1) * fine) + 0.5) / fine - 0.5 - half
    inside = places[:, None] ** 2 + places**2 <= radius**2
    return inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean(axis=(1, 3))
