"""Profiles of guides: batch-adjusted means of their cells, in units of the scatter of single cells.

Guide and batch are fitted together to all cells (``cells/gene_effects.py``), so that a batch with three controls does
no harm. Letters: U guides, B batches, V features.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from grape_ops.cells.gene_effects import CellSums
from grape_ops.errors import NothingToTest

RIDGE = 0.1  # of the mean variance, added to that of every direction: the faintest ones are not to count most
# Batches count as fixed, since features differ in how far batches move them: what shrinks one too much would pass for
# a phenotype of the genes that lie on it.
BATCH_PRIOR = 0.01
FEWEST_GUIDES = 2  # of control: one guide does not show how guides differ


@dataclass(frozen=True)
class GuideProfiles:
    """Profiles of guides and what chance does to them.

    Attributes
    ----------
    profiles : (U, V) effects of guides less the mean of the control guides, whitened by the scatter of cells.
    cells : (U,) cells of each guide.
    shares : (U, B) share of a guide's cells in each batch.
    batch_error : (B, B) covariance of the fitted batch effects, in units of one cell's scatter.
    scatter : (V, V) covariance of one cell's features in the whitened space; the identity but for the ridge.
    controls : (U,) bool.
    weights : (U,) weights of the control guides in their mean; 0 for all others.
    between : (V, V) covariance between control guides beyond the chance of their cells: off-target effects, growth.
    whitening : (W, V) from the W features of cells to the whitened space; a feature that does not vary counts 0.
    batch : (B, W) fitted effects of batches on the features of cells.
    """

    profiles: np.ndarray
    cells: np.ndarray
    shares: np.ndarray
    batch_error: np.ndarray
    scatter: np.ndarray
    controls: np.ndarray
    weights: np.ndarray
    between: np.ndarray
    whitening: np.ndarray
    batch: np.ndarray

    @classmethod
    def of(cls, sums: CellSums, controls: np.ndarray) -> "GuideProfiles":
        """Fit guides and batches.

        Parameters
        ----------
        sums : features of single cells, summed by guide.
        controls : (U,) bool, the non-targeting guides.

        Raises
        ------
        NothingToTest : fewer than two control guides have cells, or no feature varies within guides.
        """
        cells = sums.counts.sum(axis=1)
        present = controls & (cells > 0)
        if present.sum() < FEWEST_GUIDES:
            raise NothingToTest(
                f"{present.sum()} non-targeting guides have cells, {FEWEST_GUIDES} at least are needed: without them "
                "nothing shows how far guides without a target differ (screen.control_pattern)."
            )
        scaled, kept, deviation = sums.scaled()
        if not scaled.products.size:
            raise NothingToTest("No feature differs between the cells of one guide, so that nothing can be tested.")
        fit = scaled.effects(BATCH_PRIOR)
        variance, axes = np.linalg.eigh(fit.scatter)
        whitening = axes / np.sqrt(np.maximum(variance, 0) + RIDGE * variance.mean())
        to_whitened, batch = np.zeros((len(kept), kept.sum())), np.zeros((len(fit.batch), len(kept)))
        to_whitened[kept] = whitening / deviation[:, None]
        batch[:, kept] = fit.batch * deviation
        found = cls(
            profiles=fit.gene @ whitening,
            cells=cells,
            shares=sums.counts / np.maximum(cells, 1)[:, None],
            batch_error=fit.batch_error,
            scatter=whitening.T @ fit.scatter @ whitening,
            controls=controls,
            weights=np.zeros(len(cells)),
            between=np.zeros((kept.sum(), kept.sum())),
            whitening=to_whitened,
            batch=batch,
        )
        return found.without(np.empty(0, np.int64))

    def without(self, guides: np.ndarray) -> "GuideProfiles":
        """The same where some control guides (g,) count as none: their profiles stay, to be tested."""
        controls = self.controls.copy()
        controls[guides] = False
        own = np.flatnonzero(controls & (self.cells > 0))
        between = _between(self.profiles[own], self.cells[own], self.shares[own], self.batch_error, self.scatter)
        weights = np.zeros(len(self.cells))
        weights[own] = 1 / (1 / self.cells[own] + np.trace(between) / np.trace(self.scatter))
        weights /= weights.sum()
        centred = self.profiles - weights @ self.profiles
        return replace(self, profiles=centred, controls=controls, weights=weights, between=between)

    def chance(self, guides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What chance does to the profiles of guides (k,) and to the mean of the controls.

        Returns
        -------
        by_cells, by_guides : (k + 1, k + 1), the controls' mean last: covariance in units of ``scatter``, from cells
            drawn and batches fitted, and in units of ``between``.
        """
        shares, by_cells_of_controls, by_guides_of_controls = self._chance_of_controls
        rows = np.vstack([self.shares[guides], shares])
        by_cells = np.diag(np.append(1 / self.cells[guides], by_cells_of_controls))
        by_cells += rows @ self.batch_error @ rows.T
        return by_cells, np.diag(np.append(np.ones(len(guides)), by_guides_of_controls))

    @cached_property
    def _chance_of_controls(self) -> tuple[np.ndarray, float, float]:
        """Shares (B,) of the controls' mean in batches, and what cells drawn and guides drawn do to it."""
        own = self.weights > 0
        by_cells = float((self.weights[own] ** 2 / self.cells[own]).sum())
        return self.weights @ self.shares, by_cells, float((self.weights**2).sum())


def _between(
    profiles: np.ndarray, cells: np.ndarray, shares: np.ndarray, batch_error: np.ndarray, scatter: np.ndarray
) -> np.ndarray:
    """Covariance between guides beyond what the chance of their cells explains: (V, V).

    Its directions are those in which guides differ by more than chance; its trace is the unbiased estimate, and one
    standard error more, since a few guides tell it badly and too little of it makes false hits.
    """
    n = len(profiles)
    centred = profiles - profiles.mean(axis=0)
    chance = np.diag(1 / cells) + shares @ batch_error @ shares.T
    explained = (np.trace(chance) - chance.sum() / n) / (n - 1)
    found = centred.T @ centred / (n - 1)
    error = np.sqrt(2 * (found**2).sum() / (n - 1))
    total = max(np.trace(found) - explained * np.trace(scatter) + error, 0.0)
    variance, axes = np.linalg.eigh(found - explained * scatter)
    variance = np.maximum(variance, 0)
    return (axes * variance * total / max(variance.sum(), 1e-12)) @ axes.T
