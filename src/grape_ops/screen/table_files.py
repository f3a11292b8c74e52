"""Tables on disk, read one stretch of rows at a time: csv, tsv, parquet files and folders, h5ad."""

import codecs
import csv
import gzip
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import h5py
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.hdf5 import opened_anndata
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.names import clean_name
from grape_ops.screen.layout import walk
from grape_ops.words import counted

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_PARQUET = (".parquet", ".pq")
_H5AD = (".h5ad", ".h5sc")
ROWS_AT_ONCE = 1 << 14
_BYTES_AT_ONCE = 1 << 23  # of text; no row is longer

_UNREADABLE = (*DAMAGE, pa.ArrowException)


@dataclass(frozen=True)
class TablePart:
    """One file of a table: a parquet folder has several, which may differ in their columns.

    Attributes
    ----------
    file : its path.
    values : columns that the names of its folders give, such as ``plate=P1``; a column of the file goes before.
    """

    file: Path
    values: Mapping[str, str | None] = field(default_factory=dict)

    def column_names(self) -> list[str]:
        """List its columns, without blanks around them; a named index counts as a column.

        Raises
        ------
        GrapeOpsError : there is no such table, or it cannot be read.
        """
        return list(dict.fromkeys([*_column_names(self.file), *self.values]))

    def read_stretches(self, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
        """Read it one stretch of rows at a time; see ``read_stretches``."""
        own = _column_names(self.file) if self.values else []
        added = {name: value for name, value in self.values.items() if name not in own}
        for table in _stretches(self.file, columns):
            yield table.assign(**{name: v for name, v in added.items() if columns is None or name in columns})


def parts_of(path: Path) -> list[TablePart]:
    """List the files of a table, in natural order.

    Raises
    ------
    GrapeOpsError : there is no such table, it has another ending than tables have, or it is a folder without files.
    """
    _ending(path)
    if not path.is_dir():
        return [TablePart(path)]
    files = [file for file in walk(path) if file.suffix.lower() in _PARQUET]
    if not files:
        raise GrapeOpsError(f"The folder {path} holds no parquet files.")
    return [TablePart(file, _values_of_folders(file.relative_to(path).parts[:-1])) for file in files]


def _values_of_folders(names: Sequence[str]) -> dict[str, str | None]:
    """Read columns from the names of folders, as Spark and dask write them: plate=P1/tile=007."""
    pairs = [name.partition("=")[::2] for name in names if "=" in name.strip("=")]
    return {key: None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value) for key, value in pairs}


def column_names(path: Path) -> list[str]:
    """List the columns that any file of a table has.

    Raises
    ------
    GrapeOpsError : there is no such table, or it cannot be read.
    """
    return list(dict.fromkeys(name for part in parts_of(path) for name in part.column_names()))


