"""What a store knows of each perturbation, and the AnnData every maker of gene vectors returns.

Letters: P perturbations, V length of a vector.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.hdf5 import write_anndata
from grape_ops.artifacts.ownership import check_file
from grape_ops.cells.store import CropStore
from grape_ops.schema import CONTROL_LABEL, GUIDE, OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES, UNS_MADE_BY, UNS_METHOD

if TYPE_CHECKING:
    from anndata import AnnData

BATCH_COMPOSITION = "batch_composition"
BATCH_NAMES = "batch_names"  # of uns: the columns of the composition
BATCH_PREFIX = "cells in "
MADE_BY = "grape-ops"


def gene_table(store: CropStore) -> pd.DataFrame:
    """One row per perturbation of the store: n_cells, n_guides, is_control, and its cells in each batch."""
    names = list(store.perturbations)
    counts = np.zeros((len(names), len(store.batches)), np.int64)
    np.add.at(counts, (store.labels, store.batch_codes), 1)
    guides = store.cells.groupby(store.labels)[GUIDE].nunique().reindex(range(len(names)), fill_value=0)
    table = pd.DataFrame(
        {
            OBS_N_CELLS: counts.sum(axis=1),
            OBS_N_GUIDES: guides.to_numpy(),
            OBS_IS_CONTROL: [name == CONTROL_LABEL for name in names],
        },
        index=pd.Index(names, name="gene_symbol"),
    )
    per_batch = pd.DataFrame(counts, index=table.index, columns=[BATCH_PREFIX + b for b in store.batches])
    return pd.concat([table, per_batch], axis=1)


def gene_anndata(vectors: np.ndarray, table: pd.DataFrame, method: str) -> "AnnData":
    """Join vectors (P, V) with a table of ``gene_table``; batch shares go to ``obsm["batch_composition"]``.

    They are an array, since cellxgene refuses tables there; the batches' names are in ``uns["batch_names"]``.
    """
    from anndata import AnnData

    batches = [c for c in table.columns if c.startswith(BATCH_PREFIX)]
    shares = table[batches].to_numpy(np.float64)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    adata = AnnData(np.ascontiguousarray(vectors, np.float32), obs=table.drop(columns=batches))
    adata.obsm[BATCH_COMPOSITION] = shares
    adata.uns[BATCH_NAMES] = [b.removeprefix(BATCH_PREFIX) for b in batches]
    adata.uns[UNS_METHOD] = method
    adata.uns[UNS_MADE_BY] = MADE_BY
    return adata


def check_vectors_place(out: Path) -> None:
    """Stop, before hours of work, where gene vectors may not be written.

    Raises
    ------
    GrapeOpsError : there is a folder, or a file that holds something else than gene vectors of ours.
    """
    check_file(out, "a file of gene vectors", example="genes.h5ad", is_ours=_is_ours)


def _is_ours(file: Path) -> bool:
    try:
        with h5py.File(file) as content:
            made_by = content[f"uns/{UNS_MADE_BY}"][()]
    except (OSError, KeyError):
        return False
    return bool(made_by == MADE_BY.encode())


def write_gene_vectors(adata: "AnnData", out: Path) -> None:
    """Write gene vectors as ``.h5ad``; the file appears when it is complete."""
    check_vectors_place(out)
    with draft_of(out, tell=True) as draft:
        write_anndata(adata, draft)
