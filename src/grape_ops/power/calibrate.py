"""``grape-ops calibrate``: plant, run the methods, and read off the detection limit of a screen.

out/
  recovery.tsv           one row per map, curve and point
  detection_limit.tsv    one row per map and curve
  recovery.png, .pdf     the curves
  screens/{point}-seed{seed}-{identity}/
    truth.tsv traits.tsv what is planted
    work/                the methods' jobs (``runner/jobs.py``)

A planted screen's identity is a hash of the cells and settings that plant it, so that a call with others makes screens
of its own and a call with the same goes on.
"""

import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import CalibrateSettings, Config
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth import load_truth
from grape_ops.methods import Method, check_methods, find_methods
from grape_ops.plotting.calibration_figures import recovery_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.power.design import draw_design
from grape_ops.power.planted_store import TRAITS_FILE, Source, read_source, write_planted_store
from grape_ops.power.recovery import METRICS, VARIED, Point, crossing, curve_points, recovery
from grape_ops.power.smaller_plan import cells_taken, within_controls
from grape_ops.runner.jobs import Job
from grape_ops.runner.processes import do_jobs, room
from grape_ops.schema import TRUTH_FILE
from grape_ops.train.preflight import announce_trainings

# What may lie in the folder: results of this command, with and without --restyle.
OURS = (
    "recovery.tsv",
    "detection_limit.tsv",
    "recovery.png",
    "recovery.pdf",
    "screens",
    "restyle.tsv",
    "restyle_kinds.tsv",
    "restyle.json",
    "restyle.png",
    "restyle.pdf",
    "restyle",
)
# What decides a planted screen; the other settings choose which screens there are and how they are evaluated.
PLANTING = (
    "complexes",
    "genes_per_complex",
    "guides_per_gene",
    "cells_per_gene",
    "control_cells",
    "effect_size",
    "penetrance",
    "private_share",
    "traits_per_complex",
    "private_traits",
    "strength_spread",
    "confounding",
)


def calibrate_store(store_path: Path, out: Path, methods: Sequence[str], config: Config, at_a_time: int = 0) -> str:
    """Find how small an effect each method recovers from a screen's own cells.

    Parameters
    ----------
    store_path : crop store of the screen; only its control cells are used. If they are fewer than the settings take,
        smaller screens are planted, and a note says so.
    out : folder for the results; screens and maps of the same settings that it holds are not made again.
    methods : names of methods, or ``module:function`` for one of your own.
    config : ``calibrate`` says what is planted; the rest is each method's own.
    at_a_time : jobs beside each other; 0 takes one per core or GPU.

    Returns
    -------
    The detection limits as a table to print.

    Raises
    ------
    GrapeOpsError : an unknown method, one that does not read pixels, or too few control cells.
    """
    check_folder(out, "a calibration", ours=OURS)
    found = find_methods(methods)
    check_reads_pixels(found.values())
    store = CropStore.open(store_path, where=config.where)
    config = config.model_copy(update={"where": ""})  # planted screens hold the chosen cells alone
    check_methods(found.values(), store, config)
    config, source = _within_controls(store, config)
    curves = curve_points(config.calibrate)
    points = sorted({point for curve in curves.values() for point in curve})
    planter = _Planter(store, config, points, source)
    seeds = range(config.seed, config.seed + config.calibrate.screens)
    screens = [planter.screen(point, seed, out) for point in points for seed in seeds]
    announce_trainings([job.config for screen in screens for job in screen.jobs(found) if job.to_train], store)
    with locked(out, "the calibration"):
        _make_maps(screens, found, planter, at_a_time)
        scores: dict[tuple[str, Point], list[dict[str, Any]]] = {}
        for screen in screens:
            truth = load_truth(str(screen.folder / TRUTH_FILE))
            for job in screen.jobs(found):
                for name, adata in job.maps_asked_for().items():
                    result = recovery(adata, truth, config.evaluate, screen.seed)
                    scores.setdefault((name, screen.point), []).append(result)
        return _write_results(_recovery_table(curves, scores), out, config.calibrate.detected, store.simulated)


def _within_controls(store: CropStore, config: Config) -> tuple[Config, Source | None]:
    """Plant a smaller screen where the store has too few controls; -> with the cells that were looked at for that."""
    if int((store.labels == store.control_label).sum()) >= cells_taken(config.calibrate):
        return config, None
    source = read_source(store, config.features.nucleus_channel)
    fewer = within_controls(config.calibrate, len(source.cells), len(store.batches))
    return config.model_copy(update={"calibrate": fewer}), source


def check_reads_pixels(methods: Iterable[Method]) -> None:
    """Refuse methods that cannot see what is planted into crops.

    Raises
    ------
    GrapeOpsError : a method reads measurements made elsewhere, or prior knowledge.
    """
    for method in methods:
        if method.reads != "crops":
            raise GrapeOpsError(
                f"{method.name} is made of {method.reads}, not of the store's crops, so it cannot see the effects that "
                "are planted into crops. Leave it out of --methods."
            )


@dataclass(frozen=True)
class _Screen:
    """A planted screen: where its cells and the jobs on them lie."""

    point: Point
    seed: int
    config: Config
    identity: str
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def jobs(self, methods: Iterable[str]) -> list[Job]:
        config = self.config.model_copy(update={"seed": self.seed})
        return [Job.of(spec, self.seed, config, self.store, self.identity, self.folder / "work") for spec in methods]

    def finished(self, methods: Iterable[str]) -> bool:
        return (self.folder / TRUTH_FILE).is_file() and all(job.finished for job in self.jobs(methods))