def read_stretches(path: Path, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
    """Read a table one stretch of rows at a time; those of csv and tsv are all text.

    Parameters
    ----------
    columns : those to read; all if None.
    """
    for part in parts_of(path):
        yield from part.read_stretches(columns)


def _column_names(path: Path) -> list[str]:
    ending = _ending(path)
    try:
        if ending in _PARQUET:
            return trimmed([field.name for field in pq.ParquetFile(path).schema_arrow if _is_column(field)])
        if ending in _H5AD:
            return list(_obs(path).columns)
        _check_text(path, _SEPARATORS[ending])
        return trimmed([str(name) for name in pd.read_csv(path, sep=_SEPARATORS[ending], nrows=0).columns])
    except _UNREADABLE as error:
        raise _cannot_be_read(path, error) from None


def trimmed(names: Sequence[str]) -> list[str]:
    """Write the names of columns without blanks around them, and without what nobody sees; none comes twice by it."""
    found: list[str] = []
    for name in names:
        own = clean_name(name)
        found.append(name if own in found or not own else own)
    return found


def _stretches(path: Path, columns: Collection[str] | None) -> Iterator[pd.DataFrame]:
    ending = _ending(path)
    try:
        if ending in _PARQUET:
            yield from _parquet_rows(path, columns)
        elif ending in _H5AD:
            table = _obs(path)
            yield table if columns is None else table[[name for name in table if name in columns]]
        else:
            yield from _text_rows(path, columns)
    except _UNREADABLE as error:
        raise _cannot_be_read(path, error) from None


def _parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[pd.DataFrame]:
    present = [field.name for field in pq.ParquetFile(path).schema_arrow if _is_column(field)]
    names = dict(zip(present, trimmed(present), strict=True))
    wanted = [theirs for theirs in present if columns is None or names[theirs] in columns]
    _check_once([clean_name(name) for name in present if columns is None or clean_name(name) in columns])
    # By default whole row groups are fetched ahead, most of the memory such a pass takes.
    source = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    for batch in source.iter_batches(ROWS_AT_ONCE, columns=wanted):
        # Without pandas' own notes, by which an index would not be a column.
        yield plain(pa.Table.from_batches([batch])).to_pandas().rename(columns=names)


def _text_rows(path: Path, columns: Collection[str] | None) -> Iterator[pd.DataFrame]:
    """Read a csv or tsv as text: a tile "007" is no 7, and "NA" may be somebody's gene."""
    names = _column_names(path)
    wanted = [name for name in names if columns is None or name in columns]
    for stretch in text_stretches(path, _SEPARATORS[_ending(path)], names, wanted):
        table = stretch.to_pandas()
        _check_line_breaks(table, path)
        yield table


def text_stretches(path: Path, separator: str, names: Sequence[str], wanted: Sequence[str]) -> Iterator[pa.Table]:
    """Read a csv or tsv, gzipped or not, one stretch of rows at a time; all values are text.

    Parameters
    ----------
    names : of all its columns; its first line is skipped.
    wanted : those to read.

    Raises
    ------
    ValueError : a row has more or fewer values than there are columns, which would move them into other columns.
    """
    check_header(path, separator, wanted)
    read = pa.csv.ReadOptions(use_threads=False, column_names=list(names), skip_rows=1, block_size=_BYTES_AT_ONCE)
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=list(wanted) or list(names[:1]),  # without any, all would be read
        strings_can_be_null=False,
    )
    parse = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    try:
        with _opened(path) as file, pa.csv.open_csv(file, read, parse, convert) as stretches:
            for batch in stretches:
                yield pa.Table.from_batches([batch]).select(list(wanted))
    except pa.ArrowInvalid as error:
        raise ValueError(_uneven(str(error)) or str(error)) from None


def _uneven(words: str) -> str | None:
    """Say of a row with too many or too few values what is wrong with it; None of any other trouble."""
    found = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)(?:: (.*))?", words, re.DOTALL)
    if not found:
        return None
    row, columns, values, text = found.groups()
    which = f"row {row}" if row else "a row"
    shown = f" ({text[:80].strip()}{'...' if len(text) > 80 else ''})" if text else ""
    return (
        f"{which}{shown} has {counted(int(values), 'values')}, where the first line names "
        f"{counted(int(columns), 'columns')}. Does a value hold the separator outside quotation marks, or was the "
        "file cut off?"
    )


