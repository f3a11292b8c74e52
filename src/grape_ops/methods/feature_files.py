"""Files of features of single cells: Parquet, CSV or TSV, or the AnnData (h5ad, zarr) that an encoder wrote.

Of a table, numeric columns are features unless their names say which cell it is, where it lies, or how well it was
read. Of an AnnData, ``X`` holds the features, and ``obs`` all other columns. All are read in parts.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import damage_in_words
from grape_ops.artifacts.hdf5 import opened_anndata
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.cell_matching import IDS, NAMES
from grape_ops.schema import CLASS, ROW, SHARD
from grape_ops.screen.columns import CANDIDATES, COORDINATES
from grape_ops.screen.guide_library import MARKS
from grape_ops.screen.spelling import MISSING
from grape_ops.screen.table_files import plain, text_stretches, trimmed
from grape_ops.words import counted, some_of

if TYPE_CHECKING:
    import pyarrow

ANNDATA = (".h5ad", ".zarr")
_ROWS_AT_ONCE = 65_536
_MISSING = sorted({form for word in MISSING for form in (word, word.upper(), word.capitalize(), "NaN", "NaT")})
# Genes, guides, places, classes and marks of controls: names, also where they look like numbers.
_KNOWN = {name.lower() for names in (*NAMES.values(), CANDIDATES[CLASS], MARKS) for name in names}
_LONG_ID = r"^\d{16,}$"  # a float would round it
_DECIMAL_COMMA = r"^[-+]?\d+(,\d+)?([eE][-+]?\d+)?$"
_THOUSANDS = r"^[-+]?\d{1,3}(,\d{3})?$"  # 1,234 may be either
# Numbers that say which cell it is, where it lies, or how well it was read.
_NO_FEATURE = re.compile(
    r"^(Metadata_.*|__index_level_\d+__|Unnamed.*|index|(image|object)_?number|parent_.*|tile|site|field|(cell_)?class.*"
    r"|cell(_id)?(_\d)?|[ij](_\d)?|(nucleus|cell)_[ij]|[xy]|(global_)?[xy]|bounding_box.*|bounds_.*|.*_?label|labels?"
    r"|gene_id.*|.*barcode.*|.*sgrna.*|q_(min|mean).*|peak.*|mapped_single_gene|confidence|well_(row|col)|replicate"
    r"|object|nucleus|(cell|nucleus|object|row|image|field|plate|batch|global|orig(inal)?|unique)_?(uu?id|id|index|idx|number)"
    r"|.*_(uu?id|id)|uid|fov|plate|well|batch|row|col(umn)?|(plate|well|tile|site|field|fov|image|batch)_?(nr|no|num(ber)?|id)"
    r"|.*Location_.*|.*AreaShape_(Center|BoundingBoxM).*|.*Number_Object_Number)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FeatureColumns:
    """The features of a file.

    Attributes
    ----------
    names : of the columns.
    notes : sentences on columns that were left out, or may be no features.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def feature_columns(file: Path, others: Collection[str]) -> FeatureColumns:
    """Find the columns of a file that are features.

    Parameters
    ----------
    others : columns known to be none.

    Raises
    ------
    GrapeOpsError : the file cannot be read, or has none.
    """
    if file.suffix in ANNDATA:
        with _damage_in_words(file), _opened(file) as group:
            names = [name for name in _elem(group["var"]).index.astype(str) if name not in others]
        return FeatureColumns(_some(file, names))
    first = next(parts(file, None))
    places = {name for pair in COORDINATES for name in pair} | {SHARD, ROW, *others}
    asked = [
        c for c in map(str, first.columns) if c not in places and not _NO_FEATURE.match(c) and not IDS.fullmatch(c)
    ]
    numeric = [c for c in asked if pd.api.types.is_numeric_dtype(first[c]) and first[c].dtype != bool]
    left = [c for c in asked if c not in numeric and c.lower() not in _KNOWN and first[c].notna().any()]
    names = [c for c in numeric if c.lower() not in _KNOWN]
    notes = []
    if left:
        notes.append(f"{counted(len(left), 'columns')} of {file.name} without numbers left out: {some_of(left, 5)}")
    if counting := [c for c in names if _counts_upwards(first[c])]:
        whole = read_columns(file, counting)
        if counting := [c for c in counting if _counts_upwards(whole[c])]:
            drop = f"--set baselines.profiles.drop=[{','.join(counting)}]"
            what = f"{counted(len(counting), 'columns')} of {file.name} only counting upwards from row to row"
            notes.append(f"{what}, taken as features: {some_of(counting, 5)}; if they are ids, {drop}")
    return FeatureColumns(_some(file, names), tuple(notes))