class _Planter:
    """Plants screens; finds the nuclei of the control cells once, when the first screen is wanted."""

    def __init__(self, store: CropStore, config: Config, points: Sequence[Point], source: Source | None):
        self.store, self.config = store, config
        self._largest = max(points, key=lambda point: point.cells_per_gene)
        self._source, self._tried = source, False

    def screen(self, point: Point, seed: int, out: Path) -> _Screen:
        """Describe the planted screen of a point and a seed."""
        identity = planted_identity(self.store, point.settings(self.config.calibrate), self.config, seed)
        folder = out / "screens" / f"{point.name}-seed{seed}-{identity[:10]}"
        return _Screen(point, seed, self.config, identity, folder)

    def plant(self, screen: _Screen) -> None:
        """Write the store of a planted screen, if it is not there, and what is planted beside it."""
        settings = self.config.calibrate
        if self._source is None:
            self._source = read_source(self.store, self.config.features.nucleus_channel)
        if not self._tried:
            # Too few cells for the last point must not come to light after hours on the first.
            largest = self._largest.settings(settings)
            draw_design(self._source.batch_codes, len(self._source.traits), largest, screen.seed)
            self._tried = True
        if not screen.store.exists():
            write_planted_store(self._source, screen.point.settings(settings), screen.seed, screen.store)
        for name in (TRUTH_FILE, TRAITS_FILE):
            with draft_of(screen.folder / name) as draft:
                shutil.copy(screen.store / name, draft)


def planted_identity(store: CropStore, settings: CalibrateSettings, config: Config, seed: int) -> str:
    """Hash of what decides a planted screen: the screen's cells, the settings that plant, and the seed."""
    planting = settings.model_dump(mode="json", include=set(PLANTING))
    return identity_of(__version__, store_fingerprint(store), planting, config.features.nucleus_channel, seed)


def _make_maps(screens: Sequence[_Screen], methods: Collection[str], planter: _Planter, at_a_time: int) -> None:
    """Make the maps of all methods on planted screens, those that are not there yet.

    Stores are large: only as many are there at a time as give jobs enough to run beside each other.
    """
    todo = [screen for screen in screens if not screen.finished(methods)]
    each = -(-(at_a_time or room()) // len(methods))
    for first in range(0, len(todo), each):
        some = todo[first : first + each]
        done = len(screens) - len(todo) + first
        typer.echo(f"Planted screens {done + 1} to {done + len(some)} of {len(screens)}", err=True)
        for screen in some:
            planter.plant(screen)
        do_jobs([job for screen in some for job in screen.jobs(methods)], "Calibration", at_a_time)
        if not planter.config.calibrate.keep_stores:
            for screen in some:
                shutil.rmtree(screen.store)


def _write_results(table: pd.DataFrame, out: Path, detected: float, simulated: bool) -> str:
    """Write tables and figure; -> the limits in words."""
    limits = _limit_table(table, detected)
    for name, content in (("recovery.tsv", table), ("detection_limit.tsv", limits)):
        with draft_of(out / name) as draft:
            spreadsheet_safe(content).to_csv(draft, sep="\t", index=False)
    save_figure(recovery_figure(table, detected, VARIED), out / "recovery", simulated=simulated)
    return _in_words(limits, detected)


def _recovery_table(
    curves: dict[str, list[Point]], scores: dict[tuple[str, Point], list[dict[str, Any]]]
) -> pd.DataFrame:
    """One row per curve, map and point."""
    rows = []
    for varied, points in curves.items():
        for name in dict.fromkeys(method for method, _ in scores):
            for point in points:
                runs = scores[name, point]
                # Recovery puts chance at 0 and perfection at 1, so that it does not hang on the number of complexes.
                recovered = [(run["map"] - run["chance"]) / (1 - run["chance"]) for run in runs]
                row = {"method": name, "varied": varied, **{key: getattr(point, key) for key in VARIED}}
                row |= {"screens": len(runs), "recovered": np.mean(recovered)}
                row["sd"] = np.std(recovered, ddof=1) if len(runs) > 1 else np.nan
                row |= {metric: np.mean([run[metric] for run in runs]) for metric in METRICS}
                rows.append(row | {"chance_map": runs[0]["chance"]})
    return pd.DataFrame(rows).round(4)


def _limit_table(table: pd.DataFrame, detected: float) -> pd.DataFrame:
    rows = []
    for (name, varied), part in table.groupby(["method", "varied"], sort=False):
        part = part.sort_values(str(varied))
        limit, sense = crossing(part[varied].tolist(), part["recovered"].tolist(), detected, VARIED[str(varied)])
        rows.append({"method": name, "varied": varied, "sense": sense, "limit": round(limit, 3), "detected": detected})
    return pd.DataFrame(rows)


def _in_words(limits: pd.DataFrame, detected: float) -> str:
    """The limits as a table: one row per map, one column per curve."""
    signs = {"at": "", "below": "< ", "above": "> "}
    shown = limits.assign(text=limits["sense"].map(signs) + limits["limit"].map("{:.3g}".format))
    wide = shown.pivot(index="method", columns="varied", values="text")[list(VARIED)].reindex(limits["method"].unique())
    wide.columns = wide.columns.str.replace("_", " ")
    title = f"Least effect (natural standard deviations), cells and penetrance for a recovery of {detected:g}:"
    return f"{title}\n{wide.rename_axis(index=None, columns=None).to_string()}"
