"""The kinds of folders a screen can be read from, by name."""

from collections.abc import Callable
from pathlib import Path

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.screen import Screen
from grape_ops.screen.table import read_table_layout

LAYOUTS: dict[str, Callable[[Path, ScreenSettings], Screen]] = {
    "table": read_table_layout,
}


def open_screen(root: Path, settings: ScreenSettings) -> Screen:
    """Read a screen with the layout that the settings name.

    Raises
    ------
    GrapeOpsError : there is no such layout or no such folder, or its contents do not fit the layout.
    """
    root = Path(root)
    if settings.layout not in LAYOUTS:
        raise GrapeOpsError(f"There is no layout {settings.layout!r}; there are: {', '.join(sorted(LAYOUTS))}.")
    if not root.exists():
        raise GrapeOpsError(f"There is no screen {root}.")
    return LAYOUTS[settings.layout](root, settings)
