"""From features of single cells to vectors of genes.

Legend: N cells, V features, P perturbations, B batches.
"""

from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.cells.store import CropStore

if TYPE_CHECKING:
    from anndata import AnnData

# With fewer controls than this, a batch's own deviation says little, and the one over all batches is taken.
FEWEST_CONTROLS = 10


def standardize_by_controls(features: np.ndarray, store: CropStore) -> np.ndarray:
    """Z-score each feature by the control cells of each cell's batch: (N, V) -> (N, V) float64.

    Features that do not vary among the controls become 0: nothing tells what a deviation in them means.
    """
    is_control = store.labels == len(store.perturbations) - 1
    scaled = np.array(features, dtype=np.float64)
    for code in range(len(store.batches)):
        scaled[store.batch_codes == code] -= scaled[is_control & (store.batch_codes == code)].mean(axis=0)
    pooled = np.sqrt((scaled[is_control] ** 2).mean(axis=0))
    for code in range(len(store.batches)):
        own = store.batch_codes == code
        controls = scaled[is_control & own]
        sd = controls.std(axis=0) if len(controls) >= FEWEST_CONTROLS else pooled
        steady = sd <= 1e-6 * np.maximum(np.abs(features[own]).max(axis=0), 1e-12)
        scaled[own] = np.where(steady, 0, scaled[own] / np.where(steady, 1, sd))
    return scaled


def average_by_gene(features: np.ndarray, store: CropStore, method: str) -> "AnnData":
    """Average the features of each perturbation's cells: (N, V) -> AnnData of (P, V)."""
    n_genes = len(store.perturbations)
    sums = np.zeros((n_genes, features.shape[1]))
    np.add.at(sums, store.labels, features)
    counts = np.bincount(store.labels, minlength=n_genes)
    return gene_anndata(sums / counts[:, None], gene_table(store), method)
