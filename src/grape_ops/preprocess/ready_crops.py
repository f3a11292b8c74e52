"""Crops that other software has cut become a crop store: no flat field, and no rescaling if they are scaled already.

Floats within [0, 1] and uint8 crops are taken as they are; others are rescaled by the percentiles of their group, as
tiles are. A crop larger than ``crop_size`` times ``shrink`` is trimmed around its middle. Wells are independent tasks,
on this machine or on a cluster, and the cell table is gone through a well at a time. Legend: C channels.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import read_json
from grape_ops.cells.writer import finish_store, shard_names, write_part
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crop_wells import (
    UNREADABLE,
    Failures,
    WellJob,
    finish_well,
    fitting,
    level_percentiles,
    measure_well,
    readable,
    write_well,
)
from grape_ops.preprocess.groups import batch_of_cells
from grape_ops.preprocess.nuclei import nuclei_of_store, warn_cut_nuclei
from grape_ops.preprocess.quality_table import (
    Problems,
    check_not_empty,
    dead_channels,
    named,
    quality_records,
    write_quality_table,
)
from grape_ops.preprocess.selection import NON_FINITE, Choice
from grape_ops.preprocess.store_folder import Plan, claim, pixel_size_of_crops, provenance, tidy
from grape_ops.progress import progress
from grape_ops.schema import (
    BATCH,
    GENE,
    GUIDE,
    IS_CONTROL,
    PLATE,
    QUALITY_FILE,
    ROW,
    SHARD,
    UNFINISHED_DIR,
    WELL,
)
from grape_ops.screen.crop_files import CROP
from grape_ops.screen.pixel_types import kind_of
from grape_ops.screen.screen import Screen
from grape_ops.workers import Task, TaskRunner, task_runner

_TRIED = 256  # readable crops, of which one must fit for the run to begin


def store_ready_crops(
    screen: Screen,
    out: Path,
    settings: PreprocessSettings,
    resume: bool,
    overwrite: bool,
    scheduler: str | None = None,
    nucleus: str | None = None,
) -> dict[str, Any]:
    """Write a screen of ready crops as a crop store and return its quality counts; see ``preprocess``.

    Raises
    ------
    GrapeOpsError : crops cannot be read or are too small, or a batch has no controls, and ``on_problem`` is "stop".
    """
    wells = _Wells(screen, out, settings)
    fingerprint, n_cells, bare = wells.look_over()
    plan = Plan.of(fingerprint, settings)
    if claim(out, plan, pixel_size_of_crops(screen, settings.shrink), resume, overwrite):
        return read_json(out / QUALITY_FILE, "what was kept and dropped")
    if bare:
        known = Problems(settings.on_problem)  # a call that is to stop need not read first
        known.add("batches without control cells", bare)
        known.settle()
    with task_runner(scheduler, settings.workers) as workers:
        scales = wells.measure(workers, n_cells)
        wells.read(workers, n_cells, scales)
        problems = Problems(settings.on_problem)
        choice = wells.choose(problems)
        problems.settle()
        check_not_empty(choice.kept, n_cells, choice.dropped, problems, screen)
        problems.check_keeps_inputs(n_cells - choice.kept, n_cells, settings.most_lost)
        records = wells.finish(workers, choice)
    quality = choice.quality() | {"problems": problems.listed()}
    quality |= {"flat_field": {"groups": 0, "applied": {}, "not_applied": []}}
    dead = dead_channels(records, screen.channels, settings.pixel_type)
    nuclei = nuclei_of_store(out, records, wells.parts, screen.channels, nucleus)
    cut = warn_cut_nuclei(nuclei, settings)
    quality |= {"table": quality_records(screen, choice.dropped, problems, dead, cut)} | (
        {"dead_channels": dead} if dead else {}
    )
    write_quality_table(out, quality["table"])
    finish_store(
        out,
        wells.parts,
        screen.channels,
        records,
        settings.pixel_type,
        settings.crop_size,
        {"meaning": "crops were cut elsewhere", "rescaled": screen.crop_scaling},
        provenance(screen, plan, settings.shrink),
        quality,
    )
    tidy(out)
    return quality


@dataclass
class _Wells:
    """The steps from crops to shards, each of which goes through the wells.

    Attributes
    ----------
    lost : of each shard, what is left out, by row.
    parts : the cell table of each shard.
    like : pixel type of the crops, and one of that type.
    """

    screen: Screen
    out: Path
    settings: PreprocessSettings
    lost: dict[str, Failures] = field(default_factory=dict)
    parts: list[Path] = field(default_factory=list)
    like: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        self._names = shard_names(self.screen.cells.wells)
        self._work = self.out / UNFINISHED_DIR / "crops"

    def _each(self) -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
        """Go through the wells: shard, cells, and the batch of each."""
        for place, cells in self.screen.cells:
            batch = self._grouped(cells, self.settings.batch_columns, "preprocess.batch_columns")
            yield self._names[place], cells, batch

    def _grouped(self, cells: pd.DataFrame, columns: tuple[str, ...], setting: str) -> np.ndarray:
        return batch_of_cells(self.screen.tiles, cells, np.full(len(cells), -1), columns, setting)

    def _jobs(self) -> Iterator[WellJob]:
        assert self.screen.read_crops is not None
        for shard, cells, _ in self._each():
            yield WellJob(
                shard,
                self.screen.read_crops,
                cells,
                self._grouped(cells, self.settings.intensity.columns, "preprocess.intensity.columns"),
                self._work / f"{shard}.npy",
                len(self.screen.channels),
                self.settings.crop_size,
                self.settings.shrink,
                self.settings.pixel_type,
                self.settings.on_problem == "drop",
                self.like,
            )

    def look_over(self) -> tuple[str, int, list[str]]:
        """Fingerprint of the table, number of cells, and batches without controls."""
        digest = hashlib.sha256("|".join([*self.screen.channels, self.screen.crop_scaling]).encode())
        n_cells, seen, controlled = 0, set[str](), set[str]()
        for _, cells, batch in self._each():
            decisive = cells[[GENE, GUIDE, PLATE, WELL, IS_CONTROL, CROP]].copy()
            decisive.insert(5, BATCH, batch)
            digest.update(pd.util.hash_pandas_object(decisive, index=False).to_numpy(np.uint64).tobytes())
            n_cells += len(cells)
            seen |= set(batch)
            controlled |= set(batch[cells[IS_CONTROL].to_numpy(bool)])
        return digest.hexdigest(), n_cells, sorted(seen - controlled)

    def _rescaled(self) -> bool:
        """Tell from the first crop that fits whether crops are rescaled.

        Raises
        ------
        GrapeOpsError : none of a few hundred fits; that is no matter of single crops, and reported before all are read.
        """
        misfits: list[GrapeOpsError] = []
        for name, crop in islice(chain.from_iterable(map(readable, self._jobs())), _TRIED):
            rescaled = wants_rescaling(crop, self.screen.crop_scaling)
            try:
                fitting(crop, self.settings.crop_size, self.settings.shrink, rescaled)
            except GrapeOpsError as misfit:
                misfits.append(misfit)
                if self.settings.on_problem == "stop":
                    break
            else:
                self.like = (kind_of(crop.dtype), name)
                return rescaled
        if misfits:
            raise misfits[0]
        return self.screen.crop_scaling != "full"  # none can be read, which is reported once all were tried

    def measure(self, workers: TaskRunner, n_cells: int) -> dict[str, np.ndarray] | None:
        """Find the values that become black and white in each group: (C, 2); None if crops are scaled already."""
        self._work.mkdir(parents=True, exist_ok=True)
        if not self._rescaled():
            return None
        shares = (self.settings.intensity.lower, self.settings.intensity.upper)
        # A group that is a part of a well is complete with it; else wells are added up.
        whole = {PLATE, WELL} <= set(self.settings.intensity.columns)
        files = []
        with progress("Measuring intensities", n_cells, "crop") as advance:

            def tasks() -> Iterator[Task]:
                for job in self._jobs():
                    files.append(job.levels)
                    if job.measured():
                        advance(len(job.cells), fresh=False)
                    else:
                        yield measure_well, (job, shares if whole else None)

            for count in workers.run(deque(), tasks()):
                advance(count)
        found: dict[str, np.ndarray] = {}
        for file in files:
            with np.load(file) as well:
                for group, levels in zip(well["names"].tolist(), well["levels"], strict=True):
                    found[group] = found.get(group, 0) + levels
        return found if whole else {group: level_percentiles(counts, shares) for group, counts in found.items()}

    def read(self, workers: TaskRunner, n_cells: int, scales: dict[str, np.ndarray] | None) -> None:
        """Write the crops of all wells that are not written yet, and note what could not be read."""
        with progress("Reading crops", n_cells, "crop") as advance:

            def tasks() -> Iterator[Task]:
                for job in self._jobs():
                    job.take_back(self.out)
                    groups = set(job.group.tolist())
                    own = None if scales is None else {group: scales[group] for group in groups & scales.keys()}
                    if job.written(own):
                        advance(len(job.cells), fresh=False)
                    else:
                        yield write_well, (job, own)

            for shard, count, failures in workers.run(deque(), tasks()):
                advance(count)
                self.lost |= {shard: failures} if failures else {}

    def _kept(self, shard: str, cells: pd.DataFrame) -> np.ndarray:
        kept = np.ones(len(cells), bool)
        kept[list(self.lost.get(shard, ()))] = False
        return kept

    def choose(self, problems: Problems) -> Choice:
        """Count what stays: crops that were read, of batches that still have controls."""
        choice = Choice()
        for shard, cells, batch in self._each():
            choice.dropped.update(reason for reason, _ in self.lost.get(shard, {}).values())
            choice.count(cells, batch, self._kept(shard, cells))
        left_out = [failure for _, found in sorted(self.lost.items()) for failure in found.values()]
        for reason, what in ((UNREADABLE, "unreadable crops"), (NON_FINITE, named(NON_FINITE, 0)[0])):
            problems.add(what, [which for why, which in left_out if why == reason])
        choice.leave_out_bare(problems)
        return choice

    def finish(self, workers: TaskRunner, choice: Choice) -> dict[str, dict[str, Any]]:
        """Make shards of the crops that stay; returns the record of each."""

        def tasks() -> Iterator[Task]:
            for shard, cells, batch in self._each():
                kept = self._kept(shard, cells) & ~np.isin(batch, list(choice.bare))
                if not kept.any():
                    continue
                own = cells[kept].drop(columns=CROP).reset_index(drop=True)
                own[SHARD], own[BATCH], own[ROW] = shard, batch[kept], np.arange(len(own), dtype=np.int64)
                self.parts.append(write_part(self.out / UNFINISHED_DIR, shard, own))
                file = self._work / f"{shard}.npy"
                rows = None if kept.all() else np.flatnonzero(kept)
                yield finish_well, (file, self.out, shard, rows, own[[BATCH, IS_CONTROL]])

        return {record["shard"]: record for record in workers.run(deque(), tasks())}


def wants_rescaling(crop: np.ndarray, rule: str) -> bool:
    """Whether crops are rescaled by percentiles, by ``screen.crop_scaling`` and, with auto, their pixel type."""
    if rule != "auto":
        return rule == "percentiles"
    return crop.dtype.kind != "f" and crop.dtype != np.uint8
