"""Channels by name: those of a screen, which of them are wanted, and which shows nuclei."""

import re

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError

_DNA_NAME = re.compile(r"dna|dapi|hoechst|nucle(us|i|ar)|draq|h2b|sytox|\bpi\b", re.IGNORECASE)


def chosen_channels(present: tuple[str, ...], settings: ScreenSettings) -> tuple[str, ...]:
    """Return the channels that ``screen.channels`` names, all if it names none; upper and lower case are one.

    Raises
    ------
    GrapeOpsError : a name is not there.
    """
    by_name = {name.lower(): name for name in present}
    unknown = [name for name in settings.channels if name.lower() not in by_name]
    if unknown:
        raise GrapeOpsError(
            f"screen.channels names {', '.join(unknown)}; the screen has the channels {', '.join(present)}."
        )
    return tuple(by_name[name.lower()] for name in settings.channels) or present


def shows_nuclei(channel: str) -> bool:
    """Tell by a channel's name whether it shows nuclei."""
    return _DNA_NAME.search(channel) is not None
