"""Channel-wise z-scores against the control cells of the same batch (section 3.2, step 4), and the way back to pixels.

Legend: N crops, C channels, S crop size, B batches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class PixelSums:
    """Count, sum and sum of squares of pixels, per channel.

    They are whole numbers of any size, so that adding them up gives the same result in every order: however
    the crops are spread over shards and worker processes, the statistics agree to the last bit.
    """

    pixels: int
    total: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, crops: np.ndarray) -> "PixelSums":
        """Add up integer crops: (N, C, S, S)."""
        n_crops, channels = crops.shape[:2]
        total, squares = [0] * channels, [0] * channels
        for crop in crops:  # one at a time: the 64-bit copy of a whole shard would not fit in memory
            wide = crop.reshape(channels, -1).astype(np.uint64)
            for channel in range(channels):
                total[channel] += int(wide[channel].sum())
                squares[channel] += int((wide[channel] ** 2).sum())
        return cls(n_crops * int(np.prod(crops.shape[2:])), tuple(total), tuple(squares))

    def __add__(self, other: "PixelSums") -> "PixelSums":
        return PixelSums(
            self.pixels + other.pixels,
            tuple(a + b for a, b in zip(self.total, other.total, strict=True)),
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
        )

    def mean_and_sd(self, pixel_max: int) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of pixel / ``pixel_max``, per channel.

        The deviation is never below one grey level: a channel that is constant over the controls must not
        blow up whatever little the other cells show.
        """
        mean = [total / (self.pixels * pixel_max) for total in self.total]
        sd = []
        for total, square in zip(self.total, self.squares, strict=True):
            # Exact up to the last division, where the textbook formula would cancel in floating point.
            variance = (self.pixels * square - total * total) / self.pixels**2
            sd.append(max(variance**0.5, 1.0) / pixel_max)
        return mean, sd


def control_sums(crops: np.ndarray, batch: np.ndarray, is_control: np.ndarray) -> dict[str, PixelSums]:
    """Sums over the control crops of each batch: (N, C, S, S), (N,), (N,) -> one entry per batch."""
    sums = {}
    for name in sorted(set(batch[is_control].tolist())):
        rows = np.flatnonzero(is_control & (batch == name))
        parts = [PixelSums.of(crops[rows[i : i + 64]]) for i in range(0, len(rows), 64)]
        sums[name] = _added(parts)
    return sums


def merge_sums(parts: Iterable[Mapping[str, PixelSums]]) -> dict[str, PixelSums]:
    """Put the sums of several shards together; a batch may lie in more than one."""
    merged: dict[str, PixelSums] = {}
    for part in parts:
        for name, sums in part.items():
            merged[name] = merged[name] + sums if name in merged else sums
    return dict(sorted(merged.items()))


def recorded_sums(records: Iterable[Mapping[str, Any]]) -> dict[str, PixelSums]:
    """Sums over the controls of each batch, from what ``finish_shard`` noted of each shard."""
    return merge_sums({name: PixelSums(**sums) for name, sums in record["controls"].items()} for record in records)


def standardize(crops: np.ndarray, pixel_max: int, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Scale to [0, 1], z-score by each crop's batch: (N, C, S, S), (N, C), (N, C) -> (N, C, S, S) float32."""
    scaled = crops.astype(np.float32)
    scaled /= np.float32(pixel_max)
    scaled -= mean.astype(np.float32)[:, :, None, None]
    scaled /= sd.astype(np.float32)[:, :, None, None]
    return scaled


class PixelScale:
    """The same on a device, and back: pixels of a store <-> standard deviations of the controls of each crop's batch.

    Parameters
    ----------
    mean, sd : (B, C) of the batches' controls, scaled to [0, 1].
    pixel_max : largest value of a stored pixel; it stands for 1.0.
    device : where the crops are.
    """

    def __init__(self, mean: np.ndarray, sd: np.ndarray, pixel_max: int, device: "torch.device"):
        import torch  # here, since stores are read without it too

        self.pixel_max = pixel_max
        self._mean = torch.from_numpy(mean * pixel_max).to(device)
        self._sd = torch.from_numpy(sd * pixel_max).to(device)
        self._factor = torch.from_numpy(1 / (sd * pixel_max)).to(device)

    def standardize_(self, pixels: "Tensor", codes: "Tensor") -> "Tensor":
        """Z-score float pixels in place, in two passes, by the batch of each crop: (N, C, S, S), (N,) -> the same."""
        return pixels.sub_(self._mean[codes][:, :, None, None]).mul_(self._factor[codes][:, :, None, None])

    def pixels(self, images: "Tensor", codes: np.ndarray) -> tuple["Tensor", int]:
        """Whole pixels of z-scored crops, and how many had to be clipped: (N, C, S, S), (N,) -> the same.

        A store's pixels lie between its percentiles; what a generator makes beyond them is clipped as real cells were.
        """
        pixels = (images * self._sd[codes][:, :, None, None] + self._mean[codes][:, :, None, None]).round_()
        inside = pixels.clamp(0, self.pixel_max)
        return inside, int((inside != pixels).sum())


def _added(parts: list[PixelSums]) -> PixelSums:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
