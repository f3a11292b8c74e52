"""The points of a detection curve, and where a curve crosses the line of what counts as detected."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from grape_ops.config import CalibrateSettings

# What is varied, one at a time around the settings, and on which axis it is interpolated.
VARIED = {"effect_size": "linear", "cells_per_gene": "log", "penetrance": "linear"}


@dataclass(frozen=True, order=True)
class Point:
    """Planted screens of one kind."""

    effect_size: float
    cells_per_gene: int
    penetrance: float

    @property
    def name(self) -> str:
        """For a folder."""
        return f"effect{self.effect_size:g}_cells{self.cells_per_gene}_penetrance{self.penetrance:g}"

    def settings(self, base: CalibrateSettings) -> CalibrateSettings:
        """The settings that plant it."""
        return base.model_copy(update={name: getattr(self, name) for name in VARIED})


def curve_points(settings: CalibrateSettings) -> dict[str, list[Point]]:
    """The points of each curve, ascending: what is varied -> points; the settings' own point is on every curve."""
    base = {name: getattr(settings, name) for name in VARIED}
    grids: dict[str, Iterable[float]] = {
        "effect_size": settings.effect_sizes,
        "cells_per_gene": settings.cells_tried,
        "penetrance": settings.penetrances,
    }
    return {
        varied: [Point(**(base | {varied: value})) for value in sorted({*grid, base[varied]})]
        for varied, grid in grids.items()
    }


def crossing(values: Sequence[float], recovered: Sequence[float], detected: float, scale: str) -> tuple[float, str]:
    """Where recovery reaches a level and stays above it, interpolated between points.

    Parameters
    ----------
    values : what was varied, ascending.
    recovered : recovery at each.
    detected : the level.
    scale : "linear" or "log".

    Returns
    -------
    limit, sense : sense is "at" for a crossing, "below" if recovery is enough at the smallest value already, "above" if
    it is not at the largest.
    """
    short = np.flatnonzero(np.asarray(recovered) < detected)
    if not len(short):
        return float(values[0]), "below"
    last = int(short[-1])
    if last == len(values) - 1:
        return float(values[-1]), "above"
    share = (detected - recovered[last]) / (recovered[last + 1] - recovered[last])
    low, high = float(values[last]), float(values[last + 1])
    if scale == "log":
        return float(np.exp(np.log(low) + share * (np.log(high) - np.log(low)))), "at"
    return low + float(share) * (high - low), "at"
