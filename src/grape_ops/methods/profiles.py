"""Somebody else's table of features (Funk's, CellProfiler's, any numeric columns), treated as our own measurements.

Rows are matched to the store's cells (``cell_matching.py``) and z-scored by the controls of each batch; rows of other
cells do not count. Rows that are guides, or cells of another segmentation, count for the gene they name
(``match=genes``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import damage_in_words
from grape_ops.cells.averages import FEWEST_CONTROLS
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.cell_matching import LEAST_FOUND, key_columns, match_rows
from grape_ops.methods.gene_profiles import Blocks, CellProfiles, gene_profiles, in_words
from grape_ops.methods.method import NOTES, Method, Task
from grape_ops.schema import CONTROL_LABEL, GENE, PLATE, WELL
from grape_ops.screen.columns import CANDIDATES, COORDINATES
from grape_ops.screen.guide_library import MARKS, find_controls
from grape_ops.screen.table_files import plain

if TYPE_CHECKING:
    from anndata import AnnData

_ROWS_AT_ONCE = 65_536
LEAST_GENES = 0.5  # share of the store's genes; with fewer, it is a table of another screen
# Numbers that say which cell it is, where it lies, or how well it was read.
_NO_FEATURE = re.compile(
    r"^(Metadata_.*|__index_level_\d+__|Unnamed.*|index|(image|object)_?number|parent_.*|tile|site|field|(cell_)?class.*"
    r"|cell(_id)?(_\d)?|[ij](_\d)?|(nucleus|cell)_[ij]|[xy]|(global_)?[xy]|bounding_box.*|bounds_.*|.*_?label|labels?"
    r"|gene_id.*|.*barcode.*|.*sgrna.*|q_(min|mean).*|peak.*|mapped_single_gene|confidence|well_(row|col)|replicate"
    r"|.*Location_.*|.*AreaShape_(Center|BoundingBoxM).*|.*Number_Object_Number)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Rows:
    """What the rows of a table are.

    Attributes
    ----------
    cells : (T,) the index of each row among the cells below; -1 for rows that do not count.
    labels, codes, is_control : (M,) gene, batch and control of each cell; gene -1 for none of the store's.
    notes : sentences on what was left out.
    """

    cells: np.ndarray
    labels: np.ndarray
    codes: np.ndarray
    is_control: np.ndarray
    notes: list[str]


def profile_vectors(task: Task) -> "AnnData":
    """Make profiles of the store's genes from a table of features; nothing is drawn, the seed is not used."""
    store, config = task.store, task.config
    rows = _rows_of(store, config)
    table, settings = _table(config), config.baselines.profiles
    columns = _columns(table)
    keys = key_columns(columns, store.cells, settings.columns)
    names = _features(table, [*_described(columns, config).values(), *keys.values(), *settings.drop])

    def read(controls_only: bool) -> Blocks:
        first = 0
        for part in _parts(table, names):
            cells = rows.cells[first : first + len(part)]
            first += len(part)
            chosen = cells >= 0
            if controls_only:
                chosen[chosen] = rows.is_control[cells[chosen]]
            yield cells[chosen], part.to_numpy(np.float32, na_value=np.nan)[chosen]

    cells = CellProfiles(rows.labels, rows.codes, rows.is_control, tuple(names), read)
    vectors, facts = gene_profiles(cells, len(store.perturbations), config.baselines.engineered)
    found = _genes_found(rows, len(store.perturbations))
    adata = gene_anndata(vectors, gene_table(store), "profiles")[found].copy()
    adata.uns["features"] = facts
    missing = [gene for gene, here in zip(store.perturbations, found, strict=True) if not here]
    adata.uns[NOTES] = [in_words(facts), *_missing_in_words(missing, len(store.perturbations)), *rows.notes]
    return adata


def check_table(store: CropStore, config: Config) -> None:
    """Refuse a table whose rows cannot be matched to the store's cells, or that is of another screen."""
    _rows_of(store, config)


def _rows_of(store: CropStore, config: Config) -> _Rows:
    """Say what the rows of the table are."""
    table = _table(config)
    columns = _columns(table)
    if config.baselines.profiles.match == "cells":
        rows = _rows_as_cells(table, columns, store, config)
    else:
        rows = _rows_by_gene(table, columns, store, config)
    _check_controls(table, int(rows.is_control[rows.cells[rows.cells >= 0]].sum()))
    found = _genes_found(rows, len(store.perturbations))[:-1]
    if found.sum() < LEAST_GENES * len(found):
        raise GrapeOpsError(
            f"{table} has rows of {int(found.sum())} of the store's {len(found)} genes: is it a table of another "
            "screen, or does it name genes otherwise? Its column of genes is set by "
            f"--set baselines.profiles.columns.{GENE}=COLUMN."
        )
    return rows


