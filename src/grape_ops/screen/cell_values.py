"""Values of a cell table: texts, coordinates, gaps, and columns that are not there."""

import difflib
from pathlib import Path

import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL, X, Y
from grape_ops.screen.quality import Tally


def texts_of(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Join columns as text; a whole number written as a float loses its ``.0``, a gap becomes empty."""
    parts = []
    for column in columns:
        # Each value is put into words once: cells by the million are of a few thousand guides and tiles.
        codes, found = pd.factorize(table[column], use_na_sentinel=False)
        values = pd.Series(found)
        text = values.astype(str).where(values.notna(), "").str.strip()
        if pd.api.types.is_float_dtype(values) or column_is_number(text):
            text = text.str.removesuffix(".0")
        parts.append(text.to_numpy(object)[codes])
    return pd.Series(sum(parts[1:], start=parts[0]), index=table.index)


def without_column(name: str, table: pd.DataFrame) -> Tally:
    """Say that all cells count as of one plate, well or tile, and which column may be meant."""
    close = difflib.get_close_matches(name, [str(column).lower() for column in table], 1, 0.75)
    hint = f" (is it {close[0]}?)" if close else ""
    return Tally(f"cells of a table without a column {name}{hint}", len(table), "noted", f"screen.columns.{name}")


def column_is_number(text: pd.Series) -> bool:
    """Tell whether a column of text holds whole numbers that were written as floats: 1.0, 2.0."""
    known = text[text != ""]
    return len(known) > 0 and bool(known.str.fullmatch(r"\d+\.0").all())


def numbers_of(values: pd.Series, path: Path) -> pd.Series:
    """Read coordinates; gaps stay gaps.

    Raises
    ------
    GrapeOpsError : a value is no number.
    """
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        values = values.astype(str)  # they would become nanoseconds
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    bad = numbers.isna() & values.notna()
    bad &= ~values.isin(values[bad][values[bad].astype(str).str.strip() == ""])
    if bad.any():
        raise GrapeOpsError(
            f"The column {values.name!r} of {path} must hold numbers, but {int(bad.sum())} rows do not, for example "
            f"{values[bad].iloc[0]!r}. Name the right column under screen.columns."
        )
    return numbers


def check_no_gaps(cells: pd.DataFrame, path: Path) -> None:
    """Refuse identified cells that lack a plate, well, tile or coordinate."""
    for column in (name for name in (PLATE, WELL, TILE, Y, X) if name in cells):
        gaps = int(((cells[column] == "") | cells[column].isna()).sum())
        if gaps:
            raise GrapeOpsError(
                f"{gaps} of {len(cells)} identified cells in {path} have no {column}. Remove these rows, or name "
                f"another column as screen.columns.{column}."
            )
