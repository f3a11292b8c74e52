"""Files below a folder: behind symbolic links too, without hidden files, and part 10 after part 9."""

import os
import re
from collections.abc import Iterator
from pathlib import Path


def natural(path: str | Path) -> str:
    """Sort key under which 10 follows 9."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(12), str(path))


def is_hidden(path: Path) -> bool:
    """Whether a name begins with a dot, as of what other systems leave beside files (``._a.csv``, ``.DS_Store``)."""
    return path.name.startswith(".")


def visible(paths: Iterator[Path]) -> list[Path]:
    """Return the paths that are not hidden, in natural order."""
    return sorted((path for path in paths if not is_hidden(path)), key=natural)


def walk(folder: Path, pattern: str = "*", folders: bool = False) -> list[Path]:
    """List the files (or folders too) below a folder whose name fits a pattern, in natural order.

    Links are followed; one that leads back to a folder above it is not gone into again.
    """
    return sorted(_found(folder, pattern, folders, frozenset({os.path.realpath(folder)})), key=natural)


def _found(folder: Path, pattern: str, folders: bool, above: frozenset[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        if is_hidden(path):
            continue
        inside = path.is_dir()
        if path.match(pattern) and (folders or not inside):
            yield path
        if inside and (real := os.path.realpath(path)) not in above:
            yield from _found(path, pattern, folders, above | {real})