def _some(file: Path, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        raise GrapeOpsError(f"{file} has no numeric columns that could be features.")
    return tuple(names)


def _counts_upwards(values: pd.Series) -> bool:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
    steps = np.diff(numbers)
    return len(numbers) > 2 and bool((numbers % 1 == 0).all() and (steps > 0).all())


def values_of(file: Path, names: Sequence[str]) -> Iterator[np.ndarray]:
    """Read features in parts: (n, V) float32, NaN where undefined.

    Raises
    ------
    GrapeOpsError : a column that begins with numbers goes on with something else.
    """
    for part in parts(file, list(names)):
        try:
            yield part.to_numpy(np.float32, na_value=np.nan)
        except (ValueError, TypeError):
            for name in part:
                bad = part[name][pd.to_numeric(part[name], errors="coerce").isna() & part[name].notna()]
                if len(bad):
                    raise GrapeOpsError(
                        f"The feature {name} of {file} begins with numbers, and then holds {bad.iloc[0]!r}. Mend the "
                        f"column, or leave it out: --set baselines.profiles.drop=[{name}]."
                    ) from None
            raise


def column_names(file: Path) -> list[str]:
    """All columns of a file but the features of an AnnData."""
    if file.suffix not in ANNDATA:
        return [str(column) for column in next(parts(file, None)).columns]
    with _damage_in_words(file), _opened(file) as group:
        return [str(column) for column in _described(_elem(group["obs"])).columns]


def read_columns(file: Path, columns: list[str]) -> pd.DataFrame:
    """Some columns of all rows; without any, an empty table as long as the file."""
    if not columns and file.suffix in ANNDATA:
        with _damage_in_words(file), _opened(file) as group:
            return _elem(group["obs"])[[]].reset_index(drop=True)
    if not columns:
        return pd.DataFrame(index=range(sum(len(part) for part in parts(file, column_names(file)[:1]))))
    return pd.concat(parts(file, columns), ignore_index=True)


def parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    """Read a file in parts, and say in words what is wrong with a damaged one."""
    with _damage_in_words(file):
        empty = True
        for part in _read_parts(file, columns):
            twice = part.columns[part.columns.duplicated()]
            if len(twice):
                raise ValueError(f"it has the column {twice[0]} more than once")
            yield part
            empty = False
        if empty:
            raise ValueError("it has no rows")


@contextmanager
def _damage_in_words(file: Path) -> Iterator[None]:
    if not (file.exists() if file.suffix == ".zarr" else file.is_file()):
        raise GrapeOpsError(f"There is no table of features {file}.")
    with damage_in_words(file, " as a table of features"):
        yield


def _read_parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    """Read a table in parts; the index that pandas hides in a parquet file is a column as any other."""
    if file.suffix in ANNDATA:
        yield from _anndata_parts(file, columns)
        return
    if file.suffix == ".parquet":
        import pyarrow.parquet

        source = pyarrow.parquet.ParquetFile(file)
        ours = dict(zip(source.schema_arrow.names, trimmed(source.schema_arrow.names), strict=True))
        wanted = None if columns is None else [theirs for theirs, name in ours.items() if name in columns]
        for batch in source.iter_batches(_ROWS_AT_ONCE, columns=wanted):
            table = _with_numbers(plain(pyarrow.Table.from_batches([batch]))).to_pandas().rename(columns=ours)
            yield table if columns is None or list(table) == columns else table[columns]
        return
    separator = "\t" if ".tsv" in file.suffixes or ".txt" in file.suffixes else ","
    names = trimmed([str(name) for name in pd.read_csv(file, sep=separator, nrows=0).columns])
    if absent := [name for name in columns or [] if name not in names]:
        raise ValueError(f"it has no column {absent[0]}")
    for part in text_stretches(file, separator, names, names if columns is None else columns):
        known = {name for name in part.column_names if name.lower() in _KNOWN}
        yield pd.DataFrame(
            {n: (_known(part[n]).to_pandas() if n in known else _typed(part[n])) for n in part.column_names}
        )


def _with_numbers(table: "pyarrow.Table") -> "pyarrow.Table":
    """Turn decimals, and texts that all are numbers, into numbers; genes, guides and places stay as they are."""
    import pyarrow

    for place, column in enumerate(table.schema):
        if pyarrow.types.is_decimal(column.type):
            table = table.set_column(place, column.name, table[place].cast(pyarrow.float64()))
        elif _is_text(column.type) and column.name.strip().lower() not in _KNOWN:
            texts = table[place].cast(pyarrow.string())
            number = _number(texts)
            table = table if number is None else table.set_column(place, column.name, number)
    return table


def _is_text(kind: "pyarrow.DataType") -> bool:
    import pyarrow

    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind)


