"""Crops that other software has cut become a crop store: no flat field, and no rescaling if they are scaled already.

Floats within [0, 1] and uint8 crops are taken as they are; others are rescaled by the percentiles of their group, as
tiles are. A crop larger than ``crop_size`` is trimmed around its middle. Wells are independent tasks.
Legend: N crops, C channels, S crop size.
"""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.store import PIXEL_TYPES
from grape_ops.cells.writer import shard_names, write_store
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.problems import Problems
from grape_ops.preprocess.quality_table import quality_records, refuse_nothing, write_quality_table
from grape_ops.preprocess.workers import Task, Workers, worker_count
from grape_ops.preprocess.workplace import Plan, claim, tidy
from grape_ops.progress import progress
from grape_ops.schema import (
    BATCH,
    CONTROL_LABEL,
    GENE,
    GUIDE,
    IS_CONTROL,
    PLATE,
    QUALITY_FILE,
    ROW,
    SHARD,
    STORE_FILE,
    UNFINISHED_DIR,
    WELL,
)
from grape_ops.screen.crop_files import CROP
from grape_ops.screen.screen import CropReader, Screen

_AT_ONCE = 256
_LEVELS = 1 << 16


@dataclass(frozen=True)
class WellJob:
    """The crops of one well: who reads them, which cells, and where they go."""

    read: CropReader
    cells: pd.DataFrame
    file: Path
    channels: int
    size: int
    pixel_type: str
    drop: bool

    @property
    def failed(self) -> Path:
        """Is there while some crops of the well could not be read: they are tried again by a later call."""
        return self.file.with_suffix(".failed")