def _rows_as_cells(table: Path, columns: list[str], store: CropStore, config: Config) -> _Rows:
    """Rows are the store's cells; what is no cell of the store does not count. Genes and batches are the store's."""
    theirs = _described(columns, config)
    keys = key_columns(columns, store.cells, config.baselines.profiles.columns)
    about = _read(table, list(dict.fromkeys([theirs[GENE], *keys.values()])))
    cells = match_rows(about, keys, store.cells, str(table))
    control = len(store.perturbations) - 1
    is_control = store.labels == control
    named = about[theirs[GENE]].astype(str).to_numpy()[cells >= 0]
    ours = store.labels[cells[cells >= 0]]
    # The store's name for controls is not the table's.
    alike = (np.array(store.perturbations)[ours] == named)[ours != control]
    if len(alike) and alike.mean() < LEAST_FOUND:
        raise GrapeOpsError(
            f"{table}: {int((~alike).sum())} of {len(alike)} rows name another gene ({theirs[GENE]}) than the store "
            "has for the same cell, so the two do not mean the same cells. Name the columns that identify cells: "
            "--set baselines.profiles.columns.{plate,well,tile,y,x,cell}=COLUMN."
        )
    lost = len(store) - int((cells >= 0).sum())
    notes = [f"{lost} of {len(store)} cells are not in the table"] if lost else []
    labels = store.labels.copy()
    labels[np.setdiff1d(np.arange(len(store)), cells)] = -1
    return _Rows(cells, labels, store.batch_codes, is_control, notes)


def _rows_by_gene(table: Path, columns: list[str], store: CropStore, config: Config) -> _Rows:
    """Rows are guides or other cells of the same screen: all of them count, for the gene that they name."""
    if "half_of" in store.meta["provenance"]:
        raise GrapeOpsError(
            "With baselines.profiles.match=genes every row of the table counts, whichever cells are asked for: both "
            "halves of the cells would be the same table. A table with one row per cell can be halved: "
            "--set baselines.profiles.match=cells."
        )
    theirs = _described(columns, config)
    about = _read(table, list(dict.fromkeys([*theirs.values(), *(c for c in MARKS if c in columns)])))
    genes = about[theirs[GENE]].astype(str)
    is_control = find_controls(about, genes, config.screen.control_pattern).to_numpy()
    batches = about[[theirs[name] for name in (PLATE, WELL) if name in theirs]]
    missing = [name for name in (PLATE, WELL) if name not in theirs]
    notes = ["rows are not matched to the store's cells: every row of the table counts"]
    if batches.shape[1]:
        codes = batches.groupby(list(batches.columns), sort=False, dropna=False).ngroup().to_numpy()
    else:
        codes = np.zeros(len(about), np.int64)
    if missing:
        as_what = (
            "all rows are one batch"
            if len(missing) == 2
            else f"batches are those of {theirs.get(PLATE, theirs.get(WELL))}"
        )
        notes.append(f"the table has no column for {' and '.join(missing)}, so {as_what}")
    labels = pd.Index(store.perturbations).get_indexer(pd.Index(genes.where(~is_control, CONTROL_LABEL)))
    return _Rows(np.arange(len(about)), labels, codes, is_control, notes)


def _genes_found(rows: _Rows, n_genes: int) -> np.ndarray:
    return np.bincount(rows.labels[rows.labels >= 0], minlength=n_genes) > 0


def _table(config: Config) -> Path:
    if config.baselines.profiles.table is None:
        raise GrapeOpsError("Which table of features? Name it: --set baselines.profiles.table=FILE.")
    return config.baselines.profiles.table


def _described(columns: list[str], config: Config) -> dict[str, str]:
    """Our names of the columns that say gene, plate and well -> theirs."""
    named = config.baselines.profiles.columns
    for ours, column in named.items():
        if column not in columns:
            raise GrapeOpsError(f"baselines.profiles.columns.{ours}={column}: the table has no such column.")
    found = {name: next((c for c in CANDIDATES[name] if c in columns), None) for name in (GENE, PLATE, WELL)}
    theirs = {name: column for name, column in (found | named).items() if column is not None}
    if GENE not in theirs:
        shown = ", ".join(columns[:20])
        raise GrapeOpsError(
            f"The table of features {config.baselines.profiles.table} has no column for {GENE} (looked "
            f"for {', '.join(CANDIDATES[GENE])}); it has "
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
    with damage_in_words(file, " as a table of features"):
        empty = True
        for part in _read_parts(file, columns):
            twice = part.columns[part.columns.duplicated()]
            if len(twice):
                raise ValueError(f"it has the column {twice[0]} more than once")
            yield part
            empty = False
        if empty:
            raise ValueError("it has no rows")


def _read_parts(file: Path, columns: list[str] | None) -> Iterator[pd.DataFrame]:
    """Read a table in parts; the index that pandas hides in a parquet file is a column as any other."""
    if file.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=columns):
            yield plain(pyarrow.Table.from_batches([batch])).to_pandas()
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


PROFILES = Method(
    "profiles",
    profile_vectors,
    deterministic=True,
    settings=lambda config: [
        config.baselines.engineered.decisive(),
        config.baselines.profiles.decisive(),
        config.screen.control_pattern,
    ],
    inputs=lambda config: {"baselines.profiles.table": config.baselines.profiles.table},
    reads="measurements",
    check=check_table,
)
