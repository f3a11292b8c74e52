"""The size of crops that fits the cells: chosen from nuclei in a sample of the screen.

A crop holds the cell and a little of its neighbourhood if the nucleus is a third to a half as wide as the crop. Where
the networks see fewer pixels than that takes, pixels are binned (``preprocess.shrink``).
"""

from collections.abc import Sequence

import numpy as np

from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.features.regions import nucleus_channel
from grape_ops.preprocess.nuclei import Nuclei, measure_nuclei
from grape_ops.preprocess.sample import SampledWell
from grape_ops.screen.inspection import CropFit, Inspection

SIZES = (32, 48, 64, 96)  # that the presets' networks take
LEAST, MOST = 2.0, 3.1  # widths of a nucleus that a crop is wide
WINDOW, LARGEST_WINDOW = 256, 1024  # px around a cell in which its nucleus is looked for
WHOLE = 0.9  # of a ready crop's width counts as all of it
FEWEST = 6  # nuclei that a choice rests on
MOST_BINNED = 16


def choose_crops(found: Inspection, sample: Sequence[SampledWell], config: Config) -> None:
    """Add to an inspection what crops will be, and doubts about it.

    Sizes that the settings name stay; nuclei that they would cut are a doubt.
    """
    settings = config.preprocess
    if not sample:
        return  # what cannot be read is told elsewhere
    most = min(found.size) if found.size and found.screen.read_crops is not None else None
    named = {"crop_size", "shrink"} & settings.model_fields_set
    size, shrink = (settings.crop_size, settings.shrink) if named else unfitted_size(most, found.small)
    found.crops = CropFit(size, shrink, None, None, found.screen.pixel_size)
    try:
        channel = nucleus_channel(found.screen.channels, config.features.nucleus_channel)
    except GrapeOpsError as error:
        found.doubts.append(f"The size of crops could not be fitted to the cells. {error}")
        return
    nuclei = _measured(sample, channel)
    if len(nuclei.width) < FEWEST:
        found.doubts.append(
            f"The size of crops could not be fitted to the cells: only {len(nuclei.width)} of {nuclei.sampled} sampled "
            f"cells show a nucleus in {found.screen.channels[channel]} (features.nucleus_channel)."
        )
        return
    width, next_one = float(np.median(nuclei.width)), _median(nuclei.next_one)
    size, shrink = fitting_size(width, next_one, most, small=found.small)
    if named:
        if width * LEAST > settings.cut_size:
            found.doubts.append(
                f"Nuclei are {width:.0f} px wide, and crops show {settings.cut_size} px (preprocess.crop_size times "
                f"preprocess.shrink): many are cut. {_as_settings(size, shrink)} fits them."
            )
        size, shrink = settings.crop_size, settings.shrink
    found.crops = CropFit(size, shrink, width, next_one, found.screen.pixel_size)
    if most is not None and nuclei.share_cut > 1 / 5:
        found.doubts.append(
            f"The ready crops cut the nucleus of {int(nuclei.cut.sum())} of {len(nuclei.cut)} sampled cells: cells of "
            "which a part is missing look alike for other reasons than their genes. Cut larger crops if you can."
        )


def unfitted_size(most: int | None, small: bool) -> tuple[int, int]:
    """Choose crop_size and shrink where no nuclei were found: ready crops as a whole, else what the preset takes.

    Parameters
    ----------
    most, small : as in ``fitting_size``.
    """
    if most is None:
        return (SIZES[0] if small else SIZES[-1]), 1
    pairs = _pairs(most)
    whole = [pair for pair in pairs if pair[0] * pair[1] >= WHOLE * most]
    return min(whole or [max(pairs, key=lambda pair: pair[0] * pair[1])], key=lambda pair: pair[0 if small else 1])


def _pairs(most: int | None) -> list[tuple[int, int]]:
    """List all crop_size and shrink that fit into ready crops; the smallest where none does."""
    pairs = [(size, shrink) for size in SIZES for shrink in range(1, MOST_BINNED + 1)]
    return [(size, shrink) for size, shrink in pairs if most is None or size * shrink <= most] or [(SIZES[0], 1)]


def fitting_size(width: float, next_one: float | None, most: int | None, small: bool) -> tuple[int, int]:
    """Choose crop_size and shrink for nuclei of a width.

    Parameters
    ----------
    width, next_one : of a nucleus, and the distance to the next one, in pixels of the screen.
    most : size of ready crops, which nothing can go beyond.
    small : whether the fewest pixels are chosen, for networks that train on a processor; else the least binning.
    """
    wanted = np.clip(next_one if next_one else 0, 2.25 * width, 2.75 * width)
    pairs = _pairs(most)
    fit = [pair for pair in pairs if LEAST * width <= pair[0] * pair[1] <= MOST * width]
    if not fit:  # tiny nuclei in the smallest crop, or ready crops that hold no more
        return min(pairs, key=lambda pair: (abs(pair[0] * pair[1] - wanted), pair[0] if small else pair[1]))
    order = 0 if small else 1
    least = min(pair[order] for pair in fit)
    return min((pair for pair in fit if pair[order] == least), key=lambda pair: abs(pair[0] * pair[1] - wanted))


def _measured(sample: Sequence[SampledWell], channel: int) -> Nuclei:
    """Measure the sample's nuclei, in a larger window where they do not fit."""
    window = WINDOW
    while True:
        nuclei = measure_nuclei([dna for well in sample for dna in well.surroundings(channel, window)])
        if nuclei.share_cut <= 1 / 5 or window >= LARGEST_WINDOW or all(well.ready for well in sample):
            return nuclei
        window *= 2


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _as_settings(size: int, shrink: int) -> str:
    return f"preprocess.crop_size={size}" + (f", preprocess.shrink={shrink}" if shrink > 1 else "")
