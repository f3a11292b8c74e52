"""Rescaling between two percentiles to [0, 1], stored as integers (section 3.2, step 2).

Percentiles are taken of the corrected pixels of a whole group of tiles. They come from histograms so fine
that they agree with sorting all pixels, and that add up over tiles in any order; very large groups are
counted on a lattice of pixels whose phase moves from tile to tile.
Legend: C channels, H x W tile.
"""

from dataclasses import dataclass

import numpy as np

BINS = 1 << 20  # 16 bins a grey level of a uint16 image
# Pixels of a channel that are counted at most before a group is thinned out; at least two thirds of them then are.
# The 99.9th percentile rests on more than 11,000 pixels above it, and lies within 0.001 of the range of where
# all pixels put it (benchmarks/preprocess.py).
COUNTED = 1 << 24

Strides = tuple[int, int]


def count_stride(pixels: int) -> Strides:
    """Distances of the counted rows and columns, in a group with so many pixels in a channel."""
    share = pixels / COUNTED
    down = max(1, int(np.ceil(np.sqrt(share))))
    return down, max(1, int(np.ceil(share / down)))


def counted(position: int, stride: Strides, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that are counted of the tile at a position of its group."""
    # Steps of the golden ratio visit all phases evenly.
    row, column = divmod(position * 0x9E3779B1 % (stride[0] * stride[1]), stride[1])
    return slice(row, height, stride[0]), slice(column, width, stride[1])


def count_into(counts: np.ndarray, pixels: np.ndarray, limit: int) -> None:
    """Add corrected pixels to a histogram, those beyond its ends to the outermost bins: (C, BINS) and (C, m, n)."""
    for channel, image in zip(counts, pixels.reshape(len(pixels), -1), strict=True):
        places = image * np.float32(BINS / (limit + 1))
        bins = np.clip(places, 0, BINS - 1, out=places).astype(np.int64)
        if len(bins) < BINS // 8:  # few pixels: going through all the bins would take longer
            np.add.at(channel, bins, channel.dtype.type(1))  # a number of another type is ten times as slow
        else:
            np.add(channel, np.bincount(bins, minlength=BINS), out=channel, casting="unsafe")


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


@dataclass(frozen=True)
class Rescaling:
    """Maps [low, high] of each channel to the whole range of an integer type, and clips.

    Attributes
    ----------
    low, gain : (C, 1, 1) float32.
    pixel_type : the integer type.
    """

    low: np.ndarray
    gain: np.ndarray
    pixel_type: str

    @classmethod
    def between(cls, scale: np.ndarray, pixel_type: str) -> "Rescaling":
        """Map between the two values of each channel: (C, 2)."""
        low, high = scale.astype(np.float64).T
        # A channel without any contrast has an empty range; it becomes black instead of noise.
        gain = np.where(high > low, np.iinfo(pixel_type).max / np.maximum(high - low, 1e-9), 0)
        return cls(low.astype(np.float32)[:, None, None], gain.astype(np.float32)[:, None, None], pixel_type)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Rescale corrected pixels in place, to whole numbers that fit the type: (C, m, n) float32."""
        pixels -= self.low
        pixels *= self.gain
        np.clip(pixels, 0, np.iinfo(self.pixel_type).max, out=pixels)
        return np.rint(pixels, out=pixels)
