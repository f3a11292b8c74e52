"""Which cell of a store a row of somebody else's table is.

Rows are found by plate, well and tile, as far as both tables have them, and an id of the cell that both have under one
name, or its coordinates; by the shard and the row of its crop; or they are all cells in the order of the store, which
genes, guides and wells have to confirm. Letters: N cells of the store, T rows of the table.
"""

import re
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.names import clean_name
from grape_ops.schema import GENE, GUIDE, IS_CONTROL, METADATA, METADATA_NAMES, PLATE, ROW, SHARD, TILE, WELL, X, Y
from grape_ops.screen.columns import CANDIDATES, COORDINATES

CELL = "cell"  # of baselines.profiles.columns: an id of the cell
SOURCE = "source"  # of a store of some of another store's cells: the row of each in the other
PLACES = (PLATE, WELL, TILE)
NAMES = {name: (*CANDIDATES[name], METADATA_NAMES[name]) for name in METADATA_NAMES}
LEAST_FOUND = 0.5  # share of the store's cells; with fewer, the key means something else in the two tables
IDS = re.compile(r"((cell|nucleus|object)_?)?(uu?id|id|label|number|index)|cell(_\d)?|metadata_object_?number", re.I)
_SHOWN = 12


def key_columns(columns: Collection[str], cells: pd.DataFrame, named: Mapping[str, str]) -> dict[str, str]:
    """Columns of a table that may say which cell a row is: our name -> theirs; an id has its own name.

    Parameters
    ----------
    columns : of the table.
    cells : the store's cells.
    named : our name -> their column, as the user set it; wins over detection.
    """
    found = {name: next((c for c in NAMES[name] if c in columns), None) for name in PLACES}
    for vertical, horizontal in (*COORDINATES, (f"{METADATA}Y", f"{METADATA}X")):
        if Y not in found and vertical in columns and horizontal in columns:
            found |= {Y: vertical, X: horizontal}
    found |= {name: named[name] for name in (*PLACES, Y, X) if name in named}
    ids = [named[CELL]] if CELL in named else [c for c in columns if IDS.fullmatch(str(c))]
    taken = {*found.values()}
    keys = {ours: theirs for ours, theirs in found.items() if theirs is not None and ours in cells}
    keys |= {name: name for name in ids if name in cells and name not in taken}
    for names in ((SHARD, ROW), (f"{METADATA}Shard", f"{METADATA}Row")):
        if SOURCE not in cells and all(name in columns for name in names):
            return keys | dict(zip((SHARD, ROW), names, strict=True))
    return keys


def match_rows(table: pd.DataFrame, keys: Mapping[str, str], cells: pd.DataFrame, said: str) -> np.ndarray:
    """Index of each row's cell in the store, -1 where the store does not have it: (T,).

    Parameters
    ----------
    table : the columns of ``key_columns``.
    keys : our name -> column of the table.
    cells : the store's cells.
    said : name of the table for messages.

    Raises
    ------
    GrapeOpsError : no key identifies the rows and finds most of the store's cells.
    """
    places = [name for name in PLACES if name in keys]
    ids = [name for name in keys if name not in (*PLACES, Y, X, SHARD, ROW)]
    tried = []
    by_place = [*([*places, name] for name in ids), *([[*places, Y, X]] if Y in keys and X in keys else [])]
    for key in [*by_place, *([[SHARD, ROW]] if SHARD in keys else [])]:
        theirs, ours = _as_text(table, [keys[name] for name in key], key), _as_text(cells, key, key)
        words = ", ".join(keys[name] for name in key)
        rows = ours.get_indexer(theirs) if ours.is_unique else np.empty(0, np.int64)
        times = np.bincount(rows[rows >= 0], minlength=len(cells))
        if not ours.is_unique or (times > 1).any():
            where = "the table" if ours.is_unique else "the store"
            tried.append(f"{words}: several rows of {where} have the same")
        elif times.sum() < max(LEAST_FOUND * len(cells), 1):
            first = _first_row(table, [keys[name] for name in key]), _first_row(cells, key)
            shown = f"the table begins with {first[0]}, the store with {first[1]}"
            tried.append(f"{words}: {times.sum()} of the store's {len(cells)} cells are found ({shown})")
        else:
            return rows
    raise GrapeOpsError(_no_match(said, places, tried, cells))


