"""Channels that show nothing around control cells, seen in a sample of a screen before it is cut.

``preprocess`` has a rule of its own (``preprocess/quality_table.py``), by mean and deviation over all control cells of
a batch. Here are one window or a few crops of some wells, before any cell is cut, so that a channel is constant if no
two of its pixels are more than a grey level apart.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import IS_CONTROL
from grape_ops.screen.screen import Screen
from grape_ops.screen.surroundings import surroundings

SATURATED = 0.95  # mean of a channel, as a share of the brightest value
_WELLS, _CROPS, _SIDE = 12, 8, 256
_GAPS = 0.01  # share of the pixels of a window that are none


def doubts_of_channels(screen: Screen) -> list[str]:
    """Name the channels that are constant or saturated in some wells, and how many of the sampled ones."""
    found: dict[str, dict[str, list[str]]] = {}
    sampled, hollow = 0, dict[str, float]()
    for well, pixels, share in _samples(screen):
        sampled += 1
        if share >= _GAPS:
            hollow[well] = share
        top = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1.0
        level = 1 if pixels.dtype.kind in "ui" else 1 / 65535
        for name, own in zip(screen.channels, pixels, strict=True):
            low, high, mean = float(own.min()), float(own.max()), float(own.mean(dtype=float))
            if high - low <= level:
                found.setdefault(name, {}).setdefault(f"constant at {low:g}", []).append(well)
            elif SATURATED * top < mean <= top:
                found.setdefault(name, {}).setdefault("saturated", []).append(well)
    return _doubts_of_gaps(hollow, sampled) + [
        f"{name} shows nothing around control cells of {len(wells)} of {sampled} sampled wells ({why}), for example "
        f"{wells[0]}. Crops are standardised by control cells: check the images, or leave the channel out "
        "(screen.channels)."
        for name, reasons in found.items()
        for why, wells in reasons.items()
    ]


def _doubts_of_gaps(hollow: Mapping[str, float], sampled: int) -> list[str]:
    """Say in which wells a share of the pixels around control cells are none."""
    if not hollow:
        return []
    well, share = max(hollow.items(), key=lambda own: own[1])
    return [
        f"Around control cells of {len(hollow)} of {sampled} sampled wells, pixels are NaN, infinite or in absent "
        f"chunks ({share:.0%} of those that were looked at in {well}). Cells whose crop needs one are left out."
    ]


def _samples(screen: Screen) -> Iterator[tuple[str, np.ndarray, float]]:
    """Read some pixels of some wells: name of the well, (C, n, ...), and the share of pixels that are none."""
    wells = screen.cells.wells
    for place in wells[:: -(-len(wells) // _WELLS)] if wells else []:
        cells = screen.cells.of(*place)
        controls = cells[cells[IS_CONTROL]]
        if controls.empty:
            continue
        try:
            found = _crops(screen, controls) if screen.read_crops else _window(screen, controls)
        except GrapeOpsError:
            continue  # what cannot be read is told elsewhere
        if found is not None and found[0].size:
            yield " ".join(place), *found


def _crops(screen: Screen, controls: pd.DataFrame) -> tuple[np.ndarray, float]:
    assert screen.read_crops is not None
    crops = screen.read_crops(controls.iloc[:: -(-len(controls) // _CROPS)])
    return crops[np.isfinite(crops).all(axis=(1, 2, 3))].swapaxes(0, 1), 0.0  # crops that are not are told elsewhere


def _window(screen: Screen, controls: pd.DataFrame) -> tuple[np.ndarray, float] | None:
    """Read the pixels around a cell that are there: (C, n), and the share that is not; None if no tile is listed."""
    found = surroundings(screen, controls.iloc[len(controls) // 2], _SIDE)
    return None if found is None else (found.pixels[:, found.there], float(1 - found.there.mean()))
