"""What a layout is: how one kind of folder is recognised, how its files are found, and how it becomes a Screen."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.screen import Screen


@dataclass(frozen=True)
class Layout:
    """One kind of folder.

    Attributes
    ----------
    sentence : what it is, for lists and messages.
    recognise : folder -> whether it is of this kind; looks at names only, so that it is quick.
    read : folder, settings, folder to keep the cell table in (None: memory) -> Screen.
    """

    sentence: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, ScreenSettings, Path | None], Screen]


def found_tables(root: Path, settings: ScreenSettings, patterns: Sequence[str], what: str) -> list[Path]:
    """Find the cell tables of a screen: those that ``screen.cells`` names, or the first pattern that has any.

    Parameters
    ----------
    patterns : searched at any depth if they name no folder.
    what : what they are, for the message.

    Raises
    ------
    GrapeOpsError : there are none.
    """
    if settings.cells:
        named = Path(settings.cells)
        base = Path(named.anchor) if named.is_absolute() else root
        files = visible(base.glob(str(named.relative_to(named.anchor))))
        if not files:
            raise GrapeOpsError(f"screen.cells names {settings.cells}, and there is no such table in {root}.")
        return files
    for pattern in patterns:
        files = visible(root.glob(pattern)) if "/" in pattern else walk(root, pattern, folders=True)
        # The files of a parquet table that is a folder bear its name, and are not tables of their own.
        files = [file for file in files if not any(parent in files for parent in file.parents)]
        if files:
            return files
    raise GrapeOpsError(
        f"There are no {what} in {root}: {', '.join(patterns)} were looked for there, in all of its folders where no "
        "folder is named. screen.cells names a table that lies elsewhere."
    )


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
