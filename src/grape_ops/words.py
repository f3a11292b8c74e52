"""Counts, lists and durations in words, for sentences and tables."""

import re
from collections.abc import Iterable

_PLURAL = re.compile(r"\b([\w-]+?)(?:(?<=ch)es|(?<=ss)es|(?<=x)es|(?<=[^su])s)\b")


def counted(count: int, what: str) -> str:
    """Write a count with its plural, or for one with the singular: (1, "cells outside their tile") -> "1 cell ..."."""
    if count == 1:
        what = _PLURAL.sub(r"\1", what, count=1).replace(" their ", " its ", 1)
    return f"{count:,} {what}"


def some_of(names: Iterable[object], most: int = 3) -> str:
    """List the first of some names, and say how many more there are."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def duration(seconds: float) -> str:
    """Write a duration for a sentence: 40 minutes, 3.5 hours, 2.1 days."""
    if seconds < 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def short_duration(seconds: float) -> str:
    """Write a duration for a table: 90s, 3.5h, 2.1d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.0f}s"