def check_header(path: Path, separator: str, columns: Collection[str] | None = None) -> None:
    """Refuse a text table whose first line is empty, or that has a column twice: pandas would give it another name.

    Parameters
    ----------
    columns : those that are wanted; all if None.

    Raises
    ------
    ValueError : it has no names of columns, or one of those wanted twice.
    """
    first = _first_line(path).decode("utf-8-sig").split("\r")[0]
    if not first.strip():
        raise ValueError("its first line, which is to name the columns, is empty")
    try:
        names = next(csv.reader([first], delimiter=separator), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None
    _check_once([name for name in map(clean_name, names) if name and (columns is None or name in columns)])


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _first_line(path: Path) -> bytes:
    with _opened(path) as file:
        return file.readline(1 << 20)


def _check_once(wanted: list[str]) -> None:
    """Refuse a column that is there twice, since nobody knows which one is meant."""
    twice = [name for name in wanted if wanted.count(name) > 1]
    if twice:
        raise ValueError(f"it has the column {twice[0]!r} more than once")


def plain(table: pa.Table) -> pa.Table:
    """Turn bytes into text and half floats into floats, and leave out pandas' own notes."""
    for place, column in enumerate(table.schema):
        kind = column.type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            table = table.set_column(place, column.name, table[place].cast(pa.string()))
        elif pa.types.is_float16(kind):
            table = table.set_column(place, column.name, table[place].cast(pa.float32()))
    return table.replace_schema_metadata(None)


def read_whole(path: Path) -> pd.DataFrame:
    """Read a table that is small, such as a library."""
    stretches = list(read_stretches(path))
    return pd.concat(stretches, ignore_index=True) if stretches else pd.DataFrame(columns=column_names(path))


def _ending(path: Path) -> str:
    if not path.exists():
        raise GrapeOpsError(
            f"There is no cell table {path}; screen.cells, or `cells` in screen.yaml, names the cell table."
        )
    endings = [ending.lower() for ending in path.suffixes if ending.lower() != ".gz"]
    ending = endings[-1] if endings else ""
    known = (*_SEPARATORS, *_PARQUET, *_H5AD)
    if ending not in known:
        raise GrapeOpsError(f"The table {path} must end in one of {', '.join(known)}; csv and tsv may be gzipped.")
    if path.is_dir() and ending not in _PARQUET:
        raise GrapeOpsError(f"The table {path} is a folder; only parquet tables may be folders of files.")
    return ending


def _is_column(field: pa.Field) -> bool:
    """Whether it has one value per cell, and no lists or the like, and is not a nameless index that pandas wrote."""
    return not field.name.startswith("__index_level_") and not pa.types.is_nested(field.type)


def _obs(path: Path) -> pd.DataFrame:
    from anndata.io import read_elem

    with opened_anndata(path, "an AnnData file (HDF5)") as file:
        if "obs" not in file:
            raise GrapeOpsError(f"{path} is no AnnData file: it has no table of cells (obs).")
        table = read_elem(file["obs"])
        if not isinstance(table, pd.DataFrame):
            raise ValueError("its obs is no table")
        one = [name for name in table if isinstance(part := file["obs"][name], h5py.Dataset) and not part.shape]
        if one:
            raise ValueError(f"the column {one[0]} of its obs is a single value")
    named = table.index.name not in (None, "_index", "index") and table.index.name not in table
    table = table.reset_index(drop=not named)
    return table.set_axis(trimmed([str(name) for name in table]), axis=1)


def _check_text(path: Path, separator: str) -> None:
    """Refuse text that is encoded or separated otherwise, which shows in its first line."""
    first = _first_line(path)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise GrapeOpsError(f"The table {path} is encoded in UTF-16; save it in UTF-8.")
    for other, name in ((b";", "semicolons"), (b"\t", "tabs"), (b",", "commas")):
        if separator.encode() not in first and other in first:
            wanted = "commas" if separator == "," else "tabs"
            raise GrapeOpsError(
                f"The columns of the table {path} are separated by {name}, where its ending says {wanted}; save it "
                f"with {wanted}, and with decimal points."
            )


def _check_line_breaks(table: pd.DataFrame, path: Path) -> None:
    """Refuse values of several lines: a stray quotation mark makes one row of many."""
    for name in table:
        if table[name].str.contains("\n", regex=False, na=False).any():
            raise GrapeOpsError(
                f"A value of the column {name!r} of {path} goes over several lines: a stray quotation "
                "mark has joined rows. Remove it, or the line breaks within quotation marks."
            )


def _cannot_be_read(path: Path, error: Exception) -> GrapeOpsError:
    if isinstance(error, UnicodeDecodeError) and b"\0" not in error.object:
        return GrapeOpsError(
            f"The table {path} cannot be read: it is not encoded in UTF-8, but perhaps in Latin-1 or Windows-1252. "
            "Save it as CSV UTF-8."
        )
    if isinstance(error, UnicodeDecodeError):
        return GrapeOpsError(
            f"The table {path} cannot be read: its ending says that it is text, but it is not. Is it an Excel, "
            "parquet or h5ad file under another name?"
        )
    return GrapeOpsError(f"The table {path} cannot be read: {why(error)}")
