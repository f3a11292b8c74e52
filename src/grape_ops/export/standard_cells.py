"""Wells, tiles and cells in the words of the OPS Data Standard 0.1.0: ``standard.py`` writes them."""

import re

import numpy as np
import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.config import ExportSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.export.standard_library import BARCODE, PERTURBATION, StandardLibrary
from grape_ops.progress import note
from grape_ops.schema import CLASS, GUIDE, IS_CONTROL, PLATE, TILE, WELL, X, Y
from grape_ops.words import some_of

CELL_IDS = ("cell_id", "cell_0", "cell", "label")  # of a cell within its tile, as tables name it
CELL_UID, CELL_CLASS = "cell_uid", "cell_class"
_UNKNOWN_CLASS = "unclassified"
_WELL = re.compile(r"([A-Z])0*(\d+)")


def describe_cells(store: CropStore, guides: StandardLibrary, settings: ExportSettings) -> pd.DataFrame:
    """Put the store's cells into the columns of cell_data.parquet, in the store's order.

    Raises
    ------
    GrapeOpsError : a well is not named by a letter and a number, or a plate's name holds a ``|``.
    """
    cells = store.cells
    places = {well: _WELL.fullmatch(settings.wells.get(well, well)) for well in cells[WELL].unique()}
    wrong = [well for well, place in places.items() if place is None]
    if wrong:
        raise GrapeOpsError(
            f"The OPS standard names wells by a letter and a number; {some_of(wrong)} are not. Say which they are: "
            f"--set export.wells={{{wrong[0]}: A1}}."
        )
    row = {well: place[1] for well, place in places.items() if place}
    column = {well: int(place[2]) for well, place in places.items() if place}
    tile = _numbers_of_tiles(cells)
    well_name = cells[WELL].map(row) + cells[WELL].map(column).astype(str)
    if cells[PLATE].str.contains("|", regex=False).any():
        raise GrapeOpsError("The OPS standard joins names by |, so that a plate's name must not hold it.")
    table = pd.DataFrame(
        {
            "plate": cells[PLATE].to_numpy(object),
            "well_row": cells[WELL].map(row).to_numpy(object),
            "well_col": cells[WELL].map(column).to_numpy(np.int64),
            "tile": tile,
            "x": cells[X].to_numpy(np.float64),
            "y": cells[Y].to_numpy(np.float64),
            CELL_UID: _names_of_cells(cells, cells[PLATE] + "_" + well_name + "_" + pd.Series(tile).astype(str) + "_"),
            BARCODE: cells[GUIDE].map(guides.barcode).to_numpy(object),
        }
    )
    of_barcode = guides.library.set_index(BARCODE)[PERTURBATION]
    table[PERTURBATION] = table[BARCODE].map(of_barcode).to_numpy(object)
    # What the standard's own notebook reads beside.
    kind = next((name for name in (CELL_CLASS, CLASS) if name in cells), None)
    classes = cells[kind].astype(str).str.replace("|", "/").to_numpy(object) if kind else _UNKNOWN_CLASS
    table["well"], table[CLASS], table[IS_CONTROL] = (
        well_name.to_numpy(object),
        classes,
        cells[IS_CONTROL].to_numpy(bool),
    )
    return table if kind is None else table.assign(**{CELL_CLASS: classes})


def _names_of_cells(cells: pd.DataFrame, prefixes: pd.Series) -> np.ndarray:
    """Name every cell by the screen's own id where it has one, else by its number within the tile."""
    if CELL_UID in cells:
        own = cells[CELL_UID].astype(str)
        if own.is_unique and not own.str.contains("|", regex=False).any():
            return own.to_numpy(object)
    found = next((name for name in CELL_IDS if name in cells), None)
    if found is not None:
        # A column with gaps holds whole numbers as 1.0.
        own = prefixes + cells[found].astype(str).str.removesuffix(".0").str.replace("|", "/")
        if own.is_unique:
            return own.to_numpy(object)
        note(f"the column {found} does not identify the cells of a tile; they are numbered instead.")
    number = cells.groupby([PLATE, WELL, TILE], sort=False).cumcount()
    return (prefixes + number.astype(str)).to_numpy(object)


def _numbers_of_tiles(cells: pd.DataFrame) -> np.ndarray:
    """Tiles as whole numbers: as they are, or else counted in the order of their names within a well."""
    if cells[TILE].str.fullmatch(r"\d+").all():
        return cells[TILE].to_numpy(np.int64)
    return cells.groupby([PLATE, WELL])[TILE].rank(method="dense").to_numpy(np.int64) - 1
