"""Errors of the side that is written to, in words: a full disk, a place that may not be written, a folder that is gone.

What damaged files raise when they are read is in ``damage.py``.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grape_ops.errors import GrapeOpsError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # errors that only writing meets
_NUMBER = re.compile(r"os error (\d+)")  # in messages of safetensors
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # in those of numpy


@contextmanager
def output_errors(place: Path) -> Iterator[None]:
    """Say errors of the output side in words.

    Raises
    ------
    GrapeOpsError : for an error of the system in the block, unless it names a file elsewhere, which was to be read.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number is None and not isinstance(error, OSError):
            raise
        if isinstance(error, OSError) and isinstance(error.filename, str | Path):
            named = Path(error.filename)
            if not named.is_relative_to(place.parent) and not place.is_relative_to(named):
                raise
        raise GrapeOpsError(in_words(number, place, error)) from error


def in_words(number: int | None, place: Path | str, error: Exception) -> str:
    """Say what an error of the output side, by its number in the system, means, and what fixes it."""
    match number:
        case errno.ENOSPC:
            return f"The disk is full: {place} could not be written. What was there before is whole; make room."
        case errno.EDQUOT:
            return f"Your quota is used up: {place} could not be written. What was there before is whole; make room."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{place} could not be written: you may not write there. Name another --out."
        case errno.ENOENT | errno.ENOTDIR:
            return f"{place} could not be written: its folder is not there, or was removed meanwhile."
        case _:
            return f"{place} could not be written: {getattr(error, 'strerror', None) or error}."


def _system_error(error: Exception) -> int | None:
    """What the system said, which some libraries only tell in their messages."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, GrapeOpsError):
        return None
    if _CUT_SHORT.search(str(error)):
        return errno.ENOSPC
    before = error.__context__  # what a library met before it stumbled over its own half-written file
    if isinstance(before, OSError) and before.errno in DISK_FULL:
        return before.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None
