"""Gene effects that noise and batches cannot explain, from features of single cells.

A gene's mean over its cells differs from the others' for three reasons: its phenotype, the chance of which cells were
drawn, and the batches they lie on. Gene and batch are fitted together to all cells, the batch as a random effect,
since a batch may hold few cells that separate it from the genes it holds; what the fit leaves is the scatter of cells.
Directions are whitened by what scatter and batches do to a gene's mean, and shrunken (Wiener's factor) by the share
of their variance that is neither chance nor gene-specific: what genes share has them vary more along few directions,
gene-specific variance lies along all of them alike. Each gene is left with the direction of its effect.
Letters: n cells of a block, P perturbations (the last one the controls), B batches, V features, R directions.
"""

from dataclasses import dataclass

import numpy as np

from grape_ops.cosine import floored_unit_rows
from grape_ops.errors import GrapeOpsError

# A batch's effect is itself estimated, from few batches: it counts for more than its variance.
BATCH_WEIGHT = 3.0
# Added to the noise of every feature, as a multiple of the mean noise: the scatter of a few cells is not to be
# trusted, and what is seen most sharply should not be all that counts.
RIDGE = 5.0
_TURNS = 1000


@dataclass
class CellSums:
    """What a pass over cells leaves: counts (P, B), sums by gene (P, V) and batch (B, V), sums of products (V, V)."""

    counts: np.ndarray
    by_gene: np.ndarray
    by_batch: np.ndarray
    products: np.ndarray

    @classmethod
    def zeros(cls, perturbations: int, batches: int, features: int) -> "CellSums":
        """Make one before the first cell."""
        shapes = ((perturbations, batches), (perturbations, features), (batches, features), (features, features))
        return cls(*map(np.zeros, shapes))

    def add(self, features: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> None:
        """Take in a block of cells: (n, V), (n,), (n,)."""
        values = np.asarray(features, np.float64)
        np.add.at(self.counts, (labels, batches), 1)
        np.add.at(self.by_gene, labels, values)
        np.add.at(self.by_batch, batches, values)
        self.products += values.T @ values

    def scaled(self) -> "tuple[CellSums, np.ndarray, np.ndarray]":
        """Divide every feature by its deviation within genes, and leave out those that do not vary.

        Returns
        -------
        The sums, which features vary between cells of one gene (V,) bool, and the deviation of those that do.
        """
        cells, sizes = self.counts.sum(axis=1), np.diag(self.products)
        within = sizes - (self.by_gene**2 / np.maximum(cells, 1)[:, None]).sum(axis=0)
        kept = within > 1e-9 * sizes
        deviation = np.sqrt(np.maximum(within, 0) / max(cells.sum() - (cells > 0).sum(), 1))[kept]
        products = self.products[np.ix_(kept, kept)] / np.outer(deviation, deviation)
        sums = CellSums(self.counts, self.by_gene[:, kept] / deviation, self.by_batch[:, kept] / deviation, products)
        return sums, kept, deviation

    def columns(self, chosen: np.ndarray) -> "CellSums":
        """The same for some features only (v,)."""
        products = self.products[np.ix_(chosen, chosen)]
        return CellSums(self.counts, self.by_gene[:, chosen], self.by_batch[:, chosen], products)

    def effects(self, prior: float | None = None) -> "Effects":
        """Fit gene + batch to all cells; features are to be :meth:`scaled`.

        ``prior`` is how many cells' worth of evidence holds a batch's effect near 0; it is estimated if None.

        A batch's effect is drawn from a normal distribution around 0, whose variance is found along with it (EM).
        Genes are eliminated, and only that variance is iterated: to fit genes and batches in turns would take
        thousands of turns where a few controls are all that genes of different batches have in common.
        """
        in_gene, in_batch = self.counts.sum(axis=1), self.counts.sum(axis=0)
        cells = np.maximum(in_gene, 1)[:, None]
        shares = self.counts / cells
        # How many cells separate batches from the genes they hold, along axes that do not depend on each other.
        information, axes = np.linalg.eigh(np.diag(in_batch) - shares.T @ self.counts)
        information = np.maximum(information, 0)
        left = axes.T @ (self.by_batch - shares.T @ self.by_gene)
        if prior is None:
            power, prior = (left**2).mean(axis=1), 1.0
            for _ in range(_TURNS):
                prior = 1 / np.mean(power / (information + prior) ** 2 + 1 / (information + prior))
        batch = axes @ (left / (information + prior)[:, None])
        batch -= batch.mean(axis=0)
        gene = (self.by_gene - self.counts @ batch) / cells
        explained = self.by_gene.T @ gene + self.by_batch.T @ batch
        both = gene.T @ self.counts @ batch
        fitted = (gene.T * in_gene) @ gene + (batch.T * in_batch) @ batch + both + both.T
        freedom = max(in_gene.sum() - (in_gene > 0).sum() - (in_batch > 0).sum() + 1, 1)
        scatter = (self.products - explained - explained.T + fitted) / freedom
        return Effects(gene, batch, scatter, (axes / (information + prior)) @ axes.T)


@dataclass
class Effects:
    """Genes (P, V), batches (B, V) with mean 0, and the covariance of what they leave of a cell, the scatter (V, V).

    ``batch_error`` (B, B) is the covariance of the batches' errors, in units of one cell's scatter.
    """

    gene: np.ndarray
    batch: np.ndarray
    scatter: np.ndarray
    batch_error: np.ndarray


def shrunken_gene_effects(cells: CellSums, gene_specific_fraction: float) -> np.ndarray:
    """Directions of the gene effects, of length 1: (P, R), R <= min(P - 1, V); 0 for a gene without cells.

    An effect is a gene's difference from the mean of all genes; the controls, the last row, are not part of that mean.

    Parameters
    ----------
    cells : features of single cells, summed.
    gene_specific_fraction : share of directions, the weakest, that hold gene-specific variance alone; with 0 only
        chance shrinks.

    Raises
    ------
    GrapeOpsError : no feature varies between cells of one gene.
    """
    found = _whitened(cells)
    directions, signal = found.signal(gene_specific_fraction)
    signal = signal if signal.any() else np.ones_like(signal)  # all noise: nothing to choose by
    shrunken = found.effects @ directions[signal > 0].T * signal[signal > 0]
    shrunken[cells.counts.sum(axis=1) == 0] = 0
    return floored_unit_rows(shrunken)


def shrunken_effects(cells: CellSums) -> tuple[np.ndarray, np.ndarray]:
    """What genes change, shrunken by what chance explains, in whitened features: whitening (V, V), effects (P, V).

    Unlike the directions above, they keep their size, their gene-specific part, and what all genes share against the
    controls: that is the controls' effect, and it is shrunken by itself, for genes need not differ along it.
    Features that do not vary have a column of 0.
    """
    found = _whitened(cells)
    directions, signal = found.signal(0)
    shrunken = (found.effects @ directions.T * signal) @ directions
    shared = found.effects[-1]
    shrunken[-1] = shared * max(1 - found.chance_shared / max(float(shared @ shared), 1e-12), 0.0)
    shrunken[cells.counts.sum(axis=1) == 0] = 0
    kept = found.kept
    features = len(kept)
    whitening, effects = np.zeros((features, features)), np.zeros((len(shrunken), features))
    whitening[np.ix_(kept, np.arange(kept.sum()))] = found.whitening / found.deviation[:, None]
    effects[:, : kept.sum()] = shrunken
    return whitening, effects


@dataclass
class _Whitened:
    """Gene effects in units of their chance, of the W features that vary.

    Attributes
    ----------
    effects : (P, W) differences from the mean of all genes.
    whitening : (W, W), what takes scaled features there.
    present : (P - 1,) genes that have cells.
    chance_shared : squared length that chance alone gives to the controls' effect.
    kept, deviation : which features vary (V,), and by how much (W,).
    """

    effects: np.ndarray
    whitening: np.ndarray
    present: np.ndarray
    chance_shared: float
    kept: np.ndarray
    deviation: np.ndarray

    def signal(self, gene_specific_fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Directions along which genes differ (R, V), and the share of each that is kept (R,)."""
        present = self.effects[:-1][self.present]
        _, spread, directions = np.linalg.svd(present, full_matrices=False)
        power = spread**2
        floor = len(present)  # what chance alone would have
        if gene_specific_fraction:
            floor = max(floor, np.quantile(power[: max(len(present) - 1, 1)], gene_specific_fraction))
        return directions, np.maximum(1 - floor / np.maximum(power, 1e-12), 0)


def _whitened(cells: CellSums) -> _Whitened:
    scaled, kept, deviation = cells.scaled()
    if not scaled.products.size:
        raise GrapeOpsError(
            "No feature differs between cells of one gene, and nothing else says how far genes differ by chance. "
            "Either every gene has a single cell (sample more), or the network that gave the features died in "
            "training (lower train.init.classifier.learning_rate)."
        )
    fit = scaled.effects()
    by_gene = cells.counts.sum(axis=1)
    present = by_gene[:-1] > 0
    shares = cells.counts / np.maximum(by_gene, 1)[:, None]
    genes, batches = shares[:-1][present], fit.batch.T @ fit.batch / max(len(fit.batch) - 1, 1)
    noise = fit.scatter * np.mean(1 / by_gene[:-1][present])
    noise += RIDGE * np.trace(noise) / len(noise) * np.eye(len(noise))
    noise += BATCH_WEIGHT * (genes**2).sum(axis=1).mean() * batches
    variance, axes = np.linalg.eigh(noise)
    whitening = axes / np.sqrt(variance)
    # The mean of genes and the controls have chances of their own, and batches where they lie on others.
    cells_chance = np.sum(1 / by_gene[:-1][present]) / len(genes) ** 2 + 1 / max(by_gene[-1], 1)
    apart = ((genes.mean(axis=0) - shares[-1]) ** 2).sum()
    chance = fit.scatter * cells_chance + BATCH_WEIGHT * apart * batches
    chance_shared = float(np.trace(whitening.T @ chance @ whitening))
    effects = (fit.gene - fit.gene[:-1][present].mean(axis=0)) @ whitening
    return _Whitened(effects, whitening, present, chance_shared, kept, deviation)
