"""Layout ``table``: a cell table with tiles or ready crops, described by ``screen.yaml``.

``screen.yaml`` says where things are::

    cells: cells.parquet                     # csv, tsv, parquet or h5ad
    tiles: tiles/{plate}/{well}_{tile}.tif   # any column of the table; {channel} for one file per channel
    channels: [DNA, gammaH2AX, tubulin, actin]
    columns: {sgRNA: my_guide_column}        # ours: theirs; only where detection does not find them

or, in place of ``tiles``, ``crops``: one file per cell (``crops/{path}``, with a column of the table in braces), one
array of all cells (npz, npy, zarr, h5sc; in the order of the table, or by the rows that ``crops_row`` names), or an
LMDB store. A file of crops that tells all by itself (h5sc, LMDB, npz with arrays of labels), or that lies alone beside
one table, needs no ``screen.yaml``, and neither does a folder of crops whose names say whose they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note
from grape_ops.schema import PLATE, SCREEN_FILE, TILE, WELL, X, Y
from grape_ops.screen.cell_table import CellTable
from grape_ops.screen.crop_files import (
    CROP,
    ArrayCrops,
    FileCrops,
    count_channels,
    crop_screen,
    h5sc_channels,
    npz_array,
    open_array,
)
from grape_ops.screen.crop_rows import CropRows, labels_of_crops
from grape_ops.screen.description import ARRAY_FILES, LMDB_FILES, Description, describe
from grape_ops.screen.layout import Layout
from grape_ops.screen.lmdb_crops import LmdbCrops, lmdb_table
from grape_ops.screen.named_crops import EXAMPLE
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import CropReader, Screen, chosen_channels
from grape_ops.screen.table_reader import TableReader
from grape_ops.screen.tiff import TiffTiles, planes_of_pattern
from grape_ops.screen.tile_pattern import TilePattern, list_tiles
from grape_ops.words import counted

AUTHORS_CHANNELS = ("gammaH2AX", "actin", "DNA", "tubulin")  # of the paper's crops, whose names or keys say the gene
_OPTIONAL_WITH_CROPS = (PLATE, WELL, TILE, Y, X)


def _recognise(root: Path) -> bool:
    return describe(root) is not None


def read_table_layout(root: Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
    """Open what a ``screen.yaml`` describes, or a file of crops that needs no description.

    Parameters
    ----------
    root : the folder, its ``screen.yaml``, or a file of crops.
    settings : ``columns`` wins over the ``columns`` of screen.yaml, and both over detection.

    Raises
    ------
    GrapeOpsError : the folder, the description or the cell table does not fit, with what fixes it.
    """
    description = describe(root)
    if description is None:
        raise GrapeOpsError(
            f"There is no {SCREEN_FILE} in {root}. The layout `table` needs one with the keys cells, tiles, channels "
            "(or crops in place of tiles); another kind of folder needs another screen.layout. Without it, a single "
            f"file of crops ({', '.join((*ARRAY_FILES, *LMDB_FILES))}) and at most one cell table were looked for "
            f"there, and crops named {EXAMPLE}."
        )
    if settings.cells:
        description = replace(description, keys={**description.keys, "cells": settings.cells})
    read = _read_crops if description.get("crops") else _read_tiles
    return read(description, settings, table_folder)


def _read_tiles(description: Description, settings: ScreenSettings, table_folder: Path | None) -> Screen:
    root, present = description.root, tuple(description.get("channels"))
    named = {**(description.get("columns") or {}), **settings.columns}
    with _as_described(root):
        pattern = TilePattern(description.get("tiles"))
        planes = planes_of_pattern(pattern, present)
    table = TableReader([root / description.get("cells")], settings, named, needs=pattern.fields).read(table_folder)
    channels = chosen_channels(present, settings)
    with _as_described(root):
        tiles = list_tiles(root, pattern, table)
    return Screen(
        root=root,
        channels=channels,
        cells=table,
        tiles=tiles,
        read_tile=TiffTiles(
            root,
            tuple(plane for name in channels for plane in planes if plane.channel == name),
            stacked=bool(description.get("z_stack")),
        ),
    )


@contextmanager
def _as_described(root: Path) -> Iterator[None]:
    """Name the file in errors of what ``screen.yaml`` says."""
    try:
        yield
    except GrapeOpsError as error:
        raise GrapeOpsError(f"{root / SCREEN_FILE}: {error}") from None


def _read_crops(description: Description, settings: ScreenSettings, table_folder: Path | None) -> Screen:
    root, crops = description.root, description.get("crops")
    named = {**(description.get("columns") or {}), **settings.columns}
    place, needs = _place(description)
    if description.get("cells"):
        reader = TableReader([root / description.get("cells")], settings, named, place, (CROP,), needs)
    else:
        reader = TableReader([root / crops], settings, named, place, (CROP,), needs, table_of=_own_table(description))
    reader.optional = _OPTIONAL_WITH_CROPS
    table = reader.read(table_folder)
    _check_rows(place, table, description)
    names, read_crops = _crop_reader(description, table.beginning(CROP), settings)
    matched_by_order = isinstance(place, CropRows) and place.column is None and not place.compared
    if matched_by_order and description.get("cells"):
        tally = Tally("cells matched with crops by their order alone", len(table), "noted", "crops_row in screen.yaml")
        table = replace(table, quality=(*table.quality, tally))
    return crop_screen(root, names, table, settings, read_crops)


def _place(description: Description) -> tuple[Callable[[pd.DataFrame, Path], pd.DataFrame], tuple[str, ...]]:
    """Tell how the column ``crop`` is made, and which columns it takes."""
    crops, row_column = description.get("crops"), description.get("crops_row")
    if "{" in crops:
        pattern = TilePattern(crops)

        def fill(table: pd.DataFrame, file: Path) -> pd.DataFrame:
            missing = [name for name in pattern.fields if name not in table]
            if missing:
                raise GrapeOpsError(f"The pattern {crops!r} of crops names {', '.join(missing)}, which {file} lacks.")
            values = table[list(pattern.fields)].astype(str).to_dict("records")
            return table.assign(**{CROP: [pattern.fill({str(k): v for k, v in row.items()}) for row in values]})

        return fill, pattern.fields
    if _is_lmdb(description.root / crops):

        def join(table: pd.DataFrame, file: Path) -> pd.DataFrame:
            if CROP not in table:
                raise GrapeOpsError(f"{file} needs a column {CROP!r} with the keys of {crops}, or no `cells` be named.")
            return table  # its keys are the crops' names

        return join, ()
    rows, file = CropRows(row_column), description.root / crops
    if description.get("cells"):
        count = open_array(file, description.get("crops_array") or "").shape[0]
        rows = CropRows(row_column, crops=file, labels=labels_of_crops(file, count))
    return rows, (*([row_column] if row_column else []), *rows.labels)


def _check_rows(place: object, table: CellTable, description: Description) -> None:
    """Make sure that rows of the table and crops of an array are the same cells."""
    different = table.count_distinct(CROP)
    if different < len(table):
        source = description.get("crops_row") or description.get("crops")
        raise GrapeOpsError(
            f"{counted(different, 'different crops')} for {counted(len(table), 'cells')} by {source!r}: "
            "cells cannot share one. Is it the right column? Without crops_row, crops are taken in the table's order."
        )
    if not isinstance(place, CropRows):
        return
    file = description.root / description.get("crops")
    array = open_array(file, description.get("crops_array") or "")
    crops = array.shape[0]
    if isinstance(array, np.memmap) and (behind := file.stat().st_size - array.offset - array.nbytes):
        note(f"{file} goes on for {behind:,} bytes behind its array; only the first array of an .npy file is read.")
    if place.span[0] < 0 or place.span[1] >= crops:
        raise GrapeOpsError(
            f"{place.column!r}, which crops_row in {SCREEN_FILE} names, gives rows from {place.span[0]} to "
            f"{place.span[1]}; the crops of {file} are numbered from 0 to {crops - 1}."
        )
    if place.column is None and crops != place.count:
        raise GrapeOpsError(
            f"{file} has {crops} crops, and the cell table {place.count} rows; name the column that gives each "
            f"cell's row as crops_row in {SCREEN_FILE}."
        )


def _is_lmdb(path: Path) -> bool:
    return path.suffix in LMDB_FILES or (path / "data.mdb").is_file()


def _own_table(description: Description) -> Callable[[], pd.DataFrame] | None:
    """Tell how a file of crops gives the table of its cells where no other table is named."""
    crops = description.get("crops")
    file = description.root / crops
    if "{" in crops:
        pattern = TilePattern(crops)
        return lambda: pd.DataFrame(pattern.find(description.root, pattern.fields), columns=list(pattern.fields))
    if _is_lmdb(file):
        return lambda: lmdb_table(file)
    if file.suffix == ".npz":
        return lambda: _npz_table(file)
    if file.suffix == ".h5sc":
        return None  # the table of an AnnData file is read as any other
    raise GrapeOpsError(f"{file} says nothing of its cells; name their table as cells in {SCREEN_FILE}.")


def _npz_table(file: Path) -> pd.DataFrame:
    """Take every array with one value per cell as a column."""
    crops = open_array(file, "")
    with np.load(file, allow_pickle=False) as content:
        arrays = ((name, npz_array(file, content, name)) for name in content.files)
        columns = {name: array for name, array in arrays if array.shape == (len(crops),)}
    if not columns:
        raise GrapeOpsError(f"{file} has no arrays of labels; name the cells' table as cells in {SCREEN_FILE}.")
    return pd.DataFrame(columns)


def _crop_reader(
    description: Description, first: list[str], settings: ScreenSettings
) -> tuple[tuple[str, ...], CropReader]:
    """Make the reader of the crops, and name its channels."""
    root, crops = description.root, description.get("crops")
    file, name = root / crops, description.get("crops_array") or ""
    places: list[int] | None = None
    names = description.get("channels")
    if "{" in crops:
        count = count_channels(root, first)
        if names is None and description.by_names and count == len(AUTHORS_CHANNELS):
            names = list(AUTHORS_CHANNELS)
    elif _is_lmdb(file):
        names = names or list(AUTHORS_CHANNELS)
        count = len(names)
    elif file.suffix == ".h5sc":
        own, places = h5sc_channels(file)
        names, count = names or own, len(own)
    else:
        count = open_array(file, name).shape[1]
    present = tuple(names or [f"channel{index}" for index in range(count)])
    if len(present) != count:
        listed = ", ".join(present)
        raise GrapeOpsError(f"The crops have {count} channels, and {SCREEN_FILE} names {len(present)}: {listed}.")
    channels = chosen_channels(present, settings)
    indices = tuple((places or range(count))[present.index(channel)] for channel in channels)
    if "{" in crops:
        return channels, FileCrops(root, indices, count)
    return channels, LmdbCrops(file, indices, count) if _is_lmdb(file) else ArrayCrops(file, name, indices)


TABLE = Layout(
    f"a cell table with tiles or crops that {SCREEN_FILE} describes, a file of crops, or crops named {EXAMPLE}",
    _recognise,
    read_table_layout,
)
