"""The features of all cells of a store: measured once, by several processes, and kept beside the store.

    STORE.features/{key}/
      features.npy     (N, K) float32, memory-mapped, in the order of cells.parquet
      seconds.npy      CPU seconds each block of cells took, 0 while it is not on disk; a later call goes on from there
      features.json    names, settings, versions, counts; written last

The key is a hash of all that decides the numbers: the store's description (which names its checksums), the settings,
the version of cp-measure and of our own measuring, and the user's masks, if there are any.
Letters: N cells, K features.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from grape_ops.artifacts.atomic import draft_of, reserve, write_json
from grape_ops.artifacts.damage import DAMAGE, damage_in_words, read_json, why
from grape_ops.artifacts.identity import identity_of, sha256_of
from grape_ops.artifacts.locks import locked
from grape_ops.cells.store import CropStore, open_at, store_fingerprint
from grape_ops.cells.store_record import read_meta
from grape_ops.config import FeatureSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.features.measure import REGIONS, crop_features
from grape_ops.features.regions import nucleus_channel
from grape_ops.machine import core_count
from grape_ops.progress import progress
from grape_ops.workers import ClusterWorkers

MEASURING_VERSION = 1  # to be raised when the same settings give other numbers
BLOCK = 512  # cells
FACTS_FILE = "features.json"
_FACTS: dict[str, type | tuple[type, ...]] = {"names": list, "without_nucleus": int, "cpu_seconds": (int, float)}


@dataclass(frozen=True)
class FeatureTable:
    """Features of a store's cells.

    Attributes
    ----------
    path : folder of the files.
    names : of the K features.
    values : (N, K) float32, a read-only memory map; NaN where a feature is not defined.
    without_nucleus : cells in which no nucleus or body was found; NaN throughout.
    cpu_seconds : what measuring took, by whichever calls.
    """

    path: Path
    names: tuple[str, ...]
    values: np.ndarray
    without_nucleus: int
    cpu_seconds: float


def store_features(store: CropStore, settings: FeatureSettings | None = None) -> FeatureTable:
    """Measure all cells of a store, or read what an earlier call has measured.

    Parameters
    ----------
    store : the crop store.
    settings : what is measured, where it is kept, and by how many processes or which cluster; the defaults if None.

    Raises
    ------
    GrapeOpsError : no channel shows nuclei, masks do not fit, the cache cannot be written, or cp-measure is missing.
    """
    settings = settings or FeatureSettings()
    nucleus = nucleus_channel(store.channels, settings.nucleus_channel)
    _check_masks(store, settings)
    folder = cache_folder(store, settings, nucleus)
    if not (folder / FACTS_FILE).is_file():
        with _cache_errors(folder), locked(folder, "features of cells", wait=True):
            if not (folder / FACTS_FILE).is_file():  # unless another process has measured them meanwhile
                _measure_all(store, settings, nucleus, folder)
    facts = read_json(folder / FACTS_FILE, "features of cells; remove its folder to measure them again", _FACTS)
    with damage_in_words(folder / "features.npy", "; remove its folder to measure the cells again"):
        values = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        if (values.shape, values.dtype) != ((len(store), len(facts["names"])), np.float32):
            raise ValueError(
                f"it is {values.dtype} {values.shape}, for {len(store)} cells and {len(facts['names'])} features"
            )
    return FeatureTable(folder, tuple(facts["names"]), values, facts["without_nucleus"], facts["cpu_seconds"])


def cache_folder(store: CropStore, settings: FeatureSettings, nucleus: int) -> Path:
    """Where the features of a store lie when measured with these settings."""
    root = settings.cache or store.path.with_name(f"{store.path.resolve().name}.features")
    return root / _key(store, settings, nucleus)


def _measure_all(store: CropStore, settings: FeatureSettings, nucleus: int, folder: Path) -> None:
    names, _ = crop_features(store.read(slice(0, 0)), store.channels, nucleus, settings=settings)
    shape = (len(store), len(names))
    seconds = _open_files(folder, shape)
    blocks = np.flatnonzero(seconds == 0).tolist()
    finished = min(int(np.count_nonzero(seconds)) * BLOCK, len(store))
    with progress("Measuring cells", len(store), "cell", done=finished) as advance:
        for block, took in _in_parallel(store, settings, nucleus, folder, blocks):
            seconds[block] = took
            seconds.flush()
            advance(min(BLOCK, len(store) - block * BLOCK))
    values = np.load(folder / "features.npy", mmap_mode="r")
    lost = sum(int(np.isnan(part).all(axis=1).sum()) for part in np.array_split(values, len(seconds)))
    facts = {
        "names": names,
        "without_nucleus": lost,
        "cpu_seconds": round(float(np.sum(seconds)), 3),
        "nucleus_channel": store.channels[nucleus],
        "settings": settings.model_dump(mode="json"),
        "cp_measure": _cp_measure_version(),
        "measuring_version": MEASURING_VERSION,
    }
    write_json(folder / FACTS_FILE, facts)


def _in_parallel(
    store: CropStore, settings: FeatureSettings, nucleus: int, folder: Path, blocks: list[int]
) -> Iterator[tuple[int, float]]:
    """Measure blocks in any order and yield each, with the seconds it took, when it is on disk."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    count = min(settings.workers or core_count(), len(blocks))
    if settings.scheduler:
        yield from _on_cluster(store, settings, nucleus, folder, blocks)
        return
    tasks = (settings, nucleus, folder)
    if count <= 1:
        yield from (_measure_block(store, *tasks, block, BLOCK) for block in blocks)
        return
    # In order, so that each process reads ahead on the disk; the table of cells is not sent with every block.
    pool = Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1)
    yield from pool(delayed(_measure_block)(store.address, *tasks, block, BLOCK) for block in blocks)
    get_reusable_executor().shutdown(wait=True)  # or the processes would linger, holding memory


