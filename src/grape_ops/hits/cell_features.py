"""Features of single cells as hit calling reads them, whatever they come from.

Features are in standard deviations of the controls of the cell's batch, cut at a few of them, and 0 where undefined.
Letters: N cells, n cells asked for, V features.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from grape_ops.cells.averages import ControlStatistics, blocks
from grape_ops.cells.gene_effects import CellSums
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, HitsSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.hits.feature_sources import FeatureSource, feature_sources
from grape_ops.progress import progress
from grape_ops.words import some_of


@dataclass(frozen=True)
class CellFeatures:
    """Features of cells, to be read in blocks.

    Attributes
    ----------
    names : of the V features.
    cells : (n,) the cells that have these features.
    batches : (N,) batch of each cell of the store.
    read : cells (m,) -> (m, V), standardised.
    notes : sentences on what was left out.
    """

    names: tuple[str, ...]
    cells: np.ndarray
    batches: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]
    notes: tuple[str, ...] = ()

    def sums(self, guides: np.ndarray, what: str) -> CellSums:
        """Sum over guides, given as codes (N,), and batches."""
        found = CellSums.zeros(int(guides.max()) + 1, int(self.batches.max()) + 1, len(self.names))
        with progress(what, len(self.cells), "cell") as advance:
            for rows in blocks(self.cells):
                found.add(self.read(rows), guides[rows], self.batches[rows])
                advance(len(rows))
        return found


def cell_features(store: CropStore, config: Config) -> list[CellFeatures]:
    """Features by ``hits.features``: one set, or one per fold of cells where networks read what they have not seen."""
    return [standardised(store, source, config.hits) for source in feature_sources(store, config)]


def standardised(store: CropStore, source: FeatureSource, settings: HitsSettings) -> CellFeatures:
    """Standardise features by the controls of each batch; those that cannot be tested are left out, and counted.

    Raises
    ------
    GrapeOpsError : there are no control cells, or no feature is left.
    """
    cells, read, names = source.cells, source.read, source.names
    controls = cells[store.labels[cells] == store.control_label]
    if not len(controls):
        raise GrapeOpsError("There are no control cells to standardise features by (screen.control_pattern).")
    undefined, seen = np.zeros(len(names)), 0

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal seen, undefined
        for rows in blocks(controls):
            values = read(rows)
            some = np.isfinite(values).any(axis=1)  # a cell in which nothing was found says nothing of the features
            undefined = undefined + (~np.isfinite(values[some])).sum(axis=0)
            seen += int(some.sum())
            yield store.batch_codes[rows], values

    statistics = ControlStatistics.of(parts(), len(store.batches))
    constant = ~(statistics.sd > 0).all(axis=0)
    too_often = ~(undefined <= settings.most_undefined * max(seen, 1))
    kept = np.flatnonzero(~constant & ~too_often)
    if not len(kept):
        still = [store.batches[batch] for batch in np.flatnonzero(~(statistics.sd > 0).any(axis=1))]
        raise GrapeOpsError(
            f"None of {len(names)} features can be tested: each is constant among the controls of a batch, or too "
            "often undefined (hits.most_undefined)."
            + (f" All are constant in {some_of(still)}: leave it out with --where." if still else "")
        )

    def scaled(rows: np.ndarray) -> np.ndarray:
        values = statistics.standardize(read(rows), store.batch_codes[rows])[:, kept]
        return np.clip(values, -settings.clip, settings.clip)

    notes = _left_out(names, too_often, constant & ~too_often)
    return CellFeatures(tuple(names[i] for i in kept), cells, store.batch_codes, scaled, (*source.notes, *notes))


def _left_out(names: tuple[str, ...], undefined: np.ndarray, constant: np.ndarray) -> Iterator[str]:
    for left_out, why in ((undefined, "are too often undefined (NaN)"), (constant, "do not vary")):
        if left_out.any():
            shown = some_of(np.array(names)[left_out])
            yield f"{int(left_out.sum())} of {len(names)} features {why} among the controls and are left out: {shown}"
