"""From features of single cells to vectors of genes.

Features are z-scored by the controls of each cell's batch, and averaged over each perturbation's cells. Cells come in
blocks and nothing is kept of them, so that a screen need not fit in memory.
Legend: N cells, n cells of a block, V features, P perturbations, B batches.
"""

from collections.abc import Callable, Iterable, Iterator
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

    A batch without controls has the mean of all of them. A deviation of 0 marks a feature that does not vary among
    them: nothing tells what a deviation in it means.
    """

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, controls: Iterable[tuple[np.ndarray, np.ndarray]], batches: int) -> "ControlStatistics":
        """Add up blocks of control cells, each as batch codes (n,) in [0, B) and features (n, V)."""
        count, mean, squares, largest = (np.zeros((batches, 0)) for _ in range(4))
        for codes, features in controls:
            values = np.asarray(features, np.float64)
            if not count.size:
                count, mean, squares, largest = (np.zeros((batches, values.shape[1])) for _ in range(4))
            for code in np.unique(codes):
                part = values[codes == code]
                defined = np.isfinite(part)
                n = defined.sum(axis=0)
                own = np.where(defined, part, 0).sum(axis=0) / np.maximum(n, 1)
                within = (np.where(defined, part - own, 0) ** 2).sum(axis=0)
                # Chan's update: adding up squares of raw features would cancel.
                total = np.maximum(count[code] + n, 1)
                squares[code] += within + (own - mean[code]) ** 2 * count[code] * n / total
                mean[code] += (own - mean[code]) * n / total
                count[code] += n
                largest[code] = np.maximum(largest[code], np.abs(np.where(defined, part, 0)).max(axis=0))
        own = np.sqrt(squares / np.maximum(count, 1))
        pooled = np.sqrt(squares.sum(axis=0) / np.maximum(count.sum(axis=0), 1))
        sd = np.where(count >= FEWEST_CONTROLS, own, pooled)
        # A batch without controls is measured against those of all the others.
        overall = (mean * count).sum(axis=0) / np.maximum(count.sum(axis=0), 1)
        mean, largest = np.where(count > 0, mean, overall), np.where(count > 0, largest, largest.max(axis=0))
        return cls(mean, np.where(sd <= 1e-6 * np.maximum(largest, 1e-12), 0, sd))

    def standardize(self, features: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Z-score by each cell's batch: (n, V), (n,) -> (n, V) float64; 0 where undefined or without meaning."""
        sd = self.sd[codes]
        scaled = (np.asarray(features, np.float64) - self.mean[codes]) / np.where(sd == 0, 1, sd)
        scaled[(sd == 0) | ~np.isfinite(scaled)] = 0
        return scaled


def blocks(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Cells in blocks of at most ``BLOCK``."""
    for first in range(0, len(cells), BLOCK):
        yield cells[first : first + BLOCK]


def control_statistics(read: Reader, store: CropStore) -> ControlStatistics:
    """Read all controls of a store once."""
    controls = np.flatnonzero(store.labels == store.control_label)
    return ControlStatistics.of(
        ((store.batch_codes[rows], read(rows)) for rows in blocks(controls)), len(store.batches)
    )


def standardized_means(read: Reader, store: CropStore, method: str, cells: np.ndarray | None = None) -> "AnnData":
    """Average the standardised features of each perturbation's cells, all or some: AnnData of (P, V)."""
    statistics = control_statistics(read, store)
    cells = np.arange(len(store)) if cells is None else cells
    sums = np.zeros((len(store.perturbations), statistics.mean.shape[1]))
    for rows in blocks(cells):
        np.add.at(sums, store.labels[rows], statistics.standardize(read(rows), store.batch_codes[rows]))
    return _of_sums(sums, store, cells, method)


def standardize_by_controls(features: np.ndarray, store: CropStore) -> np.ndarray:
    """Z-score each feature by the control cells of each cell's batch: (N, V) -> (N, V) float64."""
    return control_statistics(lambda rows: features[rows], store).standardize(features, store.batch_codes)


def average_by_gene(features: np.ndarray, store: CropStore, method: str) -> "AnnData":
    """Average the features of each perturbation's cells: (N, V) -> AnnData of (P, V)."""
    sums = np.zeros((len(store.perturbations), features.shape[1]))
    np.add.at(sums, store.labels, features)
    return _of_sums(sums, store, np.arange(len(store)), method)


def _of_sums(sums: np.ndarray, store: CropStore, cells: np.ndarray, method: str) -> "AnnData":
    counts = np.bincount(store.labels[cells], minlength=len(sums))
    return gene_anndata(sums / np.maximum(counts, 1)[:, None], gene_table(store), method)


def robust_sd(deviations: np.ndarray) -> np.ndarray:
    """Standard deviation of normal values whose deviations from the median are these, NaN left out: (N, V) -> (V,)."""
    return np.asarray(1.4826 * np.nanmedian(np.abs(deviations), axis=0))
