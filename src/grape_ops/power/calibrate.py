"""``grape-ops calibrate``: plant, run the methods, and read off the detection limit of a screen.

out/
  calibration.json       what it was begun with: a call with other settings is refused
  recovery.tsv           one row a method, curve and point
  detection_limit.tsv    one row a method and curve
  recovery.png, .pdf     the curves
  screens/POINT/seedN/   truth.tsv, traits.tsv and maps/ of each planted screen
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from anndata import read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_json
from grape_ops.config import CalibrateSettings, Config
from grape_ops.groundtruth import load_truth
from grape_ops.plotting.calibration_figures import recovery_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.power.curves import VARIED, Point, crossing, curve_points
from grape_ops.power.design import draw_design
from grape_ops.power.methods import GRAPE, check_known, write_vectors
from grape_ops.power.planted_store import TRAITS_FILE, Source, read_source, write_planted_store
from grape_ops.power.recovery import METRICS, recovery
from grape_ops.power.settled import check_same_settings
from grape_ops.schema import TRUTH_FILE
from grape_ops.train.preflight import announce_trainings

RECORD_FILE = "calibration.json"
DONE_FILE = "maps.json"  # method -> its maps; a planted screen's list of what is finished

# Points may be added to a calibration, and where detection begins may be moved; the rest stays as it was begun.
_MAY_CHANGE = {
    "effect_sizes",
    "cells_tried",
    "penetrances",
    "screens",
    "detected",
    "keep_stores",
    "restyled_cells",
    *VARIED,
}


def calibrate_store(store_path: Path, out: Path, methods: Sequence[str], config: Config) -> str:
    """Find how small an effect each method recovers from a screen's own cells.

    Parameters
    ----------
    store_path : crop store of the screen; only its control cells are used.
    out : folder for the results; a folder that holds a calibration of the same settings is gone on with.
    methods : names of baselines, and ``grape``.
    config : ``calibrate`` says what is planted; the rest is each method's own.

    Returns
    -------
    The detection limits as a table to print.

    Raises
    ------
    GrapeOpsError : an unknown method, too few control cells, or other settings than the folder was begun with.
    """
    check_known(methods)
    store = CropStore.open(store_path)
    curves = curve_points(config.calibrate)
    check_same_settings(out / RECORD_FILE, store, config, planted_settings(config.calibrate))
    points = sorted({point for curve in curves.values() for point in curve})
    screens = [(point, config.seed + number) for point in points for number in range(config.calibrate.screens)]
    planter = _Planter(store, config, points)
    folders = [out / "screens" / point.name / f"seed{seed}" for point, seed in screens]
    to_train = sum(GRAPE not in _done(folder) for folder in folders) if GRAPE in methods else 0
    announce_trainings([config] * to_train, store)
    scores: dict[tuple[str, Point], list[dict[str, Any]]] = {}
    for number, ((point, seed), folder) in enumerate(zip(screens, folders, strict=True), 1):
        typer.echo(f"Planted screen {number} of {len(screens)}: {point.name}, seed {seed}", err=True)
        for name, file in _maps(folder, methods, planter, point, seed).items():
            truth = load_truth(str(folder / TRUTH_FILE))
            result = recovery(read_h5ad(file), truth, config.evaluate, seed)
            scores.setdefault((name, point), []).append(result)
    table = _recovery_table(curves, scores)
    limits = _limit_table(table, config.calibrate.detected)
    table.to_csv(out / "recovery.tsv", sep="\t", index=False)
    limits.to_csv(out / "detection_limit.tsv", sep="\t", index=False)
    save_figure(recovery_figure(table, config.calibrate.detected, VARIED), out / "recovery")
    return _in_words(limits, config.calibrate.detected)


class _Planter:
    """Plants screens; finds the nuclei of the control cells once, when the first screen is wanted."""

    def __init__(self, store: CropStore, config: Config, points: Sequence[Point]):
        self.store, self.config = store, config
        self._largest = max(points, key=lambda point: point.cells_per_gene)
        self._source: Source | None = None

    def plant(self, point: Point, seed: int, out: Path) -> None:
        """Write the planted store of a point and a seed."""
        settings = self.config.calibrate
        if self._source is None:
            self._source = read_source(self.store, self.config.features.nucleus_channel)
            # Too few cells for the last point must not come to light after hours on the first.
            largest = self._largest.settings(settings)
            draw_design(self._source.batch_codes, len(self._source.traits), largest, seed)
        write_planted_store(self._source, point.settings(settings), seed, out)


def planted_settings(settings: CalibrateSettings) -> dict[str, Any]:
    """The settings that must stay as they are when points are added."""
    tree = settings.model_dump(mode="json")
    return {f"calibrate.{key}": value for key, value in tree.items() if key not in _MAY_CHANGE}


def _maps(folder: Path, methods: Sequence[str], planter: _Planter, point: Point, seed: int) -> dict[str, Path]:
    """Maps of all methods on one planted screen, those that are not there yet made: name -> file."""
    done, store = _done(folder), folder / "store"
    for method in methods:
        if method in done:
            continue
        if not store.exists():
            planter.plant(point, seed, store)
            for name in (TRUTH_FILE, TRAITS_FILE):
                shutil.copy(store / name, folder / name)
        config = planter.config.model_copy(update={"seed": seed})
        made = write_vectors(method, store, folder / "maps", config)
        done[method] = {name: str(file.relative_to(folder)) for name, file in made.items()}
        write_json(folder / DONE_FILE, done)
    if store.exists() and not planter.config.calibrate.keep_stores:
        shutil.rmtree(store)
    return {name: folder / file for method in methods for name, file in done[method].items()}


def _done(folder: Path) -> dict[str, dict[str, str]]:
    """Read which methods a planted screen has maps of: method -> name -> file."""
    file = folder / DONE_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def _recovery_table(
    curves: dict[str, list[Point]], scores: dict[tuple[str, Point], list[dict[str, Any]]]
) -> pd.DataFrame:
    """One row a curve, method and point."""
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
    """The limits as a table: one row a method, one column a curve."""
    signs = {"at": "", "below": "< ", "above": "> "}
    shown = limits.assign(text=limits["sense"].map(signs) + limits["limit"].map("{:.3g}".format))
    wide = shown.pivot(index="method", columns="varied", values="text")[list(VARIED)].reindex(limits["method"].unique())
    wide.columns = wide.columns.str.replace("_", " ")
    title = f"Least effect (natural standard deviations), cells and penetrance for a recovery of {detected:g}:"
    return f"{title}\n{wide.rename_axis(index=None, columns=None).to_string()}"
