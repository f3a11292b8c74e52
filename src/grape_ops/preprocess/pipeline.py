"""From tiles to a crop store in two passes (section 3.2), resumable at every (plate, well).

The first pass (``measurement``) takes flat fields and percentiles, the second (``shards``) cuts the crops;
both read one tile at a time in each of several processes. What is finished is kept when the rest fails.
"""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from grape_ops.artifacts.damage import read_json
from grape_ops.artifacts.locks import locked
from grape_ops.cells.writer import finish_store
from grape_ops.config import Config, PreprocessSettings
from grape_ops.errors import LEFT_OUT
from grape_ops.preprocess.first_pass import Measurement, measure
from grape_ops.preprocess.flat_field import FIELDS_FILE
from grape_ops.preprocess.nuclei import nuclei_of_store, warn_cut_nuclei
from grape_ops.preprocess.quality_table import (
    Problems,
    check_not_empty,
    dead_channels,
    quality_records,
    write_quality_table,
)
from grape_ops.preprocess.ready_crops import store_ready_crops
from grape_ops.preprocess.selection import Selector
from grape_ops.preprocess.shards import Cutter
from grape_ops.preprocess.store_folder import Plan, claim, pixel_size_of_crops, provenance, tidy
from grape_ops.preprocess.tables import Tables, look_over
from grape_ops.schema import QUALITY_FILE, UNFINISHED_DIR
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Screen
from grape_ops.words import counted
from grape_ops.workers import TaskRunner, task_runner

LEAST_CROP, CROP_UNIT = 32, 8  # what the networks take


@dataclass(frozen=True)
class PreprocessReport:
    """Counts of a finished store; ``quality`` is all of its quality.json."""

    cells_in_table: int
    cells_kept: int
    cells_dropped: dict[str, int]
    genes: int
    batches: int
    quality: dict[str, Any]

    def __str__(self) -> str:
        """Say in a few lines what was kept, what was dropped and why, and where light was corrected."""
        controls = sum(self.quality["controls_per_batch"].values())
        lines = [
            f"Kept {self.cells_kept:,} of {counted(self.cells_in_table, 'cells')}: {counted(self.genes, 'genes')} and "
            f"{counted(controls, 'control cells')} in {counted(self.batches, 'batches')}."
        ]
        lines += [f"Dropped {counted(count, 'cells')}: {why}." for why, count in self.cells_dropped.items()]
        lines += [f"Left out: {counted(problem['count'], problem['what'])}." for problem in self.quality["problems"]]
        for entry in self.quality.get("table", []):
            if entry["setting"].startswith("screen.") or (not entry["setting"] and entry["fate"] == "dropped"):
                where = "images" if entry["setting"] == "screen.float_max" else "table"
                lines.append(f"In the {where}: {counted(entry['count'], entry['what'])} ({entry['fate']}).")
        fields = self.quality["flat_field"]
        if fields["groups"]:
            applied = ", ".join(f"{name} in {count}" for name, count in fields["applied"].items())
            lines.append(f"Flat field applied, of {counted(fields['groups'], 'groups of tiles')}: {applied}.")
        else:
            lines.append("No flat field applied.")
        return "\n".join(lines)

    @property
    def exit_code(self) -> int:
        """0, or 3 if problems made it leave something out."""
        return LEFT_OUT if self.quality["problems"] else 0

    @classmethod
    def of(cls, quality: dict[str, Any]) -> "PreprocessReport":
        """Take the counts out of the content of quality.json."""
        genes = len(quality["cells_per_gene"]) - 1  # one of them stands for the controls
        return cls(
            quality["cells_in_table"],
            quality["cells_kept"],
            quality["cells_dropped"],
            genes,
            len(quality["cells_per_batch"]),
            quality,
        )


def preprocess(
    screen: Screen,
    out: str | Path,
    settings: PreprocessSettings,
    resume: bool = False,
    overwrite: bool = False,
    scheduler: str | None = None,
    nucleus: str | None = None,
) -> PreprocessReport:
    """Cut a screen into a crop store.

    Parameters
    ----------
    screen : what a layout read.
    out : folder of the store. If it holds a finished store of the same screen and settings, nothing is done.
    settings : see ``PreprocessSettings``.
    resume : go on with a half-written store.
    overwrite : replace a store that is there, finished or not.
    scheduler : address of a Dask scheduler whose workers do the work, in place of processes of this machine.
    nucleus : as the setting ``features.nucleus_channel``; to see whether crops cut nuclei.

    Raises
    ------
    GrapeOpsError : the screen has problems and ``on_problem`` is "stop", or ``out`` holds something else.
    """
    if settings.crop_size < LEAST_CROP or settings.crop_size % CROP_UNIT:
        warnings.warn(
            f"Crops of {settings.crop_size} px cannot be trained on: the networks take multiples of {CROP_UNIT} from "
            f"{LEAST_CROP} px up (preprocess.crop_size).",
            stacklevel=2,
        )
    with locked(Path(out), "a crop store"):
        cut = _cut_tiles if screen.read_crops is None else store_ready_crops
        return PreprocessReport.of(cut(screen, Path(out), settings, resume, overwrite, scheduler, nucleus))


