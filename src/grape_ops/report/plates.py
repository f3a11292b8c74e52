"""Well and plate maps: cells, share of control cells, and how far knock-out cells are from control, well by well.

Letters: n cells, V image statistics.
"""

import re
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.methods.statistics import crop_statistics
from grape_ops.randomness import ReportStream, generator
from grape_ops.report.kept import kept
from grape_ops.schema import IS_CONTROL, PLATE, WELL
from grape_ops.train.run_folder import Run

MOST_CROPS = 8_000  # read for the effects of all wells together
MOST_OF_A_WELL = 400  # knock-out cells, and as many control cells of its batch
LEAST_OF_A_WELL = 10  # with fewer cells a mean distance says nothing
MEASURES = {
    "cells": ("Cells", "Cells of each well."),
    "control": ("Control cells", "Share of non-targeting control cells; every batch needs some to be standardised by."),
    "effect": (
        "Mean effect",
        "Mean distance of knock-out cells from the mean control cell of their batch over that of its control cells, "
        "in simple image statistics of cells drawn at random: 1 is like control.",
    ),
}


def wells_of(run: Run, store: CropStore) -> pd.DataFrame:
    """``well_table`` of a run's store, which report and explorer share (``kept``)."""

    def compute() -> dict[str, list[Any]]:
        table = well_table(store, run.config.seed).astype({"effect": object})
        return {str(name): values.where(values.notna(), None).tolist() for name, values in table.items()}

    facts = [run.record["store_fingerprint"], run.config.seed]
    return pd.DataFrame(kept(run.path, "wells", facts, compute)).astype({"effect": float})


def well_table(store: CropStore, seed: int) -> pd.DataFrame:
    """One row per well: plate, well, cells, control (a share), effect (NaN where there are too few cells)."""
    cells = store.cells
    wells = cells.groupby([PLATE, WELL], sort=False, observed=True)
    table = wells[IS_CONTROL].agg(cells="size", control="mean").reset_index()
    is_control = cells[IS_CONTROL].to_numpy(bool)
    rng = generator(seed, ReportStream.WELLS)
    most = int(np.clip(MOST_CROPS // (2 * max(len(table), 1)), LEAST_OF_A_WELL, MOST_OF_A_WELL))

    def drawn(chosen: np.ndarray) -> np.ndarray:
        """Statistics of cells drawn from those chosen: (N,) -> (n, V)."""
        rows = np.sort(rng.permutation(np.flatnonzero(chosen))[:most])
        return crop_statistics(store.standardized(rows)) if len(rows) >= LEAST_OF_A_WELL else np.empty((0, 0))

    of_batch = {}
    for batch in np.unique(store.batch_codes):
        values = drawn(is_control & (store.batch_codes == batch))
        if len(values):
            mean, sd = values.mean(axis=0), np.maximum(values.std(axis=0, ddof=1), 1e-6)
            # Cells lie closer to a mean that they made than others do, the more so the fewer they are.
            of_batch[batch] = mean, sd, _distance(values, mean, sd) * np.sqrt((len(values) + 1) / (len(values) - 1))
    places, effects = wells.ngroup().to_numpy(), []
    for well in range(len(table)):
        batch = store.batch_codes[np.argmax(places == well)]
        values = drawn((places == well) & ~is_control) if batch in of_batch else np.empty((0, 0))
        effects.append(np.nan)
        if len(values):
            mean, sd, usual = of_batch[batch]
            effects[-1] = _distance(values, mean, sd) / usual
    return table.assign(effect=effects)


def _distance(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> float:
    """Mean distance of cells (n, V) from control in its standard deviations; one wild statistic does not decide."""
    return float(np.sqrt(np.square(np.clip((values - mean) / sd, -10, 10)).mean(axis=1)).mean())


def plate_maps(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The maps of a ``well_table``, one per measure, ready for JSON.

    Returns
    -------
    For each measure ``key``, ``title``, ``caption``, ``low`` and ``high`` (the ends of its colours, as text) and
    ``plates``: name, ``columns`` and ``rows`` of (name, cells). A cell is None where there is no well, else ``well``,
    ``text`` and ``share``, its place between the ends of the colours, None where nothing is known.
    """
    return [_measure(table, key, title, caption) for key, (title, caption) in MEASURES.items()]


def _measure(table: pd.DataFrame, key: str, title: str, caption: str) -> dict[str, Any]:
    values = table[key].to_numpy(float)
    known = values[np.isfinite(values)]
    high = float(known.max()) if len(known) else 1.0
    low = min(1.0, float(known.min())) if key == "effect" and len(known) else 0.0
    plates: list[dict[str, Any]] = []
    for plate, part in table.assign(value=values).groupby(PLATE, sort=False):
        spots = {name: _spot(str(name)) for name in part[WELL]}
        columns = sorted({column for _, column in spots.values()}, key=_natural)
        rows = sorted({row for row, _ in spots.values()}, key=_natural)
        at = {
            spots[well]: {"well": str(well), "text": _text(key, value), "share": _share(value, low, high)}
            for well, value in zip(part[WELL], part["value"], strict=True)
        }
        cells = [(row, [at.get((row, column)) for column in columns]) for row in rows]
        plates.append({"name": str(plate), "columns": columns, "rows": cells})
    plates.sort(key=lambda entry: _natural(entry["name"]))
    return {
        "key": key,
        "title": title,
        "caption": caption,
        "low": _text(key, low),
        "high": _text(key, high),
        "plates": plates,
    }


def _spot(well: str) -> tuple[str, str]:
    """Row and column of a well by its name, such as B07; other names stand side by side in one row."""
    found = re.fullmatch(r"([A-Za-z]{1,2})0*(\d{1,2})", well)
    return (found[1].upper(), found[2]) if found else ("", well)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort 2 before 10, and A to Z before AA."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdigit() else (1, len(part), part) for part in parts]


def _share(value: float, low: float, high: float) -> float | None:
    if not np.isfinite(value):
        return None
    return round(float((value - low) / (high - low)), 3) if high > low else 1.0


def _text(key: str, value: float) -> str:
    if not np.isfinite(value):
        return "too few cells"
    return {"cells": f"{value:,.0f}", "control": f"{value:.0%}"}.get(key, f"{value:.2f}")


def smallest(counts: pd.Series, shown: int = 5) -> str:
    """Name the genes with the fewest cells, in a sentence; ``counts`` are cells by gene."""
    least = counts.sort_values(kind="stable").head(shown)
    return f"Fewest: {', '.join(f'{gene} ({int(count):,})' for gene, count in least.items())}."
