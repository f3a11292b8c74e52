"""Layout ``ops-standard``: a submission of the OPS Data Standard 0.1.0.

Fields are ``{aggregation}.zarr/{row}/{column}/{field}`` (OME-NGFF 0.5 HCS, T C Z Y X), cells stand in
``cell_data.parquet``, guides in ``metadata/perturbation_library.csv``. The standard places cells in tile pixels;
published wells that were stitched have one field, and their cells lie in the pixels of the well.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL, X, Y
from grape_ops.screen.cell_table import TableReader
from grape_ops.screen.channels import chosen_channels
from grape_ops.screen.columns import WELL_PARTS
from grape_ops.screen.guide_library import read_library
from grape_ops.screen.layout import Layout
from grape_ops.screen.screen import Screen
from grape_ops.screen.tile_pattern import PATH, TILE_KEY, tile_table
from grape_ops.screen.walk import visible
from grape_ops.screen.zarr_tiles import ZarrTiles, channel_names, note_unnamed, open_image, scales_of_floats

CELL_DATA, LIBRARY = "cell_data.parquet", "metadata/perturbation_library.csv"
GLOBAL = ("global_y", "global_x")
BOX = "bounding_box"
_SAMPLED_IMAGES = 8
_GROUPS = ("zarr.json", ".zgroup")  # of zarr v3, and of v2, which some still write

Well = tuple[str, str, str]  # plate, row, column; a zarr that is alone names no plate
Fields = dict[Well, dict[str, Path]]  # folder of the image of each field


def _aggregations(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [folder for folder in (root, *sorted(root.iterdir())) if (folder / CELL_DATA).exists()]


def _recognise(root: Path) -> bool:
    return any(next(folder.glob("*.zarr"), folder / LIBRARY).exists() for folder in _aggregations(root))


def read_ops_standard(root: Path, settings: ScreenSettings, parts: Path | None = None) -> Screen:
    """Open a collection of one aggregation, or an aggregation of it.

    Raises
    ------
    GrapeOpsError : there is no aggregation, or there are several.
    """
    folders = _aggregations(root)
    if len(folders) != 1:
        found = f"has several: {', '.join(folder.name for folder in folders)}" if folders else "has none"
        raise GrapeOpsError(f"An aggregation is a folder with {CELL_DATA} and a zarr; {root} {found}. Name one.")
    home = folders[0]
    fields = _find_fields(home)
    library = home / LIBRARY
    reader = TableReader(
        [home / CELL_DATA],
        settings,
        settings.columns,
        _ToFields({place: tuple(own) for place, own in fields.items()}),
        adds=(TILE,),
        needs=(*WELL_PARTS, *GLOBAL, BOX),
        library=read_library(library, settings) if library.is_file() and not settings.library else None,
    )
    table = reader.read(parts)
    images = [image for own in fields.values() for image in own.values()]
    names = tuple(channel_names(images[0]) or channel_names(images[0].parents[2]) or _numbered(images[0]))
    note_unnamed(images[0], names)
    channels = chosen_channels(names, settings)
    indices = tuple(map(names.index, channels))
    samples = images[:: -(-len(images) // _SAMPLED_IMAGES)]
    return Screen(
        root=home,
        channels=channels,
        cells=table.cells,
        tiles=_list_tiles(home, fields, table.distinct([*TILE_KEY, *WELL_PARTS])),
        read_tile=ZarrTiles(home, indices, scales_of_floats(samples, indices, settings.float_max)),
        quality=table.quality,
        parts=table.parts,
    )


def _find_fields(home: Path) -> Fields:
    """Find the fields of all plates: in {name}.zarr/row/column/field, or with the plate as a level of its own."""
    stores = visible(home.glob("*.zarr"))
    if not stores:
        raise GrapeOpsError(
            f"{home} is a submission of the OPS Data Standard without images: no plate (NAME.zarr) lies beside "
            f"{CELL_DATA}. Cells are cropped from plate images; lay them there, or name the screen they come from."
        )
    fields: Fields = defaultdict(dict)
    for store in stores:
        plate = store.stem if len(stores) > 1 else ""
        for depth in (3, 4):
            for image in sorted(store.glob("/".join(["*"] * depth))):
                row, column, field = image.relative_to(store).parts[-3:]
                if (
                    any((image / mark).is_file() for mark in _GROUPS)
                    and len(row) <= 2
                    and row.isalpha()
                    and column.isdigit()
                ):
                    own = plate if depth == 3 else image.relative_to(store).parts[0]
                    fields[own, row.upper(), str(int(column))][field] = image
    if not fields:
        raise GrapeOpsError(f"There are no fields row/column/field in the zarr of {home}.")
    return dict(fields)


def _place(fields: Collection[Well], plate: str, row: str, column: str) -> Well:
    """Name a well as the zarr does; a single zarr names no plates."""
    key = (plate, row.upper(), str(int(float(column))) if column else "")
    return key if key in fields else ("", *key[1:])


@dataclass(frozen=True)
class _ToFields:
    """Puts cells of stitched wells into their one field, in its pixels, whatever tile they once were of."""

    fields: dict[Well, tuple[str, ...]]

    def __call__(self, table: pd.DataFrame, file: Path) -> pd.DataFrame:
        if not {PLATE, *WELL_PARTS} <= set(table):
            raise GrapeOpsError(f"{file} lacks the standard's columns {PLATE}, {', '.join(WELL_PARTS)}.")
        wells = [table[name].astype(str) for name in (PLATE, *WELL_PARTS)]
        places = pd.Series(list(zip(*wells, strict=True)), index=table.index)
        fields = places.map({place: self.fields.get(_place(self.fields, *place), ()) for place in set(places)})
        only = fields.map(lambda names: names[0] if len(names) == 1 else "")
        tile = table[TILE].astype(str) if TILE in table else pd.Series("", index=table.index)
        stitched = (only != "") & ~pd.Series(list(map(_same_field, tile, only)), index=table.index, dtype=bool)
        y, x = _stitched_centres(table[stitched])
        centres = {axis: table[axis].astype(float) for axis in (Y, X)}
        table = table.assign(**{TILE: tile.where(~stitched, only)}, **centres)
        table.loc[stitched, Y], table.loc[stitched, X] = y, x
        return table


def _same_field(tile: str, field: str) -> bool:
    return tile == field or (tile.isdigit() and field.isdigit() and int(tile) == int(field))


def _stitched_centres(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Choose the centres that are in the pixels of the well: (y, x), or (global_y, global_x) where those are.

    The bounding box is in the pixels of the image, so the centres that lie nearer to its middle are the ones.
    """
    y, x = table[Y].astype(float), table[X].astype(float)
    if not set(GLOBAL) <= set(table) or table.empty:
        return y, x
    other_y, other_x = (table[name].astype(float) for name in GLOBAL)
    if BOX in table:
        box = table[BOX].astype(str).str.extractall(r"(-?\d+\.?\d*)")[0].unstack().astype(float)
        if box.shape[1] == 4:
            middle = (box[0] + box[2]) / 2
            near, far = (middle - y).abs().median(), (middle - other_y).abs().median()
            return (other_y, other_x) if far < near else (y, x)
    return other_y, other_x


def _list_tiles(home: Path, fields: Fields, named: pd.DataFrame) -> pd.DataFrame:
    """List every field of the wells with cells, and what cells name beyond them."""
    rows: dict[tuple[str, str, str], str] = {}
    for place, own in named.astype(str).groupby([PLATE, WELL, *WELL_PARTS], sort=False)[TILE]:
        plate, well, row, column = map(str, place)
        images = fields.get(_place(fields, plate, row, column), {})
        # A table may call field 007 tile 7.
        names = {field: next((tile for tile in own if _same_field(tile, field)), field) for field in images}
        rows |= {(plate, well, names[field]): image.relative_to(home).as_posix() for field, image in images.items()}
        for tile in own:
            rows.setdefault((plate, well, tile), f"{home.name}.zarr/{row}/{column}/{tile}")
    return tile_table(pd.DataFrame([(*key, path) for key, path in rows.items()], columns=[*TILE_KEY, PATH]))


def _numbered(image: Path) -> list[str]:
    array, axes = open_image(image)
    return [f"channel{index}" for index in range(array.shape[axes.index("c")] if "c" in axes else 1)]


OPS_STANDARD = Layout("OPS Data Standard: cell_data.parquet beside a plate in OME-Zarr", _recognise, read_ops_standard)