def _cut_tiles(
    screen: Screen,
    folder: Path,
    settings: PreprocessSettings,
    resume: bool,
    overwrite: bool,
    scheduler: str | None,
    nucleus: str | None,
) -> dict[str, Any]:
    """Cut tiles into a store, unless it is finished already; returns the quality counts."""
    if screen.corrected and not settings.flat_field.again:
        none = settings.flat_field.model_copy(update={"enabled": False})
        settings = settings.model_copy(update={"flat_field": none})
    tables = look_over(screen, settings)
    plan = Plan.of(tables.fingerprint, settings)
    if claim(folder, plan, pixel_size_of_crops(screen, settings.shrink), resume, overwrite):
        return read_json(folder / QUALITY_FILE, "what was kept and dropped")
    with task_runner(scheduler, settings.workers) as workers:
        quality = _make(screen, tables, folder, plan, settings, workers, nucleus)
    tidy(folder)
    return quality


def _make(
    screen: Screen,
    tables: Tables,
    folder: Path,
    plan: Plan,
    settings: PreprocessSettings,
    workers: TaskRunner,
    nucleus: str | None,
) -> dict[str, Any]:
    """Run both passes and write the store; returns the quality counts."""
    problems = Problems(settings.on_problem)
    tables.report(screen, problems)
    if not any((folder / UNFINISHED_DIR).glob("*.npz")):
        tables.look_at_heads(screen, problems, settings)
    problems.settle()

    measurement = measure(screen, tables.groups, folder / UNFINISHED_DIR, settings, workers)
    failed = [why for tile, why in sorted(measurement.unreadable.items()) if tile not in tables.missing_tiles]
    problems.add("unreadable tiles", failed)
    selector = Selector(screen, settings, tables.places, measurement.shapes, measurement.non_finite)
    choice = selector.choose(problems)
    problems.settle()
    check_not_empty(choice.kept, tables.n_cells, choice.dropped, problems, screen)
    lost = choice.dropped.total() - choice.dropped["too close to the tile's edge"]
    problems.check_keeps_inputs(lost, tables.n_cells, settings.most_lost)

    cutter = Cutter(selector, folder, tables.groups, measurement)
    cutter.run(choice, workers)
    quality = choice.quality()
    quality |= {"tiles_in_screen": len(screen.tiles), "tiles_missing": len(tables.missing_tiles)}
    quality |= {"tiles_unreadable": len(failed), "problems": problems.listed()}
    dead = dead_channels(cutter.records, screen.channels, settings.pixel_type)
    nuclei = nuclei_of_store(folder, cutter.records, cutter.parts, screen.channels, nucleus)
    cut = warn_cut_nuclei(nuclei, settings)
    quality |= {"table": quality_records(screen, choice.dropped, problems, dead, cut)} | (
        {"dead_channels": dead} if dead else {}
    )
    write_quality_table(folder, quality["table"])
    quality |= {"flat_field": _agreement(screen, measurement, settings)}
    finish_store(
        folder,
        cutter.parts,
        screen.channels,
        cutter.records,
        settings.pixel_type,
        settings.crop_size,
        _scaling(measurement, settings),
        provenance(screen, plan, settings.shrink),
        quality,
        beside=(FIELDS_FILE,),
    )
    return quality


def _agreement(screen: Screen, measurement: Measurement, settings: PreprocessSettings) -> dict[str, Any]:
    """Tell in how many groups each channel's field was taken, and where it was not reliable."""
    if not settings.flat_field.enabled:
        return {"groups": 0, "applied": {}, "not_applied": []}
    threshold = settings.flat_field.min_agreement
    agreement = {group: field.agreement >= threshold for group, field in measurement.fields.items()}
    applied = {name: int(sum(ok[c] for ok in agreement.values())) for c, name in enumerate(screen.channels)}
    left = [
        f"{group} {name}"
        for group, ok in sorted(agreement.items())
        for c, name in enumerate(screen.channels)
        if not ok[c]
    ]
    return {"groups": len(agreement), "applied": applied, "not_applied": left}


def _scaling(measurement: Measurement, settings: PreprocessSettings) -> dict[str, Any]:
    scales = {
        group: {"low": scale[:, 0].tolist(), "high": scale[:, 1].tolist()}
        for group, scale in sorted(measurement.scales.items())
    }
    fields = {
        group: {"agreement": field.agreement.tolist(), "largest": field.grid.max(axis=(1, 2)).tolist()}
        for group, field in sorted(measurement.fields.items())
    }
    return {
        "meaning": "pixel / pixel_max = (raw / flat field - low) / (high - low), clipped to [0, 1]",
        "percentiles": [settings.intensity.lower, settings.intensity.upper],
        "groups": scales,
        "flat_fields": fields,
    }


def preprocess_folder(
    root: Path | Sequence[Path],
    out: Path,
    config: Config,
    resume: bool = False,
    overwrite: bool = False,
    scheduler: str | None = None,
) -> PreprocessReport:
    """Read a screen, or several, and cut them into a store; one well of the cell table is in memory at a time.

    See ``preprocess``, and ``several_screens`` for what several screens become.
    """
    from grape_ops.preprocess.several_screens import Joined, store_of_screens

    roots = [root] if isinstance(root, Path) else list(root)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps for itself what was freed, stretch after stretch
    with tempfile.TemporaryDirectory(prefix="grape-ops-") as folder:
        # Workers elsewhere have other working folders.
        if scheduler:
            roots, out = [root.resolve() for root in roots], out.resolve()
        if len(roots) > 1:
            joined = Joined.open(roots, config.screen, Path(folder))
            return PreprocessReport.of(store_of_screens(joined, out, config, resume, overwrite, scheduler))
        screen = open_screen(roots[0], config.screen, Path(folder) / "cells")
        nucleus = config.features.nucleus_channel
        return preprocess(screen, out, config.preprocess, resume, overwrite, scheduler, nucleus)