def _on_cluster(
    store: CropStore, settings: FeatureSettings, nucleus: int, folder: Path, blocks: list[int]
) -> Iterator[tuple[int, float]]:
    """The same by the workers of a Dask scheduler, which see the store under its path; only this process writes.

    Several machines that write to one memory-mapped file would overwrite each other's blocks where these share a page.
    """
    assert settings.scheduler
    values = np.load(folder / "features.npy", mmap_mode="r+")
    address = (store.path.resolve(), *store.address[1:])
    masks = settings.masks and settings.masks.resolve()
    seen = settings.model_copy(update={"masks": masks})
    tasks = ((_block, (address, seen, nucleus, block, BLOCK)) for block in blocks)
    with ClusterWorkers(settings.scheduler, "give the command again") as workers:
        for block, rows, part, took in workers.run(deque(), tasks):
            values[rows] = part
            values.flush()
            yield block, took


@lru_cache(maxsize=1)
def _opened(*address: Any) -> CropStore:
    """Open the store once per process."""
    return open_at(*address)


def _measure_block(
    store: CropStore | tuple[Any, ...], settings: FeatureSettings, nucleus: int, folder: Path, block: int, size: int
) -> tuple[int, float]:
    _, rows, part, took = _block(store, settings, nucleus, block, size)
    values = np.load(folder / "features.npy", mmap_mode="r+")
    values[rows] = part
    values.flush()
    return block, took


def _block(
    store: CropStore | tuple[Any, ...], settings: FeatureSettings, nucleus: int, block: int, size: int
) -> tuple[int, slice, np.ndarray, float]:
    """Measure a block of cells: its number, its rows, their features, and the seconds it took."""
    began = time.process_time()
    store = store if isinstance(store, CropStore) else _opened(*store)
    rows = slice(block * size, min((block + 1) * size, len(store)))
    of_table = rows if store.table_rows is None else store.table_rows[rows]
    masks = np.load(settings.masks, mmap_mode="r")[of_table] if settings.masks else None
    _, part = crop_features(store.read(rows), store.channels, nucleus, masks, settings)
    return block, rows, part, max(time.process_time() - began, 1e-6)


def _open_files(folder: Path, shape: tuple[int, int]) -> np.memmap:
    """Make the two arrays, or open those an interrupted call has left; the seconds of the blocks."""
    from numpy.lib.format import open_memmap

    blocks = -(-shape[0] // BLOCK)
    for name, size in (("features", shape), ("seconds", (blocks,))):
        file = folder / f"{name}.npy"
        if not file.is_file():
            with draft_of(file, forced=False) as draft:
                open_memmap(draft, mode="w+", dtype=np.float32, shape=size).flush()
                reserve(draft, draft.stat().st_size)
    return open_memmap(folder / "seconds.npy", mode="r+")


@contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except GrapeOpsError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise GrapeOpsError(
            f"The features of the cells cannot be kept in {folder}: {error} "
            "Another folder may be named: --set features.cache=FOLDER."
        ) from None


def _check_masks(store: CropStore, settings: FeatureSettings) -> None:
    if settings.masks is None:
        return
    if not settings.masks.is_file():
        raise GrapeOpsError(f"There is no file of masks {settings.masks} (features.masks).")
    try:
        shape = np.load(settings.masks, mmap_mode="r", allow_pickle=False).shape
    except DAMAGE as error:
        raise GrapeOpsError(f"The masks {settings.masks} are not a .npy file: {why(error)}") from None
    wanted = (read_meta(store.path)["n_cells"], len(REGIONS), store.crop_size, store.crop_size)
    if shape != wanted:
        raise GrapeOpsError(
            f"The masks {settings.masks} are {shape}, but this store's cells need {wanted}: nucleus and cell of each "
            "crop, in the order of cells.parquet."
        )


def _key(store: CropStore, settings: FeatureSettings, nucleus: int) -> str:
    measured = settings.decisive() | {"nucleus_channel": None, "masks": None}
    del measured["channels"]  # all channels are measured, whichever of them a reader uses
    facts: dict[str, Any] = {
        "store": store_fingerprint(store),
        "nucleus": store.channels[nucleus],
        "settings": measured,
        "masks": sha256_of(settings.masks) if settings.masks else None,
        "cp_measure": _cp_measure_version(),
        "measuring": MEASURING_VERSION,
    }
    return identity_of(facts)[:16]


def _cp_measure_version() -> str | None:
    try:
        return version("cp-measure")
    except PackageNotFoundError:
        return None
