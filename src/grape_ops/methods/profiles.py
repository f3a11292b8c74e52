"""Somebody else's table of features (Funk's, CellProfiler's, any numeric columns), treated as our own measurements.

Rows are cells, or guides; they are matched to the store's genes by symbol, and z-scored by the table's own controls.
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.cells.averages import FEWEST_CONTROLS
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.profile import Blocks, CellProfiles, gene_profiles, in_words
from grape_ops.methods.task import NOTES, Task
from grape_ops.schema import CONTROL_LABEL, GENE, PLATE, WELL
from grape_ops.screen.columns import CANDIDATES, COORDINATES
from grape_ops.screen.controls import MARKS, find_controls

if TYPE_CHECKING:
    from anndata import AnnData

_ROWS_AT_ONCE = 65_536
# What reading a damaged parquet or text file raises.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    zlib.error,
)
# Numbers that say which cell it is, where it lies, or how well it was read.
_NO_FEATURE = re.compile(
    r"^(Metadata_.*|__index_level_\d+__|Unnamed.*|index|(image|object)_?number|parent_.*|tile|site|field|(cell_)?class.*"
    r"|cell(_id)?(_\d)?|[ij](_\d)?|(nucleus|cell)_[ij]|[xy]|(global_)?[xy]|bounding_box.*|bounds_.*|.*_?label|labels?"
    r"|gene_id.*|.*barcode.*|.*sgrna.*|q_(min|mean).*|peak.*|mapped_single_gene|confidence|well_(row|col)|replicate"
    r"|.*Location_.*|.*AreaShape_(Center|BoundingBoxM).*|.*Number_Object_Number)$",
    re.IGNORECASE,
)


def profile_vectors(task: Task) -> "AnnData":
    """Make profiles of the store's genes from a table of features; nothing is drawn, the seed is not used."""
    settings, store = task.config.baselines.profiles, task.store
    if settings.table is None:
        raise GrapeOpsError("Which table of features? Name it: --set baselines.profiles.table=FILE.")
    columns = _columns(settings.table)
    theirs = _described(columns, settings.columns)
    names = _features(settings.table, [*theirs.values(), *settings.drop])
    about = _read(settings.table, list(dict.fromkeys([*theirs.values(), *(c for c in MARKS if c in columns)])))
    genes = about[theirs[GENE]].astype(str)
    is_control = find_controls(about, genes, task.config.screen.control_pattern).to_numpy()
    batches = about[[theirs[name] for name in (PLATE, WELL) if name in theirs]]
    codes = (
        batches.groupby(list(batches.columns), sort=False, dropna=False).ngroup().to_numpy()
        if batches.shape[1]
        else None
    )
    _check_controls(settings.table, int(is_control.sum()))

    names_of_genes = list(store.perturbations)
    labels = pd.Index(names_of_genes).get_indexer(pd.Index(genes.where(~is_control, CONTROL_LABEL)))
    table = settings.table

    def read(controls_only: bool) -> Blocks:
        first = 0
        for part in _parts(table, names):
            rows = np.arange(first, first + len(part))
            first += len(part)
            chosen = is_control[rows] if controls_only else np.ones(len(rows), bool)
            yield rows[chosen], part.to_numpy(np.float32, na_value=np.nan)[chosen]

    codes = np.zeros(len(about), np.int64) if codes is None else codes
    cells = CellProfiles(labels, codes, is_control, tuple(names), read)
    vectors, facts = gene_profiles(cells, len(names_of_genes), task.config.baselines.engineered)
    found = np.bincount(labels[labels >= 0], minlength=len(names_of_genes)) > 0
    adata = gene_anndata(vectors, gene_table(store), "profiles")[found].copy()
    adata.uns["features"] = facts
    missing = [gene for gene, here in zip(names_of_genes, found, strict=True) if not here]
    adata.uns[NOTES] = [in_words(facts), *_missing_in_words(missing, len(names_of_genes))]
    return adata


def _described(columns: list[str], named: dict[str, str]) -> dict[str, str]:
    """Our names of the columns that say gene, plate and well -> theirs."""
    for ours, column in named.items():
        if column not in columns:
            raise GrapeOpsError(f"baselines.profiles.columns.{ours}={column}: the table has no such column.")
    found = {name: next((c for c in CANDIDATES[name] if c in columns), None) for name in (GENE, PLATE, WELL)}
    theirs = {name: column for name, column in (found | named).items() if column is not None}
    if GENE not in theirs:
        shown = ", ".join(columns[:20])
        raise GrapeOpsError(
            f"The table of features has no column for {GENE} (looked for {', '.join(CANDIDATES[GENE])}); it has "
            f"{shown}. Name it: --set baselines.profiles.columns.{GENE}=COLUMN."
        )
    return theirs


def _features(file: Path, others: list[str]) -> list[str]:
    first = next(_parts(file, None))
    places = {name for pair in COORDINATES for name in pair}
    numeric = [str(c) for c in first.columns if pd.api.types.is_numeric_dtype(first[c]) and first[c].dtype != bool]
    names = [c for c in numeric if c not in places and c not in others and not _NO_FEATURE.match(c)]
    if not names:
        raise GrapeOpsError(f"{file} has no numeric columns that could be features.")
    return names


def _columns(file: Path) -> list[str]:
    return [str(column) for column in next(_parts(file, None)).columns]


def _read(file: Path, columns: list[str]) -> pd.DataFrame:
    return pd.concat(_parts(file, columns), ignore_index=True)


def _parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    """Read a table in parts, and say in words what is wrong with a damaged one."""
    if not file.is_file():
        raise GrapeOpsError(f"There is no table of features {file}.")
    try:
        for part in _read_parts(file, columns):
            twice = part.columns[part.columns.duplicated()]
            if len(twice):
                raise ValueError(f"it has the column {twice[0]} more than once")
            yield part
    except _DAMAGE as error:
        raise GrapeOpsError(f"{file} cannot be read as a table of features: {error}") from None


def _read_parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    """Read a table in parts; the index that pandas hides in a parquet file is a column as any other."""
    if file.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=columns):
            yield batch.to_pandas(ignore_metadata=True)
        return
    separator = "\t" if ".tsv" in file.suffixes or ".txt" in file.suffixes else ","
    yield from pd.read_csv(file, sep=separator, usecols=columns, chunksize=_ROWS_AT_ONCE, low_memory=False)


def _check_controls(file: Path, number: int) -> None:
    if number < FEWEST_CONTROLS:
        raise GrapeOpsError(
            f"{file} has {number} rows of controls, too few to standardise by. If its rows are vectors of genes "
            "already, take them as they are: --set baselines.gene2vec.vectors=FILE, or an .h5ad given as a map."
        )


def _missing_in_words(missing: list[str], of: int) -> list[str]:
    shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
    return [f"{len(missing)} of {of} perturbations are not in the table: {shown}"] if missing else []
