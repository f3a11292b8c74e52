"""Rescaling between two percentiles to [0, 1], stored as integers (section 3.2, step 2).

Percentiles are taken of the corrected pixels of a whole group of tiles. They come from histograms so fine
that they agree with sorting all pixels, and that add up over tiles in any order; very large groups are
counted on a lattice of pixels whose phase moves from tile to tile.
Legend: C channels, H x W tile.
"""

import numpy as np

BINS = 1 << 20  # 16 bins a grey level of a uint16 image
# Pixels of a channel that are counted before a group is thinned out. The 99.9th percentile then rests on
# 17,000 pixels above it, and lies within 0.001 of the range of where all pixels put it.
COUNTED = 1 << 24


def count_stride(pixels: int) -> int:
    """Distance of the counted pixels, in a group with so many pixels in a channel."""
    return max(1, int(np.sqrt(pixels / COUNTED)))


def counted(position: int, stride: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that are counted of the tile at a position of its group."""
    # Steps of the golden ratio visit all phases evenly.
    row, column = divmod(position * 0x9E3779B1 % (stride * stride), stride)
    return np.arange(row, height, stride), np.arange(column, width, stride)


def histogram(pixels: np.ndarray, limit: int) -> np.ndarray:
    """Count corrected pixels between 0 and ``limit``: (C, m, n) float32 -> (C, BINS) int64."""
    counts = np.zeros((len(pixels), BINS), dtype=np.int64)
    count_into(counts, pixels, limit)
    return counts


def count_into(counts: np.ndarray, pixels: np.ndarray, limit: int) -> None:
    """Add corrected pixels to a histogram: (C, BINS) and (C, m, n)."""
    places = (pixels.reshape(len(pixels), -1) * np.float32(BINS / (limit + 1))).astype(np.int64)
    for channel, bins in zip(counts, places, strict=True):
        if len(bins) < BINS // 8:  # few pixels: going through all the bins would take longer
            np.add.at(channel, bins, 1)
        else:
            channel += np.bincount(bins, minlength=BINS)


def percentiles(counts: np.ndarray, limit: int, shares: tuple[float, float]) -> np.ndarray:
    """Percentiles of the counted pixels by linear interpolation, as numpy's: (C, BINS) -> (C, 2) float32."""
    sums = np.cumsum(counts, axis=1)
    found = np.empty((len(counts), len(shares)))
    for channel, below in enumerate(sums):
        place = np.array(shares) / 100 * (below[-1] - 1)
        lower = np.searchsorted(below, np.floor(place), side="right")
        upper = np.searchsorted(below, np.ceil(place), side="right")
        found[channel] = lower + (upper - lower) * (place % 1)
    return (found * ((limit + 1) / BINS)).astype(np.float32)


def rescale(pixels: np.ndarray, low: np.ndarray, high: np.ndarray, pixel_type: str) -> np.ndarray:
    """Map [low, high] to the whole range of the integer type, and clip: (C, m, n), (C,), (C,) -> (C, m, n)."""
    pixel_max = np.iinfo(pixel_type).max
    # A channel without any contrast has an empty range; it becomes black instead of noise.
    gain = np.where(high > low, pixel_max / np.maximum(high - low, 1e-9), 0).astype(np.float32)
    scaled = (pixels.astype(np.float32) - low[:, None, None]) * gain[:, None, None]
    return np.rint(np.clip(scaled, 0, pixel_max, out=scaled), out=scaled).astype(pixel_type)
