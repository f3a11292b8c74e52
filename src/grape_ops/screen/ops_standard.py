"""Layout ``ops-standard``: a submission of the OPS Data Standard 0.1.0.

Fields are ``{aggregation}.zarr/{row}/{column}/{field}`` (OME-NGFF 0.5 HCS, T C Z Y X), cells stand in
``cell_data.parquet``, guides in ``metadata/perturbation_library.csv``. The standard places cells in tile pixels;
published wells that were stitched have one field, and their cells lie in the pixels of the well.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL, X, Y
from grape_ops.screen.columns import WELL_PARTS
from grape_ops.screen.guide_library import read_library
from grape_ops.screen.layout import Layout, visible
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import Screen, chosen_channels
from grape_ops.screen.stitched_wells import BOX, GLOBAL, Well, judge_frames, same_field
from grape_ops.screen.table_files import read_stretches
from grape_ops.screen.table_reader import TableReader, numbers_of
from grape_ops.screen.tile_pattern import PATH, TILE_KEY, tile_table
from grape_ops.screen.zarr_tiles import ZarrTiles, names_of_channels, note_unnamed, scales_of_floats

CELL_DATA, LIBRARY = "cell_data.parquet", "metadata/perturbation_library.csv"
_SAMPLED_IMAGES = 8
_GROUPS = ("zarr.json", ".zgroup")  # of zarr v3, and of v2, which some still write

Fields = dict[Well, dict[str, Path]]  # folder of the image of each field; a zarr that is alone names no plate


def _aggregations(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [folder for folder in (root, *sorted(root.iterdir())) if (folder / CELL_DATA).exists()]


def _recognise(root: Path) -> bool:
    return any(next(folder.glob("*.zarr"), folder / LIBRARY).exists() for folder in _aggregations(root))


def read_ops_standard(root: Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
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
        _ToFields.of(fields, home / CELL_DATA),
        adds=(TILE,),
        needs=(*WELL_PARTS, *GLOBAL, BOX),
        library=read_library(library, settings) if library.is_file() and not settings.library else None,
    )
    table = reader.read(table_folder)
    named = table.distinct([*TILE_KEY, *WELL_PARTS])
    table = replace(table, quality=(*table.quality, *_check_plates(fields, named)))
    images = [image for own in fields.values() for image in own.values()]
    samples = images[:: -(-len(images) // _SAMPLED_IMAGES)]
    names = names_of_channels([*samples, images[0].parents[2]])
    note_unnamed(images[0], names)
    channels = chosen_channels(names, settings)
    indices = tuple(map(names.index, channels))
    return Screen(
        root=home,
        channels=channels,
        cells=table,
        tiles=_list_tiles(home, fields, named),
        read_tile=ZarrTiles(home, indices, scales_of_floats(samples, indices, settings.float_max), names),
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
    number = re.fullmatch(r"0*(\d+)(\.0*)?", column)
    key = (plate, row.upper(), number[1] if number else column)
    return key if key in fields else ("", *key[1:])


def _wells_of(table: pd.DataFrame, fields: Collection[Well], file: Path) -> pd.Series:
    """Name each cell's well as the zarr does."""
    if lacking := [name for name in (PLATE, *WELL_PARTS, Y, X) if name not in table]:
        raise GrapeOpsError(f"{file} lacks the standard's columns {', '.join(lacking)}.")
    names = [table[name].astype(str) for name in (PLATE, *WELL_PARTS)]
    places = pd.Series(list(zip(*names, strict=True)), index=table.index)
    return places.map({place: _place(fields, *place) for place in set(places)})


@dataclass(frozen=True)
class _ToFields:
    """Puts cells of merged wells into their one field, in its pixels, whatever tile they once were of.

    Attributes
    ----------
    fields : names of the fields of each well.
    in_global : of each well with one field, whether its global centres are in the field's pixels.
    """

    fields: dict[Well, tuple[str, ...]]
    in_global: dict[Well, bool]

    @classmethod
    def of(cls, fields: Fields, file: Path) -> "_ToFields":
        """Look the table over for the centres that are meant."""
        names = {place: tuple(own) for place, own in fields.items()}
        columns = {PLATE, *WELL_PARTS, TILE, Y, X, *GLOBAL, BOX}
        stretches = ((table, _wells_of(table, fields, file)) for table in read_stretches(file, columns))
        return cls(names, judge_frames(stretches, names))

    def __call__(self, table: pd.DataFrame, file: Path) -> pd.DataFrame:
        wells = _wells_of(table, self.fields, file)
        only = wells.map({well: names[0] for well, names in self.fields.items() if len(names) == 1}).fillna("")
        tile = table[TILE].astype(str) if TILE in table else pd.Series("", index=table.index)
        named_so = pd.Series(list(map(same_field, tile, only)), index=table.index, dtype=bool)
        moved = wells.map(self.in_global).eq(True)
        centres = {
            ours: numbers_of(table[ours], file).where(~moved, numbers_of(table[theirs], file))
            for ours, theirs in zip((Y, X), GLOBAL if moved.any() else (Y, X), strict=True)
        }
        return table.assign(**{TILE: tile.where((only == "") | named_so, only)}, **centres)


def _check_plates(fields: Fields, named: pd.DataFrame) -> list[Tally]:
    """Refuse wells of two plates that would be cut from the same images; a zarr belongs to one plate."""
    plates: dict[Well, set[str]] = defaultdict(set)
    for place in named[[PLATE, *WELL_PARTS]].drop_duplicates().astype(str).itertuples(index=False):
        plates[_place(fields, *place)].add(place[0])
    for well, sharing in plates.items():
        if len(sharing) > 1 and well in fields:
            image = next(iter(fields[well].values()))
            zarr = next(folder.name for folder in image.parents if folder.suffix == ".zarr")
            raise GrapeOpsError(
                f"The plates {', '.join(sorted(sharing))} of {CELL_DATA} would share the images of well "
                f"{well[1]}{well[2]} in {zarr}; a zarr belongs to one plate. Lay a zarr named by its plate beside "
                f"{CELL_DATA} for each, or leave the cells of the other plates out of the table."
            )
    nameless = {plate for well, sharing in plates.items() if not well[0] and well in fields for plate in sharing}
    doubtful = len(nameless) if len(nameless) > 1 else 0
    return [Tally("plates whose wells lie in one zarr that names no plate", doubtful, "noted")] if doubtful else []


def _list_tiles(home: Path, fields: Fields, named: pd.DataFrame) -> pd.DataFrame:
    """List every field of the wells with cells, and what cells name beyond them."""
    rows: dict[tuple[str, str, str], str] = {}
    for place, own in named.astype(str).groupby([PLATE, WELL, *WELL_PARTS], sort=False)[TILE]:
        plate, well, row, column = map(str, place)
        images = fields.get(_place(fields, plate, row, column), {})
        # A table may call field 007 tile 7.
        names = {field: next((tile for tile in own if same_field(tile, field)), field) for field in images}
        rows |= {(plate, well, names[field]): image.relative_to(home).as_posix() for field, image in images.items()}
        for tile in own:
            rows.setdefault((plate, well, tile), f"{home.name}.zarr/{row}/{column}/{tile}")
    return tile_table(pd.DataFrame([(*key, path) for key, path in rows.items()], columns=[*TILE_KEY, PATH]))


OPS_STANDARD = Layout("OPS Data Standard: cell_data.parquet beside a plate in OME-Zarr", _recognise, read_ops_standard)
