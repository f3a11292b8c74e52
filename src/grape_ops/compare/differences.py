"""What differs between two runs: settings, versions, cells."""

from typing import Any

import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.compare.side import Side
from grape_ops.config import flatten
from grape_ops.schema import OBS_N_CELLS, PLATE, TILE, WELL, X, Y
from grape_ops.train.run_folder import Run

COLUMNS = ("kind", "name", "A", "B", "changes_results")
_PLACE = (PLATE, WELL, TILE, Y, X)


def differing_settings(a: Side, b: Side) -> pd.DataFrame:
    """List what differs between two runs, one row each; empty if a side is a bare map.

    Returns
    -------
    ``kind`` (setting, cells, version), ``name``, ``A``, ``B`` and ``changes_results`` ("yes" or "no"; a setting that
    only says how work is done changes none).
    """
    runs = [side.run for side in (a, b) if side.run is not None]
    if len(runs) < 2:
        return pd.DataFrame(columns=COLUMNS)
    trees = [flatten(run.config.model_dump(mode="json")) for run in runs]
    decisive = {name for run in runs for name in flatten(run.config.decisive())}
    rows = [("setting", name, *pair, name in decisive) for name, pair in _differing(*trees)]
    cells = [_cells(run, side.store) for run, side in zip(runs, (a, b), strict=True)]
    rows += [("cells", name, *pair, True) for name, pair in _differing(*cells)]
    versions = [run.record["versions"] | {"commit": run.record["commit"]} for run in runs]
    rows += [("version", name, *pair, True) for name, pair in _differing(*versions)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(changes_results=table["changes_results"].map({True: "yes", False: "no"}))


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, tuple[str, str]]]:
    names = dict.fromkeys([*first, *second])
    pairs = {name: (_text(first.get(name)), _text(second.get(name))) for name in names}
    return [(name, pair) for name, pair in pairs.items() if pair[0] != pair[1]]


def _text(value: Any) -> str:
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cells(run: Run, store: CropStore | None) -> dict[str, Any]:
    """What a run was trained on."""
    known: dict[str, Any] = {name: run.record[name] for name in ("channels", "crop_size", "store_fingerprint")}
    known["cells"] = int(run.genes[OBS_N_CELLS].sum())
    if store is not None:
        known |= {"batches": store.batches, "pixel_type": store.pixel_type}
    return known


def shared_cells(a: Side, b: Side) -> dict[str, int] | None:
    """Count cells by their place in the screen (plate, well, tile, y, x): in both, only in A, only in B.

    None if a side has no cells at hand, or they do not say where they lie.
    """
    if a.store is None or b.store is None:
        return None
    tables = [side.store.cells for side in (a, b) if side.store is not None]
    if not all({*_PLACE} <= {*table} for table in tables):
        return None
    first, second = (table[list(_PLACE)].drop_duplicates() for table in tables)
    kept = first.astype({PLATE: str, WELL: str, TILE: str})
    both = len(kept.merge(second.astype({PLATE: str, WELL: str, TILE: str}), on=list(_PLACE)))
    return {"both": both, "only_a": len(first) - both, "only_b": len(second) - both}
