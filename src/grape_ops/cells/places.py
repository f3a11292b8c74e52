"""Where each crop of a store lies and what it is, and which of the crops an expression means.

Legend: N crops of a store, n of a subset, B batches.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.identity import sha256_of
from grape_ops.cells.where import Condition
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import BATCH, CELLS_FILE, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, WELL
from grape_ops.words import counted

CELL_COLUMNS = (GENE, GUIDE, PLATE, WELL, IS_CONTROL, BATCH, SHARD, ROW)
_STRETCH = 1 << 18  # cells


@dataclass(frozen=True)
class Places:
    """Where each crop lies and what it is, without the rest of the table.

    Attributes
    ----------
    shard : (N,) place of its shard in ``meta["shards"]``.
    row : (N,) its row there.
    label : (N,) index into ``perturbations``.
    batch : (N,) index into the batches of ``meta``; -1 for one that is not there.
    """

    shard: np.ndarray
    row: np.ndarray
    label: np.ndarray
    batch: np.ndarray
    perturbations: tuple[str, ...]

    def only(self, rows: np.ndarray) -> Self:
        """Some of the crops: those in rows (n,)."""
        parts = {name: getattr(self, name)[rows] for name in ("shard", "row", "label", "batch")}
        return replace(self, **parts)

    def without_absent(self) -> Self:
        """The same without perturbations of no crop; the controls stay."""
        kept = np.unique([*self.label.tolist(), len(self.perturbations) - 1])
        labels = np.searchsorted(kept, self.label)
        return replace(self, label=labels, perturbations=tuple(self.perturbations[code] for code in kept))


def read_places(folder: Path, meta: dict[str, Any], column: str) -> Places:
    """Go through the table of cells one stretch of rows at a time; ``column`` names the perturbations."""
    for name, entry in meta["files"].items():
        if sha256_of(folder / name) != entry["sha256"]:
            raise damaged(folder, f"{name} is missing or changed since it was written")
    table = _table(folder)
    n_cells = table.metadata.num_rows
    missing = [column for column in CELL_COLUMNS if column not in table.schema_arrow.names]
    if missing or n_cells != meta["n_cells"]:
        raise damaged(folder, f"{CELLS_FILE} lacks columns {missing} or has not {meta['n_cells']} rows")
    shards = pd.Index(list(meta["shards"]))
    batches = pd.Index([batch["name"] for batch in meta["batches"]])
    shard, row = np.empty(n_cells, np.int32), np.empty(n_cells, np.int64)
    gene, batch = np.empty(n_cells, np.int64), np.empty(n_cells, np.int64)
    codes = {CONTROL_LABEL: 0}
    start = 0
    for stretch in table.iter_batches(_STRETCH, columns=[SHARD, ROW, column, BATCH, IS_CONTROL]):
        here = slice(start, start := start + len(stretch))
        shard[here] = shards.get_indexer(stretch[SHARD].to_pandas())
        batch[here] = batches.get_indexer(stretch[BATCH].to_pandas())
        row[here] = stretch[ROW].to_numpy()
        own, names = pd.factorize(stretch[column].to_pandas())
        known = np.array([codes.setdefault(name, len(codes)) for name in names], np.int64)
        gene[here] = np.where(stretch[IS_CONTROL].to_numpy(zero_copy_only=False), 0, known[own])
    # Codes in order of appearance become places in the alphabet, controls last.
    present = np.zeros(len(codes), bool)
    present[np.unique(gene)] = True
    names = np.array(list(codes), object)
    genes = sorted(name for name in names[1:][present[1:]])
    perturbations = (*genes, CONTROL_LABEL)
    label = pd.Index(perturbations).get_indexer(pd.Index(names)).astype(np.int64)[gene]
    return Places(shard, row, label, batch, perturbations)


def _table(folder: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(folder / CELLS_FILE, pre_buffer=False, buffer_size=1 << 20)  # a stretch at a time
    except DAMAGE as error:
        raise damaged(folder, f"{CELLS_FILE} cannot be read ({why(error)})") from None


def chosen_rows(folder: Path, expression: str) -> tuple[np.ndarray, str]:
    """Rows of the table that an expression means: (n,), and the expression in its one spelling.

    Raises
    ------
    GrapeOpsError : the expression cannot be read, or names a column or a value that there is not.
    """
    table = _table(folder)
    condition = Condition(expression, table.schema_arrow.names)
    stretches = table.iter_batches(_STRETCH, columns=condition.columns)
    masks = [condition.mask(stretch.to_pandas()) for stretch in stretches]
    condition.check_values()
    return np.flatnonzero(np.concatenate(masks)), str(condition)


def check_subset(expression: str, places: Places, batches: list[str]) -> None:
    """Refuse a subset without cells of genes, without controls, or with a batch that keeps cells but no controls."""
    is_control = places.label == len(places.perturbations) - 1
    n_controls, n_others = int(is_control.sum()), int((~is_control).sum())
    if not n_others or not n_controls:
        kept = f"{counted(n_others, 'cells')} of genes and {counted(n_controls, 'control cells')}"
        raise GrapeOpsError(
            f"--where {expression} leaves {kept}; both are needed. Conditions on genes and guides keep the controls "
            "unless they exclude them by name; all others choose among the controls, too."
        )
    bare = np.setdiff1d(places.batch, places.batch[is_control])
    if len(bare):
        named = ", ".join(batches[code] for code in bare[:5])
        raise GrapeOpsError(
            f"--where {expression} leaves {counted(len(bare), 'batches')} without control cells: {named}. Leave these "
            "batches out as well, or keep their controls."
        )


def check_places(folder: Path, places: Places, shards: dict[str, np.ndarray]) -> None:
    """Refuse crops that are not there, and batches without statistics."""
    sizes = np.array([len(shard) for shard in shards.values()] + [0])
    wrong = int(((places.row < 0) | (places.row >= sizes[places.shard])).sum())
    unknown = int((places.batch < 0).sum())
    if wrong or unknown:
        raise damaged(folder, f"{wrong} cells point to no crop, {unknown} are of batches without statistics")


def damaged(folder: Path, what: str) -> GrapeOpsError:
    """The error of a damaged store."""
    return GrapeOpsError(f"The crop store {folder} is damaged: {what}. Make the store again with --overwrite.")
