"""Reading a user's cell table and putting it into our columns."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import GENE, GUIDE, IS_CONTROL, PLATE, TILE, WELL, X, Y
from grape_ops.screen.columns import OUR_COLUMNS, detect_columns
from grape_ops.screen.controls import find_controls

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_PARQUET = (".parquet", ".pq")
_NAMES = (GENE, GUIDE, PLATE, WELL, TILE)


def read_cells(path: Path, settings: ScreenSettings, named: Mapping[str, str]) -> pd.DataFrame:
    """Read a cell table: our columns first, then the user's own as they are, and ``is_control``.

    Plates, wells, tiles, genes and guides become strings, y and x floats. Cells without a gene or without a
    guide are left out with a warning that counts them: nobody read their barcode.

    Parameters
    ----------
    path : csv, tsv (either may be gzipped) or parquet.
    settings : the pattern of controls.
    named : our name -> their column, where detection is not wanted.

    Raises
    ------
    GrapeOpsError : the file is missing or unreadable, a column is missing, or a value does not fit.
    """
    table = _read(path)
    found = detect_columns(list(table.columns), named)
    if table.empty:
        raise GrapeOpsError(f"The cell table {path} has no rows.")
    ours = pd.DataFrame({name: _texts(table, found[name]) for name in _NAMES})
    for axis in (Y, X):
        ours[axis] = _numbers(table[found[axis][0]], path)
    extra = [column for column in table.columns if column not in OUR_COLUMNS and column != IS_CONTROL]
    cells = _leave_out_unidentified(pd.concat([ours, table[extra]], axis=1), path)
    _refuse_gaps(cells, path)
    cells[IS_CONTROL] = find_controls(cells, cells[GENE], settings.control_pattern)
    return cells


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise GrapeOpsError(f"There is no cell table {path}; `cells` in screen.yaml names it.")
    endings = [ending.lower() for ending in path.suffixes if ending.lower() != ".gz"]
    ending = endings[-1] if endings else ""
    try:
        if ending in _PARQUET:
            table = pd.read_parquet(path)
            return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        if ending in _SEPARATORS:
            # All text at first: a tile "007" is no 7, and "NA" may be somebody's gene.
            table = pd.read_csv(path, sep=_SEPARATORS[ending], dtype=str, keep_default_na=False)
            return table.reset_index(drop=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise GrapeOpsError(f"The cell table {path} cannot be read: {error}") from None
    raise GrapeOpsError(
        f"The cell table {path} must end in one of {', '.join([*_SEPARATORS, *_PARQUET])}; csv and tsv may be gzipped."
    )


def _texts(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Join columns as text; a whole number written as a float loses its ``.0``, a gap becomes empty."""
    joined = pd.Series("", index=table.index)
    for column in columns:
        values = table[column]
        text = values.astype(str).where(values.notna(), "").str.strip()
        if pd.api.types.is_float_dtype(values):
            text = text.str.removesuffix(".0")
        joined = joined + text
    return joined


def _numbers(values: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    bad = numbers.isna() & values.notna() & (values.astype(str).str.strip() != "")
    if bad.any():
        raise GrapeOpsError(
            f"The column {values.name!r} of {path} must hold numbers, but {int(bad.sum())} rows do not, for example "
            f"{values[bad].iloc[0]!r}. Name the right column under screen.columns."
        )
    return numbers


def _leave_out_unidentified(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    unidentified = (cells[GENE] == "") | (cells[GUIDE] == "")
    if unidentified.all():
        raise GrapeOpsError(
            f"Every row of {path} lacks a gene or a guide. Name the right columns as screen.columns.{GENE} and "
            f"screen.columns.{GUIDE}."
        )
    if unidentified.any():
        warnings.warn(
            f"{int(unidentified.sum())} of {len(cells)} cells in {path} have no gene or no guide and are left out.",
            stacklevel=3,
        )
    return cells[~unidentified].reset_index(drop=True)


def _refuse_gaps(cells: pd.DataFrame, path: Path) -> None:
    for column in (PLATE, WELL, TILE, Y, X):
        gaps = int(((cells[column] == "") | cells[column].isna()).sum())
        if gaps:
            raise GrapeOpsError(
                f"{gaps} of {len(cells)} identified cells in {path} have no {column}. Remove these rows, or name "
                f"another column as screen.columns.{column}."
            )
