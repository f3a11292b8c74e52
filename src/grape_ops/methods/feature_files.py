"""Files of features of single cells: Parquet, CSV or TSV, or the AnnData (h5ad, zarr) that an encoder wrote.

Of a table, numeric columns are features unless their names say which cell it is, where it lies, or how well it was
read. Of an AnnData, ``X`` holds the features, and ``obs`` all other columns. All are read in parts.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grape_ops.artifacts.damage import damage_in_words
from grape_ops.artifacts.hdf5 import opened_anndata
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import ROW, SHARD
from grape_ops.screen.columns import COORDINATES
from grape_ops.screen.spelling import MISSING
from grape_ops.screen.table_files import plain, text_stretches

if TYPE_CHECKING:
    import pyarrow

ANNDATA = (".h5ad", ".zarr")
_ROWS_AT_ONCE = 65_536
_MISSING = sorted({form for word in MISSING for form in (word, word.upper(), word.capitalize(), "NaN", "NaT")})
# Numbers that say which cell it is, where it lies, or how well it was read.
_NO_FEATURE = re.compile(
    r"^(Metadata_.*|__index_level_\d+__|Unnamed.*|index|(image|object)_?number|parent_.*|tile|site|field|(cell_)?class.*"
    r"|cell(_id)?(_\d)?|[ij](_\d)?|(nucleus|cell)_[ij]|[xy]|(global_)?[xy]|bounding_box.*|bounds_.*|.*_?label|labels?"
    r"|gene_id.*|.*barcode.*|.*sgrna.*|q_(min|mean).*|peak.*|mapped_single_gene|confidence|well_(row|col)|replicate"
    r"|.*Location_.*|.*AreaShape_(Center|BoundingBoxM).*|.*Number_Object_Number)$",
    re.IGNORECASE,
)


def feature_names(file: Path, others: Collection[str]) -> list[str]:
    """Columns of a file that are features; ``others`` are columns known to be none."""
    if file.suffix in ANNDATA:
        with _damage_in_words(file), _opened(file) as group:
            names = [name for name in _elem(group["var"]).index.astype(str) if name not in others]
    else:
        first = next(parts(file, None))
        places = {name for pair in COORDINATES for name in pair} | {SHARD, ROW, *others}
        numeric = [str(c) for c in first.columns if pd.api.types.is_numeric_dtype(first[c]) and first[c].dtype != bool]
        names = [c for c in numeric if c not in places and not _NO_FEATURE.match(c)]
    if not names:
        raise GrapeOpsError(f"{file} has no numeric columns that could be features.")
    return names


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

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=columns):
            yield plain(pyarrow.Table.from_batches([batch])).to_pandas()
        return
    separator = "\t" if ".tsv" in file.suffixes or ".txt" in file.suffixes else ","
    names = [str(name) for name in pd.read_csv(file, sep=separator, nrows=0).columns]
    if absent := [name for name in columns or [] if name not in names]:
        raise ValueError(f"it has no column {absent[0]}")
    for part in text_stretches(file, separator, names, names if columns is None else columns):
        yield pd.DataFrame({name: _typed(part[name]) for name in part.column_names})


def _typed(texts: "pyarrow.ChunkedArray") -> pd.Series:
    """Read one column of a text file as whole numbers, else as numbers, else as text."""
    import pyarrow
    import pyarrow.compute

    trimmed = pyarrow.compute.utf8_trim_whitespace(texts)
    absent = pyarrow.compute.is_in(trimmed, pyarrow.array(_MISSING))
    values = pyarrow.compute.if_else(absent, pyarrow.scalar(None, pyarrow.string()), trimmed)
    for kind in (pyarrow.int64(), pyarrow.float64()):
        with suppress(pyarrow.ArrowInvalid):
            return values.cast(kind).to_pandas()
    return values.to_pandas()


def _anndata_parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    with _opened(file) as group:
        obs, names = _described(_elem(group["obs"])), _elem(group["var"]).index.astype(str)
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
