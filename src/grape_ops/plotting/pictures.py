"""Pixels to pictures: one pair of limits per channel for everything shown together, and colours for composites.

Letters: n cells, C channels, H crop size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grape_ops.screen.screen import shows_nuclei

# Black and white points: these percentiles of each cell. The black point clips no more than a fifth of the cells. The
# white point is that of the brightest cell, so that dividing and dying cells keep their structure; but no brighter than
# HEADROOM times what nearly all cells stay below, or a single wild cell would leave the others dark.
DARKEST, BRIGHTEST = 0.5, 99.8
NOT_BLACK, NEARLY_ALL, HEADROOM = 0.8, 0.95, 1.5
MIDDLE = 1.25  # power that darkens middle tones
KNEE = 0.6  # of a composite's brightest colour, from which on light is compressed instead of clipped
DNA_COLOUR = "#4d6bff"
OTHER_COLOURS = ("#3ddc5b", "#ff3fd0", "#ffc21a", "#23d9e8", "#ff6b3d", "#b0b0b0", "#a77bff")


@dataclass(frozen=True)
class ChannelView:
    """How a channel is shown: its name, its colour in the composite, and its black and white points."""

    name: str
    colour: str
    low: float
    high: float


def channel_views(names: Sequence[str], real: np.ndarray) -> list[ChannelView]:
    """Limits from real cells (n, C, H, H), colours by the dye where the name tells it."""
    darkest, brightest = np.percentile(real, (DARKEST, BRIGHTEST), axis=(2, 3))
    low, usual = np.quantile(darkest, 1 - NOT_BLACK, axis=0), np.quantile(brightest, NEARLY_ALL, axis=0)
    high = np.minimum(brightest.max(axis=0), low + HEADROOM * (usual - low))
    return [
        ChannelView(name, shade, float(a), float(max(b, a + 1e-6)))
        for name, shade, a, b in zip(names, composite_colours(names), low, high, strict=True)
    ]


def composite_colours(names: Sequence[str]) -> list[str]:
    """Colours of the channels in the composite: DNA is blue, as everybody expects, the others differ from it."""
    dna = next((i for i, name in enumerate(names) if shows_nuclei(name)), None)
    left = [i for i in range(len(names)) if i != dna]
    colours = {row: OTHER_COLOURS[turn % len(OTHER_COLOURS)] for turn, row in enumerate(left)}
    return [colours.get(i, DNA_COLOUR) for i in range(len(names))]


def grey(crops: np.ndarray, view: ChannelView) -> np.ndarray:
    """Pixels of a channel between its limits: (..., H, H) -> (..., H, H) in [0, 1]."""
    return np.clip((crops - view.low) / (view.high - view.low), 0, 1)


def composite(crops: np.ndarray, views: Sequence[ChannelView]) -> np.ndarray:
    """All channels in colours: (n, C, H, H) -> (n, H, H, 3) in [0, 1].

    Four stains over one nucleus add up to white: middle tones are darkened, there is less light the more channels
    there are, and bright pixels are dimmed as a whole, the more the brighter, which keeps hue and structure.
    """
    light = min(1.0, 2.4 / len(views))
    mixed = np.zeros((*crops.shape[:1], *crops.shape[2:], 3))
    for index, view in enumerate(views):
        colour = np.array([int(view.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        mixed += light * grey(crops[:, index], view)[..., None] ** MIDDLE * colour
    most = mixed.max(axis=-1, keepdims=True)
    dimmed = KNEE + (1 - KNEE) * (1 - np.exp(-np.maximum(most - KNEE, 0) / (1 - KNEE)))
    return mixed * np.where(most > KNEE, dimmed / np.maximum(most, KNEE), 1)


def in_colour(crops: np.ndarray, views: Sequence[ChannelView]) -> np.ndarray:
    """Cells as they are shown at a glance, one channel in grey: (n, C, H, H) -> (n, H, H, 3) or (n, H, H)."""
    return composite(crops, views) if len(views) > 1 else grey(crops[:, 0], views[0])


def in_a_row(pictures: np.ndarray, gap: int = 1) -> np.ndarray:
    """Cells side by side, a white line between them: (n, H, H) or (n, H, H, 3) -> (H, n * (H + gap) - gap, ...)."""
    line = np.ones((pictures.shape[1], gap, *pictures.shape[3:]))
    parts = [part for picture in pictures for part in (picture, line)][:-1]
    return np.concatenate(parts, axis=1)
