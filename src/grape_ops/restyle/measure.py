"""Features of real and of restyled cells, measured alike: from pixels as a store keeps them.

Letters: n cells, K features.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from grape_ops.cells.store import CropStore
from grape_ops.config import FeatureSettings
from grape_ops.features import crop_features, find_all_regions, nucleus_channel, store_features
from grape_ops.features.table import cache_folder
from grape_ops.machine import core_count
from grape_ops.progress import progress

_CELLS_AT_ONCE = 128
_CELLS_READ = 1024  # crops held in memory, a few times


class Measurer:
    """Measures crops of one store's kind, several processes at once.

    Attributes
    ----------
    names : of the K features.
    nucleus : position of the channel that shows nuclei.
    find : finds the regions of crops.
    """

    def __init__(self, store: CropStore, settings: FeatureSettings):
        self.store, self.settings = store, settings
        self.nucleus = nucleus_channel(store.channels, settings.nucleus_channel)
        self.find = partial(find_all_regions, nucleus=self.nucleus)
        self.names, _ = crop_features(store.read(slice(0, 0)), store.channels, self.nucleus, settings=settings)
        # What the engineered baseline has measured already is not measured again.
        known = (cache_folder(store, settings, self.nucleus) / "features.json").is_file()
        self._known = store_features(store, settings).values if known else None

    def cells(self, cells: np.ndarray) -> np.ndarray:
        """Features of cells of the store: (n,) -> (n, K)."""
        if self._known is not None:
            return np.asarray(self._known[cells])
        parts = np.split(cells, range(_CELLS_READ, len(cells), _CELLS_READ))
        measured = []
        with progress("measure real cells", len(cells), "cell") as advance:
            for values in self.crops(self.store.read(part) for part in parts):
                measured.append(values)
                advance(len(values))
        return np.concatenate(measured)

    def crops(self, sets: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Features of sets of crops, in order: each (n, C, H, H) pixels of the store's type -> (n, K)."""
        from joblib import Parallel, delayed

        sizes: list[int] = []

        def tasks() -> Iterator[object]:
            for crops in sets:
                parts = np.split(crops, range(_CELLS_AT_ONCE, len(crops), _CELLS_AT_ONCE))
                sizes.append(len(parts))
                yield from (delayed(_features)(p, self.store.channels, self.nucleus, self.settings) for p in parts)

        workers = self.settings.workers or core_count()
        pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch=2 * workers, batch_size=1)
        done: list[np.ndarray] = []
        for part in pool(tasks()):
            done.append(part)
            if len(done) == sizes[0]:
                sizes.pop(0)
                yield np.concatenate(done)
                done = []


def _features(crops: np.ndarray, channels: tuple[str, ...], nucleus: int, settings: FeatureSettings) -> np.ndarray:
    return crop_features(crops, channels, nucleus, settings=settings)[1]
