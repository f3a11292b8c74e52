"""From features of single cells to vectors of genes.

Features are z-scored by the controls of each cell's batch, and averaged over each perturbation's cells. Cells are read
in blocks and nothing is kept of them, so that a screen need not fit in memory.
Legend: N cells, n cells of a block, V features, P perturbations, B batches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.cells.store import CropStore

if TYPE_CHECKING:
    from anndata import AnnData

# With fewer controls than this, a batch's own deviation says little, and the one over all batches is taken.
FEWEST_CONTROLS = 10
BLOCK = 4096

Reader = Callable[[np.ndarray], np.ndarray]  # cells (n,) -> their features (n, V), NaN where undefined


@dataclass(frozen=True)
class ControlStatistics:
    """Mean and standard deviation of each feature over the controls of each batch: (B, V) each.

    A deviation of 0 marks a feature that does not vary among them: nothing tells what a deviation in it means.
    """

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, read: Reader, codes: np.ndarray, is_control: np.ndarray, batches: int) -> "ControlStatistics":
        """Read all controls once: ``codes`` (N,) in [0, B), ``is_control`` (N,) bool."""
        sums = [_Sums.of(read, np.flatnonzero(is_control & (codes == code))) for code in range(batches)]
        mean = np.stack([part.mean for part in sums])
        own = np.stack([part.sd for part in sums])
        count = np.stack([part.count for part in sums])
        pooled = np.sqrt((own**2 * count).sum(axis=0) / np.maximum(count.sum(axis=0), 1))
        sd = np.where(count >= FEWEST_CONTROLS, own, pooled)
        largest = np.stack([part.largest for part in sums])
        return cls(mean, np.where(sd <= 1e-6 * np.maximum(largest, 1e-12), 0, sd))

    def standardize(self, features: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Z-score by each cell's batch: (n, V), (n,) -> (n, V) float64; 0 where undefined or without meaning."""
        sd = self.sd[codes]
        scaled = (np.asarray(features, np.float64) - self.mean[codes]) / np.where(sd == 0, 1, sd)
        scaled[(sd == 0) | ~np.isfinite(scaled)] = 0
        return scaled


@dataclass(frozen=True)
class _Sums:
    """Count, mean, deviation and largest magnitude of each feature over some cells, undefined ones left out: (V,)."""

    count: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, read: Reader, cells: np.ndarray) -> "_Sums":
        count = mean = squares = largest = np.zeros(1)
        for rows in blocks(cells):
            part = np.asarray(read(rows), np.float64)
            defined = np.isfinite(part)
            part = np.where(defined, part, 0)
            n = defined.sum(axis=0)
            own = part.sum(axis=0) / np.maximum(n, 1)
            within = (np.where(defined, part - own, 0) ** 2).sum(axis=0)
            # Chan's update: adding up squares of raw features would cancel.
            total = np.maximum(count + n, 1)
            squares = squares + within + (own - mean) ** 2 * count * n / total
            mean = mean + (own - mean) * n / total
            count = count + n
            largest = np.maximum(largest, np.abs(part).max(axis=0))
        return cls(count, mean, np.sqrt(squares / np.maximum(count, 1)), largest)


def blocks(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Cells in blocks of at most ``BLOCK``; one empty block if there are none."""
    for first in range(0, max(len(cells), 1), BLOCK):
        yield cells[first : first + BLOCK]


def control_statistics(read: Reader, store: CropStore) -> ControlStatistics:
    """Read all controls of a store once."""
    is_control = store.labels == len(store.perturbations) - 1
    return ControlStatistics.of(read, store.batch_codes, is_control, len(store.batches))


def standardized_means(read: Reader, store: CropStore, method: str) -> "AnnData":
    """Average the standardised features of each perturbation's cells, block by block: AnnData of (P, V)."""
    statistics = control_statistics(read, store)
    sums = np.zeros((len(store.perturbations), statistics.mean.shape[1]))
    for rows in blocks(np.arange(len(store))):
        np.add.at(sums, store.labels[rows], statistics.standardize(read(rows), store.batch_codes[rows]))
    return _of_sums(sums, store, method)


def standardize_by_controls(features: np.ndarray, store: CropStore) -> np.ndarray:
    """Z-score each feature by the control cells of each cell's batch: (N, V) -> (N, V) float64."""
    return control_statistics(lambda rows: features[rows], store).standardize(features, store.batch_codes)


def average_by_gene(features: np.ndarray, store: CropStore, method: str) -> "AnnData":
    """Average the features of each perturbation's cells: (N, V) -> AnnData of (P, V)."""
    sums = np.zeros((len(store.perturbations), features.shape[1]))
    np.add.at(sums, store.labels, features)
    return _of_sums(sums, store, method)


def _of_sums(sums: np.ndarray, store: CropStore, method: str) -> "AnnData":
    counts = np.bincount(store.labels, minlength=len(sums))
    return gene_anndata(sums / counts[:, None], gene_table(store), method)
