"""CellProfiler's features of the same crops, as profiles of genes (section 3.6)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.averages import blocks
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.features import nucleus_channel, store_features
from grape_ops.features.channels import check_channels, columns_of_channels
from grape_ops.methods.gene_profiles import Blocks, CellProfiles, gene_profiles, in_words
from grape_ops.methods.method import NOTES, Method, Task

if TYPE_CHECKING:
    from anndata import AnnData


def engineered_vectors(task: Task) -> "AnnData":
    """Measure every cell with cp-measure and make profiles of genes; nothing is drawn, the seed is not used."""
    store, settings = task.store, task.config.baselines.engineered
    table = store_features(store, task.config.features)
    is_control = store.labels == store.control_label
    columns = columns_of_channels(table.names, store.channels, task.config.features.channels)
    names = table.names if columns is None else tuple(table.names[i] for i in columns)

    def read(controls_only: bool) -> Blocks:
        for rows in blocks(np.flatnonzero(is_control) if controls_only else np.arange(len(store))):
            yield rows, table.values[rows] if columns is None else table.values[rows][:, columns]

    cells = CellProfiles(store.labels, store.batch_codes, is_control, names, read)
    vectors, facts = gene_profiles(cells, len(store.perturbations), settings)
    adata = gene_anndata(vectors, gene_table(store), "engineered")
    adata.uns["features"] = facts | {"table": table.path.name, "cpu_seconds": table.cpu_seconds}
    adata.uns[NOTES] = [in_words(facts)]
    return adata


def _masks(config: Config) -> dict[str, Path | None]:
    return {} if config.features.masks is None else {"features.masks": config.features.masks}


def _check_nuclei(store: CropStore, config: Config) -> None:
    nucleus_channel(store.channels, config.features.nucleus_channel)
    check_channels(store.channels, config.features.channels)


ENGINEERED = Method(
    "engineered",
    engineered_vectors,
    deterministic=True,
    settings=lambda config: [config.baselines.engineered.decisive(), config.features.decisive()],
    inputs=_masks,
    needs=("cp_measure", "features"),
    check=_check_nuclei,
    by_channel=True,
)
