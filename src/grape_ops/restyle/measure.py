"""Features of real and of restyled cells, measured alike: from pixels as a store keeps them.

What is measured already outlives an interruption. Letters: n cells, K features.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.identity import identity_of
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import FeatureSettings
from grape_ops.features import crop_features, find_all_regions, nucleus_channel, store_features
from grape_ops.features.table import cache_folder
from grape_ops.machine import core_count
from grape_ops.progress import progress
from grape_ops.restyle.content import compare_content
from grape_ops.restyle.restyler import Restyler

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


CONTENT_CELLS = 200  # in which content is compared: enough for a mean


def restyled_features(
    restyler: Restyler, measurer: Measurer, cells: np.ndarray, rows: list[int], kept: Path
) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
    """Features as measured (n, K) of the cells restyled to each perturbation, and what they kept of the content.

    Measuring takes most of the time: what is measured lies in the folder ``kept`` until all is done, and a call
    that comes after an interrupted one goes on from there.
    """
    contents: list[dict[str, float]] = []
    before = restyler.store.read(cells[:CONTENT_CELLS])
    files = {row: kept / f"{_key(restyler, measurer, cells)}-{row}.npz" for row in rows}
    todo = [row for row in rows if not files[row].is_file()]

    def pixels() -> Iterator[np.ndarray]:
        for row in todo:
            parts = restyler.restyle(cells, restyler.styles([row]))
            crops = np.concatenate([restyler.stored(p.images, cells[p.rows])[0] for p in parts])
            contents.append(compare_content(before, crops[:CONTENT_CELLS], measurer.find).named())
            yield crops

    measured = measurer.crops(pixels())
    for row in rows:
        if row in todo:
            values, content = next(measured), contents.pop(0)
            with draft_of(files[row], forced=False) as draft:
                np.savez(draft, values=values, names=list(content), content=list(content.values()))
        else:
            with np.load(files[row]) as found:
                values = found["values"]
                content = dict(zip(found["names"].tolist(), found["content"].tolist(), strict=True))
        yield values, content


def _key(restyler: Restyler, measurer: Measurer, cells: np.ndarray) -> str:
    """Hash of what decides the features of restyled cells."""
    run = restyler.run
    latest = run.latest_checkpoint()
    facts = [
        __version__,
        store_fingerprint(restyler.store),
        latest.name if latest else "",
        run.record["started"],
        restyler.averaged,
        restyler.batch_size,
        cells.tolist(),
        measurer.settings.decisive(),
    ]
    return identity_of(*facts)[:16]
