"""Where the features of single cells come from: measured, learned, or read from files of somebody else.

Letters: N cells of the store, n cells asked for, V features.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.features.channels import columns_of_channels
from grape_ops.randomness import HitsStream, generator

if TYPE_CHECKING:
    from grape_ops.nn.classifier import CellClassifier

Reader = Callable[[np.ndarray], np.ndarray]  # cells (n,) -> their features (n, V), NaN where undefined
_MOST_KEPT = 1 << 29  # bytes


@dataclass(frozen=True)
class FeatureSource:
    """Features as they were measured, to be read in blocks.

    Attributes
    ----------
    names : of the V features.
    cells : (n,) the cells that have these features.
    read : what reads them.
    notes : sentences on what was left out.
    """

    names: tuple[str, ...]
    cells: np.ndarray
    read: Reader
    notes: tuple[str, ...] = ()

    def read_once(self, n_cells: int) -> "FeatureSource":
        """The same, which keeps what was read of a store of so many cells, where that fits into memory."""
        if 4 * len(self.cells) * len(self.names) > _MOST_KEPT:
            return self
        place, kept = np.full(n_cells, -1), np.empty((len(self.cells), len(self.names)), np.float32)
        place[self.cells] = np.arange(len(self.cells))
        seen = np.zeros(len(self.cells), bool)

        def read(rows: np.ndarray) -> np.ndarray:
            at = place[rows]
            if not seen[at].all():
                kept[at] = self.read(rows)
                seen[at] = True
            return kept[at]

        return replace(self, read=read)


def feature_sources(store: CropStore, config: Config) -> Iterator[FeatureSource]:
    """Features by ``hits.features``: one set, or one per fold of cells where networks read what they have not seen.

    Raises
    ------
    GrapeOpsError : ``features.channels`` names a channel that there is not, or no feature is of these channels alone.
    """
    match config.hits.features:
        case "statistics":
            yield _statistics(store, config)
        case "engineered":
            yield _engineered(store, config)
        case "learned":
            yield from _learned(store, config)
        case "profiles":
            yield _of_files(store, config)


def what_decides(config: Config) -> list[Any]:
    """What decides these features besides the cells, the seed and ``hits``, as JSON."""
    from grape_ops.methods.profiles import PROFILES

    channels = {"channels": list(config.features.channels)} if config.features.channels else {}
    match config.hits.features:
        case "statistics":
            return [channels] if channels else []
        case "engineered":
            return [config.features.decisive()]
        case "learned":
            return [config.train.init.classifier.decisive(), config.train.precision]
        case "profiles":
            return [PROFILES.decisive(config)]


def _statistics(store: CropStore, config: Config) -> FeatureSource:
    from grape_ops.methods.statistics import read_statistics

    names, read = read_statistics(store, config.features.channels)
    return FeatureSource(names, np.arange(len(store)), read).read_once(len(store))


def _engineered(store: CropStore, config: Config) -> FeatureSource:
    from grape_ops.features import store_features

    table = store_features(store, config.features)
    columns = columns_of_channels(table.names, store.channels, config.features.channels)
    return _chosen(table.names, columns, np.arange(len(store)), table.values.__getitem__)


def _of_files(store: CropStore, config: Config) -> FeatureSource:
    from grape_ops.methods.cell_vectors import cell_vectors, files_of, match_file

    settings = config.baselines.profiles
    if settings.match == "genes":
        raise GrapeOpsError("Hits are tested on single cells, and baselines.profiles.match=genes reads rows as none.")
    found = cell_vectors(store, [match_file(file, store, settings) for file in files_of(config)])
    columns = columns_of_channels(found.names, store.channels, config.features.channels)
    return _chosen(found.names, columns, found.cells, found.values.__getitem__, found.notes)


def _chosen(
    names: tuple[str, ...], columns: np.ndarray | None, cells: np.ndarray, read: Reader, notes: tuple[str, ...] = ()
) -> FeatureSource:
    if columns is None:
        return FeatureSource(names, cells, read, notes)
    return FeatureSource(tuple(names[i] for i in columns), cells, lambda rows: read(rows)[:, columns], notes)


def _learned(store: CropStore, config: Config) -> Iterator[FeatureSource]:
    """Hidden layer of two classifiers, each read on the half of every gene's cells that it has not seen."""
    import torch

    from grape_ops.cells.batches import StandardizedCrops
    from grape_ops.train.fit_classifier import features_of, train_classifier

    if config.features.channels:
        raise GrapeOpsError(
            "Learned features cannot be restricted to channels (features.channels): the network mixes all channels in "
            "its first layer. Take statistics or engineered features, or a store of these channels alone."
        )
    rng = generator(config.seed, HitsStream.HALVES)
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
        yield FeatureSource(names, cells, read).read_once(len(store))
