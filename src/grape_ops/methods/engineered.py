"""CellProfiler's features of the same crops, as profiles of genes (section 3.6)."""

from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.averages import blocks
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.features import store_features
from grape_ops.methods.profile import Blocks, CellProfiles, gene_profiles, in_words
from grape_ops.methods.task import NOTES, Task

if TYPE_CHECKING:
    from anndata import AnnData


def engineered_vectors(task: Task) -> "AnnData":
    """Measure every cell with cp-measure and make profiles of genes; nothing is drawn, the seed is not used."""
    store, settings = task.store, task.config.baselines.engineered
    table = store_features(store, task.config.features)
    is_control = store.labels == store.control_label

    def read(controls_only: bool) -> Blocks:
        for rows in blocks(np.flatnonzero(is_control) if controls_only else np.arange(len(store))):
            yield rows, table.values[rows]

    cells = CellProfiles(store.labels, store.batch_codes, is_control, table.names, read)
    vectors, facts = gene_profiles(cells, len(store.perturbations), settings)
    adata = gene_anndata(vectors, gene_table(store), "engineered")
    adata.uns["features"] = facts | {"table": table.path.name, "cpu_seconds": table.cpu_seconds}
    adata.uns[NOTES] = [in_words(facts)]
    return adata
