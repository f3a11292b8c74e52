"""Features that other software measured (Funk's, CellProfiler's, an encoder's), treated as our own measurements.

Rows are matched to the store's cells (``cell_matching.py``) and z-scored by the controls of each batch; rows of other
cells do not count. Rows that are guides, or cells of another segmentation, count for the gene they name
(``match=genes``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.cells.averages import FEWEST_CONTROLS
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.features.channels import columns_of_channels
from grape_ops.methods.cell_matching import NAMES, key_columns
from grape_ops.methods.cell_vectors import FileOfCells, cell_vectors, described_columns, files_of, match_file
from grape_ops.methods.feature_files import column_names, feature_columns, read_columns, values_of
from grape_ops.methods.gene_profiles import Blocks, CellProfiles, gene_profiles, in_words
from grape_ops.methods.method import NOTES, Method, Task
from grape_ops.methods.statistics import channels_chosen
from grape_ops.schema import CONTROL_LABEL, GENE, PLATE, WELL
from grape_ops.screen.guide_library import find_controls, marking_columns
from grape_ops.screen.spelling import clean_texts

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_GENES = 0.5  # share of the store's genes; with fewer, it is a table of another screen


@dataclass(frozen=True)
class _Rows:
    """What the rows of files are.

    Attributes
    ----------
    files : the index of each row among the cells below; -1 for rows that do not count.
    labels, codes, is_control : (M,) gene, batch and control of each cell; gene -1 for none of the store's.
    notes : sentences on what was left out.
    """

    files: tuple[FileOfCells, ...]
    labels: np.ndarray
    codes: np.ndarray
    is_control: np.ndarray
    notes: list[str]


def profile_vectors(task: Task) -> "AnnData":
    """Make profiles of the store's genes from files of features; nothing is drawn, the seed is not used."""
    store, config = task.store, task.config
    rows = _rows_of(store, config)
    first, *more = rows.files
    beside = cell_vectors(store, more) if more else None

    def read(controls_only: bool) -> Blocks:
        seen = 0
        for part in values_of(first.path, first.names):
            cells = first.cells[seen : seen + len(part)]
            seen += len(part)
            chosen = cells >= 0
            if controls_only:
                chosen[chosen] = rows.is_control[cells[chosen]]
            if beside is not None:
                chosen[chosen] = rows.labels[cells[chosen]] >= 0
            values = part[chosen]
            if beside is not None:
                values = np.hstack([values, beside.values[cells[chosen]]])
            yield cells[chosen], values if columns is None else values[:, columns]

    names = first.names if beside is None else (*first.names, *beside.names)
    columns = columns_of_channels(names, store.channels, config.features.channels)
    if columns is not None:
        names = tuple(names[i] for i in columns)
    cells = CellProfiles(rows.labels, rows.codes, rows.is_control, names, read)
    vectors, facts = gene_profiles(cells, len(store.perturbations), config.baselines.engineered)
    found = _genes_found(rows, len(store.perturbations))
    adata = gene_anndata(vectors, gene_table(store), "profiles")[found].copy()
    adata.uns["features"] = facts
    missing = [gene for gene, here in zip(store.perturbations, found, strict=True) if not here]
    adata.uns[NOTES] = [in_words(facts), *_missing_in_words(missing, len(store.perturbations)), *rows.notes]
    return adata


def check_table(store: CropStore, config: Config) -> None:
    """Refuse files whose rows cannot be matched to the store's cells, or that are of another screen."""
    _rows_of(store, config)


def _rows_of(store: CropStore, config: Config) -> _Rows:
    """Say what the rows of the files are."""
    files = files_of(config)
    by_cell = config.baselines.profiles.match == "cells"
    rows = _rows_as_cells(files, store, config) if by_cell else _rows_by_gene(files[0], store, config)
    for file in rows.files:
        _check_controls(file.path, int(rows.is_control[file.cells[file.cells >= 0]].sum()))
    found = _genes_found(rows, len(store.perturbations))[:-1]
    if found.sum() < LEAST_GENES * len(found):
        raise GrapeOpsError(
            f"{files[0]} has rows of {int(found.sum())} of the store's {len(found)} genes: is it a table of another "
            "screen, or does it name genes otherwise? Its column of genes is set by "
            f"--set baselines.profiles.columns.{GENE}=COLUMN."
        )
    return rows


