"""Features of single cells as hit calling reads them, whatever they come from.

Features are in standard deviations of the controls of the cell's batch, cut at a few of them, and 0 where undefined.
Letters: N cells, n cells asked for, V features.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.averages import ControlStatistics, blocks
from grape_ops.cells.gene_effects import CellSums
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, HitsSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import progress

if TYPE_CHECKING:
    from grape_ops.nn.classifier import CellClassifier

BETWEEN = "between channels"  # what says how two channels lie to each other


@dataclass(frozen=True)
class CellFeatures:
    """Features of cells, to be read in blocks.

    Attributes
    ----------
    names : of the V features.
    cells : (n,) the cells that have these features.
    batches : (N,) batch of each cell of the store.
    read : cells (m,) -> (m, V), standardised.
    """

    names: tuple[str, ...]
    cells: np.ndarray
    batches: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]

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
    match config.hits.features:
        case "statistics":
            every = np.arange(len(store))
            return [_standardised(store, _statistics_names(store), every, _statistics(store), config.hits)]
        case "engineered":
            from grape_ops.features import store_features

            table = store_features(store, config.features)
            read = table.values.__getitem__
            return [_standardised(store, tuple(table.names), np.arange(len(store)), read, config.hits)]
        case _:
            return list(_learned(store, config))


def _statistics_names(store: CropStore) -> tuple[str, ...]:
    from grape_ops.methods.statistics import statistic_names

    return tuple(statistic_names(store.channels))


def _statistics(store: CropStore) -> Callable[[np.ndarray], np.ndarray]:
    from grape_ops.methods.statistics import crop_statistics

    return lambda rows: np.concatenate(
        [crop_statistics(store.standardized(part)) for part in np.array_split(rows, max(len(rows) // 256, 1))]
    )


def _learned(store: CropStore, config: Config) -> Iterator[CellFeatures]:
    """Hidden layer of two classifiers, each read on the half of every gene's cells that it has not seen."""
    import torch

    from grape_ops.cells.batches import StandardizedCrops
    from grape_ops.train.fit_classifier import features_of, train_classifier

    rng = np.random.default_rng([config.seed, 1])
    half = np.zeros(len(store), np.int64)
    order = rng.permutation(len(store))
    half[order[np.argsort(store.labels[order], kind="stable")]] = np.arange(len(store)) % 2
    device = torch.device("cpu") if config.train.accelerator == "cpu" else None
    for unseen in range(2):
        seen = np.flatnonzero(half != unseen)
        settings = config.train.init.classifier
        network: CellClassifier = train_classifier(
            store, settings, config.seed + unseen, seen, device=device, precision=config.train.precision
        )
        crops = StandardizedCrops(store, next(network.parameters()).device, "auto")

        def read(rows: np.ndarray, network: "CellClassifier" = network, crops: StandardizedCrops = crops) -> np.ndarray:
            return features_of(network.trunk, crops, rows)

        cells = np.flatnonzero(half == unseen)
        names = tuple(f"learned_{number}" for number in range(read(cells[:1]).shape[1]))
        yield _standardised(store, names, cells, read, config.hits)


def _standardised(
    store: CropStore,
    names: tuple[str, ...],
    cells: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
    settings: HitsSettings,
) -> CellFeatures:
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
    kept = np.flatnonzero((statistics.sd > 0).all(axis=0) & (undefined <= settings.most_undefined * max(seen, 1)))
    if not len(kept):
        raise GrapeOpsError(
            f"None of {len(names)} features can be tested: each is constant or too often undefined among the controls "
            "(hits.most_undefined)."
        )

    def standardised(rows: np.ndarray) -> np.ndarray:
        scaled = statistics.standardize(read(rows), store.batch_codes[rows])[:, kept]
        return np.clip(scaled, -settings.clip, settings.clip)

    return CellFeatures(tuple(names[i] for i in kept), cells, store.batch_codes, standardised)


def feature_channels(names: tuple[str, ...], channels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of the features by channel: each channel, and ``BETWEEN`` for what compares two of them.

    A feature belongs to the channels that its name ends with; learned features belong to none.
    """
    found: dict[str, list[int]] = {channel: [] for channel in (*channels, BETWEEN)}
    for column, name in enumerate(names):
        own = [channel for channel in channels if f"_{channel}_" in f"{name}_"]
        if len(own) > 1:
            found[BETWEEN].append(column)
        elif own:
            found[own[0]].append(column)
    return {channel: np.array(columns) for channel, columns in found.items() if len(columns) > 1}
