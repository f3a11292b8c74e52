"""Vectors of the store's cells that somebody else made: which row is which cell, and all files side by side.

Letters: N cells of the store, T rows of a file, V features of all files.
"""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, ProfilesSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.cell_matching import LEAST_FOUND, NAMES, SOURCE, key_columns, match_rows, rows_in_order
from grape_ops.methods.feature_files import column_names, feature_columns, read_columns, values_of
from grape_ops.schema import GENE, PLATE, WELL
from grape_ops.screen.spelling import clean_texts


@dataclass(frozen=True)
class FileOfCells:
    """One file, matched to the store.

    Attributes
    ----------
    path : of the file.
    cells : (T,) the store's cell of each row; -1 where it is none of them.
    names : of its features.
    other_genes : rows that name another gene than the store has for the cell.
    columns : sentences on columns that were left out, or may be no features.
    """

    path: Path
    cells: np.ndarray
    names: tuple[str, ...]
    other_genes: int = 0
    columns: tuple[str, ...] = ()

    def notes(self, store: CropStore) -> list[str]:
        """Say how many cells the file lacks, and how many rows are no cells of the store, or name another gene."""
        found = int((self.cells >= 0).sum())
        lost, other = len(store) - found, len(self.cells) - found
        notes = [*self.columns]
        notes += [f"{lost} of {len(store)} cells are not in {self.path.name}"] if lost else []
        notes += [f"{other} rows of {self.path.name} are no cells of the store"] if other else []
        if self.other_genes:
            doubt = "; the genes of the store count, but are these the same cells?"
            notes.append(f"{self.other_genes} of {found} rows of {self.path.name} name another gene{doubt}")
        return notes


@dataclass(frozen=True)
class CellVectors:
    """Features of several files, side by side.

    Attributes
    ----------
    names : of the V features.
    cells : (n,) cells that all files have, in ascending order.
    values : (N, V) float32, on disk; 0 for cells that are not in all files.
    notes : sentences on what was left out.
    """

    names: tuple[str, ...]
    cells: np.ndarray
    values: np.ndarray
    notes: tuple[str, ...]


def files_of(config: Config) -> tuple[Path, ...]:
    """The files of features that the settings name.

    Raises
    ------
    GrapeOpsError : they name none, or several where rows are not cells.
    """
    settings = config.baselines.profiles
    if not settings.table:
        raise GrapeOpsError("Which table of features? Name it: --set baselines.profiles.table=FILE.")
    if len(settings.table) > 1 and settings.match == "genes":
        raise GrapeOpsError(
            "With baselines.profiles.match=genes rows are no cells, and those of several files cannot be put side by "
            "side: name one file in baselines.profiles.table."
        )
    if twice := [file for file, n in Counter(file.resolve() for file in settings.table).items() if n > 1]:
        raise GrapeOpsError(f"The file of features {twice[0]} is named twice, so that its features would count twice.")
    return settings.table


def described_columns(columns: Sequence[str], settings: ProfilesSettings) -> dict[str, str]:
    """Our names of the columns that say gene, plate and well -> the file's, as far as it has them."""
    for ours, column in settings.columns.items():
        if column not in columns:
            raise GrapeOpsError(f"baselines.profiles.columns.{ours}={column}: the table has no such column.")
    found = {name: next((c for c in NAMES[name] if c in columns), None) for name in (GENE, PLATE, WELL)}
    return {name: column for name, column in (found | settings.columns).items() if column is not None}


def match_file(file: Path, store: CropStore, settings: ProfilesSettings) -> FileOfCells:
    """Find the store's cell of each row of a file.

    Raises
    ------
    GrapeOpsError : rows cannot be matched, or name other genes than the store does.
    """
    columns = column_names(file)
    theirs, keys = described_columns(columns, settings), key_columns(columns, store.cells, settings.columns)
    checks = {name: next((c for c in NAMES[name] if c in columns), None) for name in NAMES if name in store.cells}
    checks |= {name: column for name, column in settings.columns.items() if name in checks}
    in_order = {name: column for name, column in checks.items() if column is not None}
    about = read_columns(file, list(dict.fromkeys([*theirs.values(), *in_order.values(), *keys.values()])))
    try:
        cells = match_rows(about, keys, store.cells, str(file))
    except GrapeOpsError:
        found = rows_in_order(about, in_order, _with_source(store))
        if found is None:
            raise
        cells = found
    misnamed = _check_genes(file, about[theirs[GENE]], theirs[GENE], cells, store) if GENE in theirs else 0
    others = [*theirs.values(), *in_order.values(), *keys.values(), *settings.drop]
    features = feature_columns(file, others)
    return FileOfCells(file, cells, features.names, misnamed, features.notes)


def _with_source(store: CropStore) -> pd.DataFrame:
    """The store's cells; those of a subset with their row in the table of all cells."""
    whole = store.table_rows is None or SOURCE in store.cells
    return store.cells if whole else store.cells.assign(**{SOURCE: store.table_rows})


def cell_vectors(store: CropStore, files: Sequence[FileOfCells]) -> CellVectors:
    """Put the features of files side by side, in the order of the store; a name that comes twice gets its file's."""
    names = [name for file in files for name in file.names]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    named = [f"{file.path.stem}_{name}" if name in twice else name for file in files for name in file.names]
    with tempfile.TemporaryFile() as file_of_values:  # the map outlives it
        values = np.memmap(file_of_values, np.float32, "w+", shape=(len(store), len(names)))
    here = np.ones(len(store), bool)
    first = 0
    for file in files:
        own, seen = slice(first, first := first + len(file.names)), 0
        for part in values_of(file.path, file.names):
            cells = file.cells[seen : seen + len(part)]
            seen += len(part)
            values[cells[cells >= 0], own] = part[cells >= 0]
        found = np.zeros(len(store), bool)
        found[file.cells[file.cells >= 0]] = True
        here &= found
    notes = [note for file in files for note in file.notes(store)]
    if not here.any():
        raise GrapeOpsError("No cell is in all of the files: " + ", ".join(str(file.path) for file in files) + ".")
    return CellVectors(tuple(named), np.flatnonzero(here), values, tuple(notes))


def _check_genes(file: Path, names: pd.Series, column: str, cells: np.ndarray, store: CropStore) -> int:
    """Count rows that name another gene, and refuse a file of many; the store's name for controls is not the file's."""
    ours = store.labels[cells[cells >= 0]]
    told = clean_texts(names.astype(str))[0].to_numpy()
    alike = np.array(store.perturbations)[ours] == told[cells >= 0]
    alike = alike[ours != store.control_label]
    if len(alike) and alike.mean() < LEAST_FOUND:
        raise GrapeOpsError(
            f"{file}: {int((~alike).sum())} of {len(alike)} rows name another gene ({column}) than the store "
            "has for the same cell, so the two do not mean the same cells. Name the columns that identify cells: "
            "--set baselines.profiles.columns.{plate,well,tile,y,x,cell}=COLUMN."
        )
    return int((~alike).sum())
