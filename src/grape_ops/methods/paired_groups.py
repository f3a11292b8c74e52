"""Which cells are compared across batches: small groups of the same guides in two batches, or wells.

Letters: N cells, P perturbations, U guides, L places (batches or wells), G groups of a place, K cells of a group.
"""

import numpy as np
import pandas as pd

from grape_ops.cells.batches import Sampler
from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.randomness import TrainingStream, generator
from grape_ops.schema import GUIDE, PLATE, WELL

_FEWEST = 2  # perturbations of a pair of places: a group is told from at least one other


class PairedGroups(Sampler):
    """Groups of cells of several perturbations in one place, then of the same perturbations in another.

    All groups of a step lie in one pair of places, so that nothing but the perturbation tells which two belong
    together. A group is of one guide where a guide has enough cells in both places, else of the whole gene, drawn with
    replacement if that has too few as well; the controls are one perturbation, whatever their guides.

    Parameters
    ----------
    store : the cells.
    groups, cells : G and K.
    seed : of the draws.

    Raises
    ------
    GrapeOpsError : no two genes lie in the same two batches, nor in the same two wells.
    """

    def __init__(self, store: CropStore, groups: int, cells: int, seed: int):
        super().__init__(store.labels, len(store.perturbations), 2 * groups * cells, seed, mode="uniform")
        self.groups, self.cells = groups, cells
        table = store.table([GUIDE, PLATE, WELL]).to_pandas()
        guide = pd.factorize(table[GUIDE], use_na_sentinel=False)[0]
        guide[store.labels == store.control_label] = 0
        keys, unit = np.unique(store.labels * (guide.max() + 1) + guide, return_inverse=True)
        n_perturbations = len(store.perturbations)
        self._first = np.searchsorted(keys // (guide.max() + 1), np.arange(n_perturbations + 1))
        wells = table.groupby([PLATE, WELL], sort=True).ngroup().to_numpy()
        for place in (store.batch_codes, wells):
            present = np.zeros((n_perturbations, place.max() + 1), bool)
            present[store.labels, place] = True
            shared = np.triu(present.T.astype(np.int64) @ present, k=1)
            pairs = np.argwhere(shared >= _FEWEST)
            if len(pairs):
                break
        else:
            raise GrapeOpsError(
                "The method consistency compares cells of a gene in two batches or wells, but no two genes (or a gene "
                "and the controls) have cells in the same two: every gene of the store lies in one well. Leave it out."
            )
        self._pairs, self._present = pairs, present
        weights = shared[tuple(pairs.T)]
        self._weights = weights / weights.sum()
        self._counts = np.bincount(unit * present.shape[1] + place, minlength=len(keys) * present.shape[1])
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])
        self._counts = self._counts.reshape(len(keys), -1)
        self._order = np.lexsort((place, unit))

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells of a step, place by place and group by group, and no targets: ((2 G K,), (2 G K,) of zeros) int64."""
        rng = generator(self.seed, TrainingStream.PAIRS, step)
        pair = self._pairs[rng.choice(len(self._pairs), p=self._weights)]
        both = np.flatnonzero(self._present[:, pair].all(axis=1))
        drawn: list[list[np.ndarray]] = [[], []]
        for label in rng.choice(both, min(self.groups, len(both)), replace=False):
            units = np.arange(self._first[label], self._first[label + 1])
            if len(enough := units[(self._counts[units][:, pair] >= self.cells).all(axis=1)]):
                units = rng.choice(enough, 1)
            for groups, place in zip(drawn, pair, strict=True):
                cells = np.concatenate([self._cells_at(unit, place) for unit in units])
                groups.append(rng.choice(cells, self.cells, replace=len(cells) < self.cells))
        chosen = np.concatenate([*drawn[0], *drawn[1]])
        return chosen, np.zeros(len(chosen), np.int64)

    def _cells_at(self, unit: int, place: int) -> np.ndarray:
        start = self._starts[unit * self._counts.shape[1] + place]
        return self._order[start : start + self._counts[unit, place]]
