"""Well and plate maps: cells, share of control cells, and how far knock-out cells are from control, well by well.

Letters: n cells, V image statistics.
"""

import re
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.methods.statistics import crop_statistics
from grape_ops.schema import IS_CONTROL, PLATE, WELL

MOST_CROPS = 6_000  # read for the effects of all wells together
MOST_OF_A_WELL = 100  # knock-out cells, and as many control cells of its batch
LEAST_OF_A_WELL = 5  # with fewer cells a mean distance says nothing
_STREAM = 5  # of the run's seed
MEASURES = {
    "cells": ("Cells", "Cells of each well."),
    "control": ("Control cells", "Share of non-targeting control cells; every batch needs some to be standardised by."),
    "effect": (
        "Mean effect",
        "Mean distance of knock-out cells from the mean control cell of their batch over that of control cells, in "
        "simple image statistics of cells drawn at random: 1 is like control.",
    ),
}


def well_table(store: CropStore, seed: int) -> pd.DataFrame:
    """One row per well of a store: plate, well, cells, control (a share), effect (NaN where there are too few cells)."""
    cells = store.cells
    wells = cells.groupby([PLATE, WELL], sort=False, observed=True)
    table = wells[IS_CONTROL].agg(cells="size", control="mean").reset_index()
    # Sampling and reading go by the place of a cell in the store, whatever the table's own index is.
    places = wells.ngroup().to_numpy()
    most = int(np.clip(MOST_CROPS // (2 * max(len(table), 1)), LEAST_OF_A_WELL, MOST_OF_A_WELL))
    controls = _control_distances(store, most, np.random.default_rng([seed, _STREAM]))
    rng = np.random.default_rng([seed, _STREAM, 1])
    effects = []
    for well in range(len(table)):
        rows = np.flatnonzero((places == well) & ~cells[IS_CONTROL].to_numpy(bool))
        effects.append(_effect(store, np.sort(rng.permutation(rows)[:most]), controls))
    return table.assign(effect=effects)


def _control_distances(
    store: CropStore, most: int, rng: np.random.Generator
) -> dict[int, tuple[np.ndarray, np.ndarray, float]]:
    """Mean and spread of the control cells of each batch, and their mean distance: batch -> (V,), (V,), a number."""
    found = {}
    is_control = store.cells[IS_CONTROL].to_numpy(bool)
    for batch in np.unique(store.batch_codes):
        rows = np.flatnonzero((store.batch_codes == batch) & is_control)
        if len(rows) < LEAST_OF_A_WELL:
            continue
        values = crop_statistics(store.standardized(np.sort(rng.permutation(rows)[:most])))
        mean, sd = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)
        found[int(batch)] = (mean, sd, float(_distance(values, mean, sd).mean()))
    return found


def _effect(
    store: CropStore, rows: np.ndarray, controls: dict[int, tuple[np.ndarray, np.ndarray, float]]
) -> float:
    ratios = []
    for batch in np.unique(store.batch_codes[rows]):
        if int(batch) in controls:
            mean, sd, usual = controls[int(batch)]
            values = crop_statistics(store.standardized(rows[store.batch_codes[rows] == batch]))
            ratios.append(_distance(values, mean, sd) / max(usual, 1e-6))
    found = np.concatenate(ratios) if ratios else np.empty(0)
    return float(found.mean()) if len(found) >= LEAST_OF_A_WELL else float("nan")


def _distance(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Distances from control in its standard deviations; one wild statistic does not decide: (n, V) -> (n,)."""
    return np.asarray(np.sqrt(np.square(np.clip((values - mean) / sd, -10, 10)).mean(axis=1)))


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
    plates = []
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
    plates.sort(key=lambda plate: _natural(plate["name"]))
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
