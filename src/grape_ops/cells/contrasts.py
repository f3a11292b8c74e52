"""Contrasts between genes that noise and batches cannot explain, from features of single cells.

A gene's mean over its cells differs from the others' for three reasons: its phenotype, the chance of which cells were
drawn, and the batches they lie on. The second is known from the scatter of cells within a gene and batch, the third
from what batches add when gene and batch are fitted together. Directions are whitened by both and shrunken by the
share of their variance that is neither (Wiener's factor), and each gene is left with the direction of its contrast.
Letters: n cells of a block, P perturbations (the last one the controls), B batches, V features, R directions.
"""

from dataclasses import dataclass

import numpy as np

# A batch's effect is itself estimated, from few batches: it counts for more than its variance.
BATCH_WEIGHT = 3.0
# Added to the noise of every feature, as a multiple of the mean noise: the scatter of a few cells is not to be
# trusted, and what is seen most sharply should not be all that counts.
RIDGE = 5.0
_SWEEPS = 30


@dataclass
class CellSums:
    """What a pass over the cells leaves: counts (P, B), sums (P, B, V), and the sum of outer products (V, V)."""

    counts: np.ndarray
    sums: np.ndarray
    products: np.ndarray

    @classmethod
    def zeros(cls, perturbations: int, batches: int, features: int) -> "CellSums":
        """Make one before the first cell."""
        shape = (perturbations, batches)
        return cls(np.zeros(shape), np.zeros((*shape, features)), np.zeros((features, features)))

    def add(self, features: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> None:
        """Take in a block of cells: (n, V) z-scored by the controls of each cell's batch, (n,), (n,)."""
        np.add.at(self.counts, (labels, batches), 1)
        np.add.at(self.sums, (labels, batches), features)
        self.products += features.T @ features

    def scatter(self) -> np.ndarray:
        """Covariance of cells within a gene and batch: (V, V)."""
        groups = (self.counts > 0).sum()
        flat = (self.sums / np.sqrt(np.maximum(self.counts, 1))[:, :, None]).reshape(-1, len(self.products))
        return (self.products - flat.T @ flat) / max(self.counts.sum() - groups, 1)

    def effects(self) -> tuple[np.ndarray, np.ndarray]:
        """Least squares of gene + batch over all cells: (P, V), (B, V); batch effects have mean 0."""
        by_gene, by_batch = self.counts.sum(axis=1), self.counts.sum(axis=0)
        gene_sums, batch_sums = self.sums.sum(axis=1), self.sums.sum(axis=0)
        batch = np.zeros_like(batch_sums)
        for _ in range(_SWEEPS):
            gene = (gene_sums - self.counts @ batch) / np.maximum(by_gene, 1)[:, None]
            batch = (batch_sums - self.counts.T @ gene) / np.maximum(by_batch, 1)[:, None]
            batch -= batch.mean(axis=0)
        return gene, batch


def shrunken_contrasts(cells: CellSums) -> np.ndarray:
    """Directions of the genes' contrasts, of length 1: (P, R), R <= min(P - 1, V); 0 for a gene without cells.

    The controls, the last row, are no part of what genes are contrasted with.
    """
    gene, batch = cells.effects()
    by_gene = cells.counts.sum(axis=1)
    present = by_gene[:-1] > 0
    shares = cells.counts[:-1][present] / by_gene[:-1][present, None]
    noise = cells.scatter() * np.mean(1 / by_gene[:-1][present])
    noise += RIDGE * np.trace(noise) / len(noise) * np.eye(len(noise))
    noise += BATCH_WEIGHT * (shares**2).sum(axis=1).mean() * batch.T @ batch / max(len(batch) - 1, 1)
    variance, axes = np.linalg.eigh(noise)
    contrasts = (gene - gene[:-1][present].mean(axis=0)) @ (axes / np.sqrt(variance))
    _, spread, directions = np.linalg.svd(contrasts[:-1][present], full_matrices=False)
    signal = np.maximum(1 - present.sum() / np.maximum(spread**2, 1e-12), 0)
    signal = signal if signal.any() else np.ones_like(signal)  # all noise: nothing to choose by
    shrunken = contrasts @ directions[signal > 0].T * signal[signal > 0]
    shrunken[by_gene == 0] = 0
    return shrunken / np.maximum(np.linalg.norm(shrunken, axis=1, keepdims=True), 1e-12)
