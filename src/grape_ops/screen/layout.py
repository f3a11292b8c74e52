"""What a layout is: how one kind of folder is recognised, and how it becomes a Screen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grape_ops.config import ScreenSettings
from grape_ops.screen.screen import Screen


@dataclass(frozen=True)
class Layout:
    """One kind of folder.

    Attributes
    ----------
    sentence : what it is, for lists and messages.
    recognise : folder -> whether it is of this kind; looks at names only, so that it is quick.
    read : folder, settings, folder for the parts of the cell table (None: it is held in memory) -> Screen.
    """

    sentence: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, ScreenSettings, Path | None], Screen]
