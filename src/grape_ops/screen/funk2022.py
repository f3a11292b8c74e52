"""Layout ``funk2022``: the images of BioImage Archive S-BIAD394 beside the cell tables of Harvard Dataverse VYKTI5.

Images are z-stacks of four planes, of which the maximum is taken. DAPI and GFP share a file (z, c, y, x), A594
and AF750 have one each; on some plates they lie in a folder of their own, so all folders are searched.
"""

import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CLASS, PLATE, TILE, WELL
from grape_ops.screen.layout import Layout, found_tables, walk
from grape_ops.screen.screen import Screen, chosen_channels
from grape_ops.screen.table_reader import TableReader
from grape_ops.screen.tiff import Plane, TiffTiles
from grape_ops.screen.tile_pattern import PATH, TILE_KEY, tile_table

_NAME = re.compile(r"20X_(?P<set>[^_]+)_(?P<well>[A-Z]\d+)_(?P<stain>DAPI-GFP|A594|AF750)_Site-(?P<tile>\d+)\.tif")
_FILES = "20X_*_Site-*.tif"
_FOLDER = "DAPI-GFP-A594-AF750"
_TABLES = "*cp_phenotype_normalized*.parquet"
_STAINS = {"DAPI-GFP": PATH, "A594": "path_A594", "AF750": "path_AF750"}
PLANES = (
    Plane("DNA", PATH, 0, 2),
    Plane("gammaH2AX", "path_A594"),
    Plane("tubulin", PATH, 1, 2),
    Plane("actin", "path_AF750"),
)


def _recognise(root: Path) -> bool:
    return root.is_dir() and any(_NAME.fullmatch(path.name) for path in walk(root, _FILES, folders=True))


def _mark_class(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Say which table a cell is from: cells in division have one of their own."""
    if CLASS in table:
        return table
    return table.assign(**{CLASS: "mitotic" if file.name.startswith("mitotic") else "interphase"})


def read_funk2022(root: Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
    """Open images and tables that lie anywhere below a folder.

    Raises
    ------
    GrapeOpsError : there are no images of these names, or no cell table.
    """
    files = found_tables(root, settings, [_TABLES], "cell tables (interphase-..., mitotic-...) of Dataverse VYKTI5")
    reader = TableReader(files, settings, settings.columns, _mark_class, adds=(CLASS,))
    table = reader.read(table_folder)
    found = _find_images(root, set(table.distinct([PLATE])[PLATE]))
    table = table.in_wells({(plate, well) for plate, well, _ in found})
    channels = chosen_channels(tuple(plane.channel for plane in PLANES), settings)
    planes = tuple(plane for name in channels for plane in PLANES if plane.channel == name)
    return Screen(
        root=root,
        channels=channels,
        cells=table,
        tiles=_list_tiles(found, table.distinct(TILE_KEY)),
        read_tile=TiffTiles(root, planes, stacked=True, mend="the layout funk2022 fixes them", by_name=True),
    )


Images = dict[tuple[str, str, str], dict[str, str]]  # plate, well, tile -> column of the tile table -> path


def _find_images(root: Path, plates: set[str]) -> Images:
    """Find the file of each stain of each tile."""
    found: Images = defaultdict(dict)
    for path in sorted(
        walk(root, _FILES, folders=True), key=lambda path: (f"/{_FOLDER}/" not in path.as_posix(), path)
    ):
        if match := _NAME.fullmatch(path.name):
            plate = next((part for part in reversed(path.parts) if part in plates), None) or _plate_of(path)
            key = (plate, match["well"], match["tile"])
            found[key].setdefault(_STAINS[match["stain"]], path.relative_to(root).as_posix())
    if not found:
        raise GrapeOpsError(f"There are no images 20X_..._Site-....tif below {root}.")
    return found


def _list_tiles(found: Images, named: pd.DataFrame) -> pd.DataFrame:
    """List the tiles that files or cells name, with the path of each stain."""
    for plate, well, tile in named.itertuples(index=False, name=None):
        paths = found[plate, well, tile]
        for stain, column in _STAINS.items():
            expected = f"{plate}/phenotype/images/input/{_FOLDER}/20X_{_FOLDER}_{well}_{stain}_Site-{tile}.tif"
            paths.setdefault(column, expected)
    # A field without any cells counts only if all of its stains are there.
    rows = [dict(zip(TILE_KEY, key, strict=True)) | paths for key, paths in found.items() if len(paths) == len(_STAINS)]
    return tile_table(pd.DataFrame(rows, columns=[PLATE, WELL, TILE, *_STAINS.values()]))


def _plate_of(path: Path) -> str:
    parts = path.parts
    return parts[parts.index("phenotype") - 1] if "phenotype" in parts else path.parent.name


FUNK2022 = Layout("the screen of Funk et al. 2022: z-stacks 20X_..._Site-N.tif", _recognise, read_funk2022)
