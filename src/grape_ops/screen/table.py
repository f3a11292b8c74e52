"""Layout ``table``: a folder with ``screen.yaml``, a cell table and one multi-channel TIFF a tile.

``screen.yaml`` says where things are::

    cells: cells.parquet                     # csv, tsv or parquet
    tiles: tiles/{plate}/{well}_{tile}.tif   # any column of the table; {channel} for one file a channel
    channels: [DNA, gammaH2AX, tubulin, actin]
    columns: {sgRNA: my_guide_column}        # only where detection does not find them
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grape_ops.config import ScreenSettings, read_yaml
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import SCREEN_FILE
from grape_ops.screen.cell_table import TableReader
from grape_ops.screen.channels import chosen_channels
from grape_ops.screen.layout import Layout
from grape_ops.screen.screen import Screen
from grape_ops.screen.tiff import TiffTiles, planes_of_pattern
from grape_ops.screen.tile_pattern import TilePattern, list_tiles

_NEEDED = ("cells", "tiles", "channels")
_KNOWN = (*_NEEDED, "columns", "simulated")


def _recognise(root: Path) -> bool:
    return (root / SCREEN_FILE).is_file() or root.name == SCREEN_FILE


def read_table_layout(root: Path, settings: ScreenSettings, parts: Path | None = None) -> Screen:
    """Open a folder of the layout ``table``.

    Parameters
    ----------
    root : the folder, or its ``screen.yaml``.
    settings : ``columns`` wins over the ``columns`` of screen.yaml, and both over detection.

    Raises
    ------
    GrapeOpsError : the folder, the description or the cell table does not fit, with what mends it.
    """
    root = root.parent if root.name == SCREEN_FILE else root
    if not (root / SCREEN_FILE).is_file():
        raise GrapeOpsError(
            f"There is no {SCREEN_FILE} in {root}. The layout `table` wants one with the keys {', '.join(_NEEDED)}; "
            "another kind of folder needs another screen.layout."
        )
    description = _describe(root)
    named = {**description.get("columns", {}), **settings.columns}
    pattern = TilePattern(description["tiles"])
    table = TableReader([root / description["cells"]], settings, named, needs=pattern.fields).read(parts)
    channels = chosen_channels(tuple(description["channels"]), settings)
    planes = planes_of_pattern(pattern, tuple(description["channels"]))
    return Screen(
        root=root,
        channels=channels,
        cells=table.cells,
        tiles=list_tiles(root, pattern, table),
        read_tile=TiffTiles(root, tuple(plane for name in channels for plane in planes if plane.channel == name)),
        quality=table.quality,
        parts=table.parts,
    )


def _describe(root: Path) -> Mapping[str, Any]:
    file = root / SCREEN_FILE
    description = read_yaml(file)
    missing = [key for key in _NEEDED if key not in description]
    unknown = [str(key) for key in description if key not in _KNOWN]
    if missing or unknown:
        problem = f"lacks {', '.join(missing)}" if missing else f"has the unknown keys {', '.join(unknown)}"
        raise GrapeOpsError(f"{file} {problem}; its keys are {', '.join(_NEEDED)} and columns (optional).")
    for key in ("cells", "tiles"):
        if not isinstance(description[key], str):
            raise GrapeOpsError(f"{file}: {key} must be a text, not {description[key]!r}.")
    channels = description["channels"]
    if not isinstance(channels, list) or not channels or not all(isinstance(name, str) for name in channels):
        raise GrapeOpsError(f"{file}: channels must be a list of names, not {channels!r}.")
    if len(set(channels)) < len(channels):
        raise GrapeOpsError(f"{file}: a channel is named twice in {', '.join(channels)}.")
    columns = description.get("columns", {})
    if not isinstance(columns, dict):
        raise GrapeOpsError(f"{file}: columns must map our names to columns of the table, not {columns!r}.")
    return description


TABLE = Layout(f"a folder with a {SCREEN_FILE} that says where table and images are", _recognise, read_table_layout)
