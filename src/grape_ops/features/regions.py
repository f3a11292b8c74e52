"""The nucleus and the body of the cell a crop is centred on.

The nucleus is the piece of DNA-bright pixels at the crop's centre, parted from nuclei that touch it. The cell is what
is brighter than background in the other channels, no farther from this nucleus than from any other and within
``REACH`` radii of it. A crop that lies wholly inside cytoplasm shows no background to tell a body from, so that a rim
around the nucleus always belongs to the cell.
Letters: N crops, C channels, H and W height and width.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import gaussian, threshold_otsu, threshold_triangle
from skimage.measure import label
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from grape_ops.errors import GrapeOpsError
from grape_ops.screen.screen import shows_nuclei

SMOOTHING = 1.0  # px; takes camera noise off before a threshold
LEAST_AREA = 12  # px; smaller pieces are specks
TOUCHING_DEPTH = 1.0  # px; nuclei that touch are parted where their neck is narrower by this than both
RIM, REACH = 0.5, 3.0  # nuclear radii around the nucleus: what is cell at least, and at most


def nucleus_channel(channels: Sequence[str], name: str | None = None) -> int:
    """Position of the channel that shows nuclei: the one named, or the one whose name says DNA.

    Raises
    ------
    GrapeOpsError : the name is no channel, or no channel's name, or more than one's, says DNA.
    """
    shown = ", ".join(channels)
    if name is not None:
        if name not in channels:
            raise GrapeOpsError(f"There is no channel {name!r} to find nuclei in; there are: {shown}.")
        return list(channels).index(name)
    found = [position for position, channel in enumerate(channels) if shows_nuclei(channel)]
    if len(found) != 1:
        many = "More than one channel may" if found else "No channel seems to"
        raise GrapeOpsError(f"{many} show nuclei among {shown}. Name it: --set features.nucleus_channel=NAME.")
    return found[0]


def find_regions(crop: np.ndarray, nucleus: int) -> tuple[np.ndarray, np.ndarray]:
    """Nucleus and cell of the crop's central cell: (C, H, W) pixels -> two (H, W) bool.

    Both are empty where no nucleus is found; a cell contains its nucleus.

    Parameters
    ----------
    crop : one crop, in any unit.
    nucleus : position of the channel that shows nuclei.
    """
    pixels = crop.astype(np.float32)
    nuclei, own = find_nuclei(pixels[nucleus])
    if own == 0:
        return np.zeros(nuclei.shape, dtype=bool), np.zeros(nuclei.shape, dtype=bool)
    others = [channel for position, channel in enumerate(pixels) if position != nucleus]
    return nuclei == own, _cell(nuclei, own, others)


def find_nuclei(dna: np.ndarray) -> tuple[np.ndarray, int]:
    """All nuclei of a DNA channel, and which is the central one: (H, W) -> (H, W) int labels, and its label or 0."""
    dna = gaussian(dna.astype(np.float32), SMOOTHING, preserve_range=True)
    nuclei = _nuclei(dna, threshold=_otsu(dna))
    if _central(nuclei) == 0:  # a far brighter neighbour hides it
        nuclei = _nuclei(dna, threshold=_otsu(_middle(dna)))
    return nuclei, _central(nuclei)


def find_all_regions(crops: np.ndarray, nucleus: int) -> np.ndarray:
    """Nucleus and cell of each crop: (N, C, H, W) -> (N, 2, H, W) bool."""
    masks = np.zeros((len(crops), 2, *crops.shape[2:]), dtype=bool)
    for place, crop in enumerate(crops):
        masks[place] = find_regions(crop, nucleus)
    return masks


def _nuclei(dna: np.ndarray, threshold: float) -> np.ndarray:
    """Label the nuclei of a smoothed DNA channel: (H, W) -> (H, W) int."""
    pieces = label(ndimage.binary_fill_holes(dna > threshold))
    bright = np.bincount(pieces.ravel())[pieces] >= LEAST_AREA
    bright &= pieces > 0
    depth = ndimage.distance_transform_edt(bright)
    peaks = h_maxima(gaussian(depth, SMOOTHING, preserve_range=True), TOUCHING_DEPTH)
    return watershed(-depth, label(peaks.astype(bool) & bright), mask=bright)


def _cell(nuclei: np.ndarray, own: int, others: Sequence[np.ndarray]) -> np.ndarray:
    """Body of one of the labelled nuclei: (H, W) int, channels without DNA (H, W) each -> (H, W) bool."""
    nucleus = nuclei == own
    away = ndimage.distance_transform_edt(~nucleus) / np.sqrt(nucleus.sum() / np.pi)
    body = (away <= RIM) | (_foreground(others) & (away <= REACH)) if others else away <= 1
    # Each pixel goes to the nearest nucleus.
    territory = watershed(ndimage.distance_transform_edt(nuclei == 0), nuclei) == own
    body = ndimage.binary_opening(body & territory, iterations=1) | nucleus
    pieces = label(body)
    return ndimage.binary_fill_holes(np.isin(pieces, np.unique(pieces[nucleus]))) & ((nuclei == 0) | nucleus)


def _central(nuclei: np.ndarray) -> int:
    """Label of the nucleus nearest to the crop's centre, 0 if none reaches the middle half."""
    centre = [(side - 1) / 2 for side in nuclei.shape]
    rows, columns = np.nonzero(nuclei)
    if not len(rows):
        return 0
    distance = np.hypot(rows - centre[0], columns - centre[1])
    nearest = distance.argmin()
    return int(nuclei[rows[nearest], columns[nearest]]) if distance[nearest] <= min(nuclei.shape) / 4 else 0


def _foreground(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Pixels that belong to some cell: channels (H, W) each -> (H, W) bool."""
    spread = [(channel - channel.min()) / max(float(np.ptp(channel)), 1e-12) for channel in channels]
    light = gaussian(np.mean(spread, axis=0), SMOOTHING, preserve_range=True)
    if np.ptp(light) == 0:
        return np.zeros(light.shape, dtype=bool)
    # Bodies fade out: Otsu's threshold cuts off their thin rims, the triangle's takes in their glow.
    return light > (threshold_triangle(light) + _otsu(light)) / 2


def _otsu(light: np.ndarray) -> float:
    """Otsu's threshold; of a flat image its level, above which there is nothing."""
    return float(threshold_otsu(light)) if np.ptp(light) > 0 else float(light.max())


def _middle(light: np.ndarray) -> np.ndarray:
    height, width = light.shape
    return light[height // 4 : height - height // 4, width // 4 : width - width // 4]