def _typed(texts: "pyarrow.ChunkedArray") -> pd.Series:
    """Read one column of a text file as whole numbers, else as numbers, else as text."""
    number = _number(texts)
    return (_known(texts) if number is None else number).to_pandas()


def _known(texts: "pyarrow.ChunkedArray") -> "pyarrow.ChunkedArray":
    """Trim texts, and empty those that mean a missing value."""
    import pyarrow
    import pyarrow.compute

    trimmed_texts = pyarrow.compute.utf8_trim_whitespace(texts)
    absent = pyarrow.compute.is_in(trimmed_texts, pyarrow.array(_MISSING))
    return pyarrow.compute.if_else(absent, pyarrow.scalar(None, pyarrow.string()), trimmed_texts)


def _number(texts: "pyarrow.ChunkedArray") -> "pyarrow.ChunkedArray | None":
    """Read texts as whole numbers, else as numbers, with decimal points or commas; None where some are neither."""
    import pyarrow
    import pyarrow.compute

    values = _known(texts)
    with suppress(pyarrow.ArrowInvalid):
        return values.cast(pyarrow.int64())
    if pyarrow.compute.any(pyarrow.compute.match_substring_regex(values, _LONG_ID)).as_py():
        return None
    with suppress(pyarrow.ArrowInvalid):
        return values.cast(pyarrow.float64())
    commas = pyarrow.compute.match_substring_regex(values, _DECIMAL_COMMA)
    thousands = pyarrow.compute.match_substring_regex(values, _THOUSANDS)
    if pyarrow.compute.all(commas).as_py() and not pyarrow.compute.all(thousands).as_py():
        return pyarrow.compute.replace_substring(values, ",", ".").cast(pyarrow.float64())
    return None


def _anndata_parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    with _opened(file) as group:
        obs, names = _described(_elem(group["obs"])), _elem(group["var"]).index.astype(str)
        if not names.is_unique:
            raise ValueError(f"its var has the feature {names[names.duplicated()][0]} more than once")
        if "X" not in group:
            raise ValueError("it has no X, which holds the features; its layers are not read")
        wanted = [*obs.columns, *names] if columns is None else columns
        kept, places = [c for c in wanted if c in obs], names.get_indexer(pd.Index([c for c in wanted if c not in obs]))
        if (places < 0).any():
            raise ValueError(f"it has no {next(c for c in wanted if c not in obs and c not in names)}")
        vectors = _matrix(group["X"]) if len(places) else None
        if vectors is not None and vectors.shape != (len(obs), len(names)):
            raise ValueError(f"X is {vectors.shape}, but obs and var describe {(len(obs), len(names))}")
        for first in range(0, len(obs), _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, len(obs)))
            part = obs[kept].iloc[rows].reset_index(drop=True)
            if vectors is not None:
                block = vectors[rows]
                block = block.toarray() if hasattr(block, "toarray") else block
                part = pd.concat([part, pd.DataFrame(block[:, places], columns=names[places])], axis=1)
            yield part[wanted]


def _matrix(stored: Any) -> Any:
    """X as something that gives rows: dense on disk, or sparse."""
    from anndata.io import sparse_dataset

    return sparse_dataset(stored) if "encoding-type" in stored.attrs and hasattr(stored, "keys") else stored


def _described(obs: pd.DataFrame) -> pd.DataFrame:
    """Obs with its names as one more column: they may be the ids of cells."""
    name = str(obs.index.name or "index")
    return obs if name in obs else obs.assign(**{name: obs.index.astype(str)})


def _elem(stored: Any) -> pd.DataFrame:
    from anndata.io import read_elem

    found = read_elem(stored)
    if not isinstance(found, pd.DataFrame):
        raise ValueError("obs and var are not tables")
    return found


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    if file.suffix == ".zarr":
        import zarr

        import grape_ops.screen.chunks  # noqa: F401, zarr then refuses chunks that were cut off

        yield zarr.open_group(file, mode="r")
    else:
        with opened_anndata(file, "a table of features") as opened:
            yield opened