def _rows_as_cells(files: tuple[Path, ...], store: CropStore, config: Config) -> _Rows:
    """Rows are the store's cells; what is no cell of the store does not count. Genes and batches are the store's."""
    matched = tuple(match_file(file, store, config.baselines.profiles) for file in files)
    labels = store.labels.copy()
    for file in matched:
        labels[np.setdiff1d(np.arange(len(store)), file.cells)] = -1
    notes = [note for file in matched for note in file.notes(store)]
    return _Rows(matched, labels, store.batch_codes, labels == store.control_label, notes)


def _rows_by_gene(table: Path, store: CropStore, config: Config) -> _Rows:
    """Rows are guides or other cells of the same screen: all of them count, for the gene that they name."""
    if "half_of" in store.meta["provenance"]:
        raise GrapeOpsError(
            "With baselines.profiles.match=genes every row of the table counts, whichever cells are asked for: both "
            "halves of the cells would be the same table. A table with one row per cell can be halved: "
            "--set baselines.profiles.match=cells."
        )
    if store.where:
        raise GrapeOpsError(
            "With baselines.profiles.match=genes every row of the table counts, and --where cannot choose. "
            "A table with one row per cell can be restricted: --set baselines.profiles.match=cells."
        )
    settings, columns = config.baselines.profiles, column_names(table)
    theirs = described_columns(columns, settings)
    if GENE not in theirs:
        shown = ", ".join(columns[:20])
        raise GrapeOpsError(
            f"The table of features {table} has no column for {GENE} (looked for {', '.join(NAMES[GENE])}); it has "
            f"{shown}. Name it: --set baselines.profiles.columns.{GENE}=COLUMN."
        )
    about = read_columns(table, list(dict.fromkeys([*theirs.values(), *marking_columns(columns)])))
    genes, _ = clean_texts(about[theirs[GENE]].astype(str))
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
    keys = key_columns(columns, store.cells, settings.columns)
    features = feature_columns(table, [*theirs.values(), *keys.values(), *settings.drop])
    notes = [*features.notes, *notes]
    file = FileOfCells(table, np.arange(len(about)), features.names)
    return _Rows((file,), labels, codes, is_control, notes)


def _genes_found(rows: _Rows, n_genes: int) -> np.ndarray:
    return np.bincount(rows.labels[rows.labels >= 0], minlength=n_genes) > 0


def _check_controls(file: Path, number: int) -> None:
    if number < FEWEST_CONTROLS:
        raise GrapeOpsError(
            f"{file} has {number} rows of controls, too few to standardise by. If its rows are vectors of genes "
            "already, take them as they are: --set baselines.gene2vec.vectors=FILE, or an .h5ad given as a map."
        )


def _missing_in_words(missing: list[str], of: int) -> list[str]:
    shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
    return [f"{len(missing)} of {of} perturbations are not in the table: {shown}"] if missing else []


def _inputs(config: Config) -> dict[str, Path | None]:
    first, *more = config.baselines.profiles.table or (None,)
    numbered = {f"baselines.profiles.table[{place}]": file for place, file in enumerate(more, start=1)}
    return {"baselines.profiles.table": first, **numbered}


PROFILES = Method(
    "profiles",
    profile_vectors,
    deterministic=True,
    settings=lambda config: [
        config.baselines.engineered.decisive(),
        config.baselines.profiles.decisive(),
        config.screen.control_pattern,
        *channels_chosen(config).values(),
    ],
    inputs=_inputs,
    reads="measurements",
    check=check_table,
    by_channel=True,
)