def rows_in_order(table: pd.DataFrame, keys: Mapping[str, str], cells: pd.DataFrame) -> np.ndarray | None:
    """The same of rows that are all cells in the order of the store; None if they are not, or if nothing shows it.

    Parameters
    ----------
    table, cells : as above.
    keys : of gene, guide, plate, well and tile those that the table has; a gene or a guide has to be among them.
    """
    places = cells[SOURCE].to_numpy() if SOURCE in cells else np.arange(len(cells))
    fits = len(table) > places.max() if SOURCE in cells else len(table) == len(cells)
    if not fits or not {GENE, GUIDE} & set(keys):
        return None
    own = table.iloc[places]
    for ours, theirs in keys.items():
        told, known = _alike(own[theirs], ours).to_numpy(), _alike(cells[ours], ours).to_numpy()
        named = ~cells[IS_CONTROL].to_numpy(bool) if ours in (GENE, GUIDE) else slice(None)  # controls have many names
        if (told[named] != known[named]).any():
            return None
    rows = np.full(len(table), -1)
    rows[places] = np.arange(len(cells))
    return rows


def _as_text(table: pd.DataFrame, columns: list[str], ours: list[str]) -> pd.MultiIndex:
    """One key per row, alike in both tables however they write numbers and wells."""
    return pd.MultiIndex.from_arrays([_alike(table[c], name) for c, name in zip(columns, ours, strict=True)])


def _first_row(table: pd.DataFrame, columns: list[str]) -> str:
    return " ".join(map(str, table[columns].iloc[0])) if len(table) else "no row"


def _alike(values: pd.Series, name: str) -> pd.Series:
    if name in (Y, X):
        return (pd.to_numeric(values, errors="coerce") * 100).round().astype("Int64").astype(str)
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    if pd.api.types.is_integer_dtype(values):
        return values.astype(str)
    codes, found = pd.factorize(values.astype(str))
    text = pd.Series([clean_name(name) for name in found], dtype=object)
    if name == WELL:
        text = text.str.upper().str.replace(r"^([A-Z]+)0+(\d)", r"\1\2", regex=True)
    elif name not in (GENE, GUIDE):
        plain = text.str.replace(r"^0*(\d+)(\.0)?$", r"\1", regex=True)
        text = plain if plain.nunique() == text.nunique() else text.str.replace(r"^(\d+)\.0$", r"\1", regex=True)
    return pd.Series(text.to_numpy(object)[codes], index=values.index)


def _no_match(said: str, places: list[str], tried: list[str], cells: pd.DataFrame) -> str:
    missing = [name for name in PLACES if name not in places and name in cells]
    lacks = f" It has no column for {', '.join(missing)}." if missing else ""
    if tried:
        why = "Tried " + "; ".join(tried) + "."
    else:
        there = ", ".join(map(str, list(cells.columns)[:_SHOWN]))
        why = (
            "It has neither an id of the cell that the store has under the same name, nor coordinates y and x that the "
            "store has too, nor shard and row of the crop, and its rows are not the store's "
            f"{len(cells)} cells in their order with the same genes and wells; the store's cells have {there}."
        )
    return (
        f"The rows of {said} cannot be matched to the store's cells.{lacks} {why} Name columns with --set "
        "baselines.profiles.columns.{plate,well,tile,y,x,cell}=COLUMN. If its rows are guides, or other cells of the "
        "same screen: --set baselines.profiles.match=genes."
    )
