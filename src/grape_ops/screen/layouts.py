"""The kinds of folders a screen can be read from, by name; each is one file."""

from dataclasses import replace
from pathlib import Path

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import SCREEN_FILE
from grape_ops.screen.brieflow import BRIEFLOW
from grape_ops.screen.description import is_simulated
from grape_ops.screen.funk2022 import FUNK2022
from grape_ops.screen.layout import Layout
from grape_ops.screen.ops_standard import OPS_STANDARD
from grape_ops.screen.periscope import PERISCOPE
from grape_ops.screen.scallops import SCALLOPS
from grape_ops.screen.screen import Screen, known_pixel_size
from grape_ops.screen.table import TABLE

# In the order in which they are tried.
LAYOUTS: dict[str, Layout] = {
    "ops-standard": OPS_STANDARD,
    "brieflow": BRIEFLOW,
    "scallops": SCALLOPS,
    "periscope": PERISCOPE,
    "funk2022": FUNK2022,
    "table": TABLE,
}


def recognise_layout(root: Path) -> str | None:
    """Name the layout of a folder, or None if it looks like none."""
    if (root / SCREEN_FILE).is_file():
        return "table"  # whoever wrote it meant it
    return next((name for name, layout in LAYOUTS.items() if layout.recognise(root)), None)


def open_screen(root: str | Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
    """Read a screen with the layout that the settings name.

    Parameters
    ----------
    table_folder : keeps the cell table in one file per well; None holds it in memory.

    Raises
    ------
    GrapeOpsError : there is no such layout or no such folder, or its contents do not fit the layout.
    """
    root = Path(root)
    if settings.layout not in (*LAYOUTS, "auto"):
        raise GrapeOpsError(f"There is no layout {settings.layout!r}; there are: {', '.join(sorted(LAYOUTS))}.")
    if not root.exists():
        raise GrapeOpsError(f"There is no screen {root}.")
    name = recognise_layout(root) if settings.layout == "auto" else settings.layout
    if name is None:
        kinds = "\n".join(f"  {name}: {layout.sentence}" for name, layout in LAYOUTS.items())
        raise GrapeOpsError(
            f"{root} looks like none of the layouts:\n{kinds}\n"
            "If it is one nevertheless, --set screen.layout=NAME says so; for any other screen write a screen.yaml "
            "(docs/screens.md)."
        )
    screen = LAYOUTS[name].read(root, settings.model_copy(update={"layout": name}), table_folder)
    simulated = name == "table" and is_simulated(root)
    return replace(screen, pixel_size=settings.pixel_size or known_pixel_size(screen), simulated=simulated)
