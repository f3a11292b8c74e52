"""Which channels, and which compartment of the cell, a feature is of: its name says so.

Letters: V features.
"""

from collections.abc import Sequence

import numpy as np

from grape_ops.errors import GrapeOpsError
from grape_ops.features.measure import REGIONS

BETWEEN = "between channels"  # what says how two channels lie to each other


def channels_in(name: str, channels: Sequence[str]) -> list[str]:
    """The channels that a feature's name names; `F_actin` does not name `actin` as well."""
    rest, found = f"{name}_", set()
    for channel in sorted(channels, key=len, reverse=True):
        if f"_{channel}_" in rest:
            found.add(channel)
            rest = rest.replace(f"_{channel}_", "__")
    return [channel for channel in channels if channel in found]


def feature_channels(names: Sequence[str], channels: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of the features by channel: each channel, and ``BETWEEN`` for what compares two of them.

    Features that name no channel, such as shapes and learned ones, belong to none.
    """
    found: dict[str, list[int]] = {channel: [] for channel in (*channels, BETWEEN)}
    for column, name in enumerate(names):
        own = channels_in(name, channels)
        if own:
            found[own[0] if len(own) == 1 else BETWEEN].append(column)
    return _tested(found)


def feature_compartments(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of CellProfiler's features by compartment: nucleus and cell; none for other features."""
    return _tested({region: [i for i, name in enumerate(names) if name.startswith(f"{region}_")] for region in REGIONS})


def columns_of_channels(names: Sequence[str], channels: Sequence[str], chosen: Sequence[str]) -> np.ndarray | None:
    """Columns of the features that name chosen channels and no others; None for all features if none is chosen.

    Raises
    ------
    GrapeOpsError : a chosen channel is none of the store's, or no feature is of the chosen ones alone.
    """
    check_channels(channels, chosen)
    if not chosen:
        return None
    own = [set(channels_in(name, channels)) for name in names]
    columns = np.array([i for i, found in enumerate(own) if found and found <= set(chosen)], np.int64)
    if not len(columns):
        raise GrapeOpsError(
            f"No feature is of {', '.join(chosen)} alone (features.channels): names of features have to end with the "
            f"channel, as in cell_Intensity_MeanIntensity_{chosen[0]}; the first ones are {', '.join(names[:3])}."
        )
    return columns


def check_channels(channels: Sequence[str], chosen: Sequence[str]) -> None:
    """Refuse channels that there are not."""
    if unknown := [name for name in chosen if name not in channels]:
        raise GrapeOpsError(
            f"There is no channel {', '.join(unknown)} (features.channels); there are: {', '.join(channels)}."
        )


def _tested(found: dict[str, list[int]]) -> dict[str, np.ndarray]:
    return {name: np.array(columns) for name, columns in found.items() if len(columns) > 1}