def store_ready_crops(
    screen: Screen, out: Path, settings: PreprocessSettings, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """Write a screen of ready crops as a crop store and return its quality counts.

    Raises
    ------
    GrapeOpsError : crops cannot be read or are too small, or a batch has no controls, and ``on_problem`` is "stop".
    """
    assert screen.read_crops is not None
    cells = pd.concat([screen.cells_of(*place) for place in screen.wells], ignore_index=True)
    names = shard_names(zip(cells[PLATE], cells[WELL], strict=True))
    cells[SHARD] = [names[place] for place in zip(cells[PLATE], cells[WELL], strict=True)]
    cells[BATCH] = _joined(cells, settings.batch_columns, "preprocess.batch_columns")
    plan = Plan(settings.model_dump(mode="json", exclude={"workers"}), _fingerprint(screen, cells))
    if claim(out, plan, resume, overwrite):
        return json.loads((out / QUALITY_FILE).read_text())
    problems = Problems(settings.on_problem)
    if bare := _without_controls(cells):
        known = Problems(settings.on_problem)  # a call that is to stop need not read first
        known.add("batches without control cells", bare)
        known.settle()
    work = out / UNFINISHED_DIR / "crops"
    work.mkdir(parents=True, exist_ok=True)
    jobs = {
        str(shard): WellJob(
            screen.read_crops,
            own,
            work / f"{shard}.npy",
            len(screen.channels),
            settings.crop_size,
            settings.pixel_type,
            settings.on_problem == "drop",
        )
        for shard, own in cells.groupby(SHARD, sort=True)
    }
    lost = _run(jobs, screen, cells, settings)
    problems.add("unreadable crops", list(lost.values()))
    bare = _without_controls(cells.drop(index=list(lost)))  # those that lost all of theirs included
    problems.add("batches without control cells", bare)
    reason = pd.Series("", index=cells.index)
    reason[cells[BATCH].isin(bare)] = "batch without controls"
    reason[list(lost)] = "crop missing or unreadable"
    kept = cells[reason == ""].copy()
    dropped = _counts(reason[reason != ""])
    problems.settle()
    refuse_nothing(len(kept), len(cells), dropped)
    problems.refuse_ruin(len(cells) - len(kept), len(cells), settings.most_lost)
    rows = kept.groupby(SHARD).cumcount()
    whole = {shard: np.load(job.file, mmap_mode="r") for shard, job in jobs.items() if (kept[SHARD] == shard).any()}
    place = cells.groupby(SHARD).cumcount()[kept.index]  # row of a kept crop among all of its well
    crops = {
        shard: array if (own := kept[SHARD] == shard).sum() == len(array) else array[place[own].to_numpy()]
        for shard, array in whole.items()
    }
    quality = _quality(screen, cells, kept, dropped, problems)
    write_quality_table(out, quality["table"])
    finished = out / UNFINISHED_DIR / "store"
    shutil.rmtree(finished, ignore_errors=True)
    write_store(
        finished,
        crops,
        kept.assign(**{ROW: rows.astype(np.int64)}).drop(columns=CROP),
        screen.channels,
        scaling={"meaning": "crops were cut elsewhere", "rescaled": screen.crop_scaling},
        provenance={"screen": screen.root.name, "screen_fingerprint": plan.screen, "settings": plan.settings},
        quality=quality,
    )
    for path in sorted(
        finished.iterdir(), key=lambda path: path.name == STORE_FILE
    ):  # what makes it a store comes last
        os.replace(path, out / path.name)
    tidy(out)
    return quality


def _without_controls(cells: pd.DataFrame) -> list[str]:
    """Name the batches that have cells and no controls."""
    return sorted(set(cells[BATCH]) - set(cells.loc[cells[IS_CONTROL], BATCH]))


def _joined(cells: pd.DataFrame, columns: tuple[str, ...], setting: str) -> pd.Series:
    """Name each cell's group by the values of some columns."""
    missing = [name for name in columns if name not in cells]
    if missing:
        raise GrapeOpsError(f"{setting} names {', '.join(missing)}; the table has: {', '.join(map(str, cells))}.")
    parts = [cells[name].astype(str) for name in columns]
    if not parts:
        return pd.Series("all", index=cells.index)
    return pd.Series(["|".join(values) for values in zip(*parts, strict=True)], index=cells.index)


def _fingerprint(screen: Screen, cells: pd.DataFrame) -> str:
    digest = hashlib.sha256("|".join([*screen.channels, screen.crop_scaling]).encode())
    decisive = cells[[GENE, GUIDE, PLATE, WELL, IS_CONTROL, BATCH, CROP]]
    digest.update(pd.util.hash_pandas_object(decisive, index=False).to_numpy(np.uint64).tobytes())
    return digest.hexdigest()


def _run(jobs: dict[str, WellJob], screen: Screen, cells: pd.DataFrame, settings: PreprocessSettings) -> dict[int, str]:
    """Write the crops of all wells that are not written yet; returns what could not be read, by place in the table."""
    first = read_or_none(next(iter(jobs.values())))
    scales: dict[str, np.ndarray] = {}
    groups = _joined(cells, settings.intensity.columns, "preprocess.intensity.columns")
    with Workers(worker_count(settings.workers)) as workers:
        if first is not None and _wants_rescaling(first, screen.crop_scaling):
            scales = _percentiles(jobs, groups, settings, workers)
        queue: deque[Task] = deque()
        for job in jobs.values():
            low_high = None if not scales else np.stack([scales[group] for group in groups[job.cells.index]])
            if not job.file.is_file() or job.failed.is_file():
                queue.append((write_well, (job, low_high)))
        lost: dict[int, str] = {}
        with progress(
            "Reading crops", len(cells), "crop", len(cells) - sum(len(t[1][0].cells) for t in queue)
        ) as advance:
            for count, failures in workers.run(queue):
                advance(count)
                lost |= failures
    return lost


def read_or_none(job: WellJob) -> np.ndarray | None:
    """Read the first crop of a well that can be read."""
    for place in range(len(job.cells)):
        try:
            return job.read(job.cells.iloc[[place]])
        except GrapeOpsError:
            continue
    return None


def _wants_rescaling(crop: np.ndarray, rule: str) -> bool:
    if rule != "auto":
        return rule == "percentiles"
    if crop.dtype.kind == "f":
        if crop.min() < 0 or crop.max() > 1:
            raise GrapeOpsError(
                f"The crops are floats from {crop.min():g} to {crop.max():g}. Floats are taken as they are if they lie "
                "within 0 and 1; rescale them, or store the raw counts as integers."
            )
        return False
    return crop.dtype != np.uint8


def write_well(job: WellJob, scale: np.ndarray | None) -> tuple[int, dict[int, str]]:
    """Read a well's crops, rescale and trim them, and write them to its file: -> how many, and what failed."""
    part = job.file.with_suffix(".partial.npy")
    shape = (len(job.cells), job.channels, job.size, job.size)
    crops = np.lib.format.open_memmap(part, "w+", job.pixel_type, shape)
    failures: dict[int, str] = {}
    for rows, found in _stretches(job, failures):
        crops[rows] = _scaled(found, None if scale is None else scale[rows], job.pixel_type)
    crops.flush()
    del crops
    if failures:
        job.failed.touch()
    os.replace(part, job.file)
    if not failures:
        job.failed.unlink(missing_ok=True)
    return len(job.cells), failures


def _stretches(job: WellJob, failures: dict[int, str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a few hundred crops at a time, one by one where that fails: -> places within the well, trimmed crops."""
    for start in range(0, len(job.cells), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(job.cells)))
        try:
            yield rows, _trimmed(job.read(job.cells.iloc[rows]), job.size)
        except GrapeOpsError:
            for row in rows.tolist():
                try:
                    crop = _trimmed(job.read(job.cells.iloc[[row]]), job.size)
                except GrapeOpsError as error:
                    if not job.drop:
                        raise
                    failures[int(job.cells.index[row])] = str(error)
                    continue
                yield rows[row - start : row - start + 1], crop


def _trimmed(crops: np.ndarray, size: int) -> np.ndarray:
    height, width = crops.shape[-2:]
    if min(height, width) < size:
        raise GrapeOpsError(
            f"The crops are {height} x {width} px, smaller than preprocess.crop_size ({size}); set it to at most "
            f"{min(height, width) // 8 * 8}."
        )
    top, left = (height - size) // 2, (width - size) // 2
    return crops[..., top : top + size, left : left + size]


def _scaled(crops: np.ndarray, scale: np.ndarray | None, pixel_type: str) -> np.ndarray:
    """Bring crops to the store's type: (N, C, S, S), and (N, C, 2) values that become black and white."""
    top = PIXEL_TYPES[pixel_type]
    if scale is not None:
        low, high = scale[..., 0, None, None], scale[..., 1, None, None]
        crops = np.where(high > low, (crops - low) / np.maximum(high - low, 1e-9), 0)
    else:
        # Not in the float16 of some files: it ends before the store's largest pixel does.
        top_read = 1 if crops.dtype.kind == "f" else np.iinfo(crops.dtype).max
        crops = crops.astype(np.float64) / top_read
    return np.rint(np.clip(crops, 0, 1) * top).astype(pixel_type)


def _percentiles(
    jobs: dict[str, WellJob], groups: pd.Series, settings: PreprocessSettings, workers: Workers
) -> dict[str, np.ndarray]:
    """Find the values that become black and white in each group: (C, 2)."""
    counts: dict[str, np.ndarray] = {}
    queue: deque[Task] = deque((count_well, (job, groups[job.cells.index])) for job in jobs.values())
    with progress("Measuring intensities", len(groups), "crop") as advance:
        for n_cells, found in workers.run(queue):
            advance(n_cells)
            for group, count in found.items():
                counts[group] = counts.get(group, 0) + count
    shares = np.array([settings.intensity.lower, settings.intensity.upper]) / 100
    scales = {}
    for group, count in counts.items():
        below = np.cumsum(count, axis=1)
        places = [np.searchsorted(row, shares * (row[-1] - 1), side="right") for row in below]
        scales[group] = np.array(places, dtype=np.float64)
    return scales


def count_well(job: WellJob, groups: pd.Series) -> tuple[int, dict[str, np.ndarray]]:
    """Count the grey levels of a well's crops by group: (C, 65536) each."""
    counts: dict[str, np.ndarray] = {}
    names = groups.to_numpy()
    for rows, crops in _stretches(job, {}):
        if crops.dtype.kind != "u" or crops.dtype.itemsize > 2:
            raise GrapeOpsError(f"The crops hold {crops.dtype} pixels; raw crops are uint8 or uint16.")
        for group in np.unique(names[rows]):
            own = crops[names[rows] == group]
            found = [np.bincount(own[:, channel].ravel(), minlength=_LEVELS) for channel in range(own.shape[1])]
            counts[group] = counts.get(group, 0) + np.stack(found)
    return len(job.cells), counts


def _quality(
    screen: Screen, cells: pd.DataFrame, kept: pd.DataFrame, dropped: dict[str, int], problems: Problems
) -> dict[str, Any]:
    genes = kept[GENE].where(~kept[IS_CONTROL], CONTROL_LABEL)
    return {
        "cells_in_table": len(cells),
        "cells_kept": len(kept),
        "cells_dropped": dropped,
        "cells_per_gene": _counts(genes),
        "cells_per_batch": _counts(kept[BATCH]),
        "controls_per_batch": _counts(kept.loc[kept[IS_CONTROL], BATCH]),
        "problems": problems.listed(),
        "flat_field": {"groups": 0, "applied": {}, "not_applied": []},
        "table": quality_records(screen, dropped, problems),
    }


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().sort_index().items()}
