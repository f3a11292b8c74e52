"""Directions of the map: what changes on the way from one perturbation to another, and where in the cell.

Letters: K points on the way, V length of a row of M, n cells, C channels, H crop size, R rings.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grape_ops.restyle.restyler import Restyler


def styles_between(restyler: Restyler, start: int, end: int, steps: int) -> Tensor:
    """Style codes of points on the straight line between two gene vectors, both ends included: (K, S)."""
    vectors = restyler.nets.vectors()
    share = torch.linspace(0, 1, steps, device=vectors.device, dtype=vectors.dtype)[:, None]
    return restyler.nets.mapping((1 - share) * vectors[start] + share * vectors[end])


@dataclass(frozen=True)
class Change:
    """A change averaged over cells that are aligned at their centres.

    Attributes
    ----------
    map : (C, H, H) mean difference, in standard deviations of control pixels.
    profile : (C, R) the same, averaged over rings around the centre.
    error : (C, R) standard error of the profile over cells.
    """

    map: np.ndarray
    profile: np.ndarray
    error: np.ndarray

    @property
    def significance(self) -> np.ndarray:
        """Profile in its standard errors: (C, R)."""
        return np.divide(self.profile, self.error, out=np.zeros_like(self.profile), where=self.error > 0)


def paired_change(before: np.ndarray, after: np.ndarray, rings: int) -> Change:
    """Change of the same cells: (n, C, H, H) twice, n at least 2."""
    difference = after - before
    profiles = ring_means(difference, rings)
    return Change(difference.mean(axis=0), profiles.mean(axis=0), profiles.std(axis=0, ddof=1) / len(profiles) ** 0.5)


def unpaired_change(first: np.ndarray, second: np.ndarray, rings: int) -> Change:
    """Difference between two sets of cells: (n, C, H, H), (m, C, H, H), two of each at least."""
    profiles = [ring_means(part, rings) for part in (first, second)]
    variance = sum(part.var(axis=0, ddof=1) / len(part) for part in profiles)
    means = [part.mean(axis=0) for part in profiles]
    return Change(second.mean(axis=0) - first.mean(axis=0), means[1] - means[0], np.sqrt(variance))


def ring_means(images: np.ndarray, rings: int) -> np.ndarray:
    """Means over rings of equal width around the centre, up to the crop's edge: (n, C, H, H) -> (n, C, R).

    Rings narrower than a pixel would be empty: R is at most H // 2.
    """
    rings = min(rings, images.shape[-1] // 2)
    index = ring_index(images.shape[-1], rings)
    return np.stack([images[:, :, index == ring].mean(axis=2) for ring in range(rings)], axis=2)


def ring_index(size: int, rings: int) -> np.ndarray:
    """Which ring each pixel lies in, R in the corners: (H, H) int. The centre is that of the crop, pixel H // 2."""
    rows, columns = np.mgrid[:size, :size] - size // 2
    return np.minimum(np.hypot(rows, columns) / (size / 2) * rings, rings).astype(int)


def ring_edges(size: int, rings: int) -> np.ndarray:
    """Radii between rings in px: (R + 1,)."""
    return np.linspace(0, size / 2, min(rings, size // 2) + 1)
