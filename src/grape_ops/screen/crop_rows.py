"""Which crop of an array each row of a table is, and whether both are the same cells.

Files of crops often carry labels of their own: arrays beside the crops in npz and zarr, the table of an h5sc file.
Where the cell table has a column of the same name, both must say the same of every cell. Legend: N crops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from grape_ops.artifacts.declared_size import shape_in_npz
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import SCREEN_FILE
from grape_ops.screen.crop_files import CROP, npz_array
from grape_ops.screen.table_files import read_whole


@dataclass
class CropRows:
    """Numbers the rows of a table, over all of its stretches, or takes the numbers from a column.

    Attributes
    ----------
    column : which gives each cell's row; None counts them.
    crops : file of the crops, for messages.
    labels : what it says of its crops, as ``labels_of_crops`` reads it.
    count, span : rows that were counted, or the least and largest that the column gave.
    compared : columns that could be compared with the labels.
    """

    column: str | None
    crops: Path = Path()
    labels: Mapping[str, pd.Series] = field(default_factory=dict)
    count: int = 0
    span: tuple[int, int] = (1 << 62, 0)
    compared: int = 0

    def __call__(self, table: pd.DataFrame, file: Path) -> pd.DataFrame:
        """Add the column ``crop`` to a stretch of the table.

        Raises
        ------
        GrapeOpsError : the column is not there or holds no whole numbers, or the crops are of other cells.
        """
        if self.column is not None:
            if self.column not in table:
                raise GrapeOpsError(f"crops_row in {SCREEN_FILE} names {self.column!r}, which {file} lacks.")
            rows = pd.to_numeric(table[self.column], errors="coerce")
            if (wrong := table[self.column][rows.isna() | (rows % 1 != 0)]).size:
                raise GrapeOpsError(
                    f"crops_row in {SCREEN_FILE} names {self.column!r}, where {file} has {wrong.iloc[0]!r}; a row is a "
                    "whole number."
                )
            if len(rows):
                self.span = (min(self.span[0], int(rows.min())), max(self.span[1], int(rows.max())))
            numbers = rows.to_numpy(np.int64)
        else:
            first, self.count = self.count, self.count + len(table)
            numbers = np.arange(first, self.count)
        self.compared = _check_labels(self.labels, table, numbers, self.crops)
        return table.assign(**{CROP: numbers})


def labels_of_crops(file: Path, count: int) -> dict[str, pd.Series]:
    """Read what a file says of its crops besides their pixels: text and whole numbers, (N,) by their name."""
    found: dict[str, np.ndarray | pd.Series] = {}
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as content:
            found = {name: npz_array(file, content, name) for name in content.files if _is_label(file, name, count)}
    elif file.suffix == ".zarr":
        node = zarr.open(str(file), mode="r")
        if isinstance(node, zarr.Group):
            found = {name: np.asarray(array[:]) for name, array in node.arrays() if array.shape == (count,)}
    elif file.suffix == ".h5sc":
        found = {str(name): column for name, column in read_whole(file).items()}
    series = {name.lower(): pd.Series(values) for name, values in found.items()}
    return {name: values for name, values in series.items() if _kind(values) and len(values) == count}


def _is_label(file: Path, name: str, count: int) -> bool:
    try:
        return shape_in_npz(file, name) == (count,)
    except GrapeOpsError:  # Python objects, say: not compared, as it is not asked for
        return False


def _check_labels(labels: Mapping[str, pd.Series], table: pd.DataFrame, rows: np.ndarray, file: Path) -> int:
    """Compare a stretch of the cell table with the labels of its crops: -> number of columns that could be compared.

    Parameters
    ----------
    rows : (n,) which crop each row of the table names.
    file : of the crops, for messages.

    Raises
    ------
    GrapeOpsError : they say different things of a cell.
    """
    compared = 0
    for name in table:
        theirs = labels.get(str(name).lower())
        if theirs is None or not len(rows) or rows.min() < 0 or rows.max() >= len(theirs):
            continue
        ours, own = (
            _comparable(table[name].reset_index(drop=True)),
            _comparable(theirs.iloc[rows].reset_index(drop=True)),
        )
        if _kind(ours) != _kind(own):
            continue
        compared += 1
        wrong = np.flatnonzero((ours != own) & ~(ours.isna() & own.isna()))
        if len(wrong):
            place = wrong[0]
            raise GrapeOpsError(
                f"The cell table and {file} do not name the same cells in the same order: {len(wrong)} of {len(rows)} "
                f"rows differ in {name!r}; crop {rows[place]} is {own[place]!r} there, and {ours[place]!r} in the "
                "table. Name the column that gives each cell's row as crops_row in screen.yaml, or give the table in "
                "the order of the crops."
            )
    return compared


def _kind(values: pd.Series) -> str:
    """Text or whole numbers; measurements are no labels, since tables round them."""
    if pd.api.types.is_bool_dtype(values):
        return ""
    if pd.api.types.is_integer_dtype(values):
        return "numbers"
    return "" if pd.api.types.is_float_dtype(values) else "text"


def _comparable(values: pd.Series) -> pd.Series:
    """Read numbers out of text, as both may come from a text table: "007" is 7."""
    if _kind(values) != "text":
        return values
    text = values.map(lambda value: value.decode() if isinstance(value, bytes) else str(value), na_action="ignore")
    numbers = pd.to_numeric(text, errors="coerce")
    whole = numbers.notna().all() and bool((numbers % 1 == 0).all())
    return numbers.astype(np.int64) if whole and len(numbers) else text.astype(object)
