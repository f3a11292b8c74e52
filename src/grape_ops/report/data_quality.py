"""Data quality as tables: how many cells came in, which were left out and why, and what the screen's files lacked."""

from typing import Any

import numpy as np

from grape_ops.report.inputs import ReportInputs
from grape_ops.schema import OBS_N_CELLS, OBS_N_GUIDES

Rows = list[tuple[str, str]]

# Keys of quality.json that have a place of their own on the page.
_PLACED = {"cells_in_table", "cells_kept", "cells_dropped", "problems", "flat_field", "table"}
FEW_CELLS = 50  # of a gene; its vector rests on little


def count_rows(inputs: ReportInputs) -> Rows:
    """Cells, genes, guides and batches in short: (what, how many)."""
    genes = inputs.run.genes.loc[inputs.genes]
    cells = genes[OBS_N_CELLS].to_numpy()
    controls = int(inputs.run.genes[OBS_N_CELLS].sum() - cells.sum())
    per_batch = inputs.batch_counts().sum(axis=0)
    control_rows = ~inputs.run.genes.index.isin(inputs.genes)
    rows = [
        ("knock-out cells", f"{int(cells.sum()):,}"),
        ("control cells", f"{controls:,}"),
        ("genes", f"{len(genes):,}"),
        ("cells of a gene: least, median, most", _three(cells)),
        ("guides of a gene: least, median, most", _three(genes[OBS_N_GUIDES].to_numpy())),
        (f"genes with fewer than {FEW_CELLS} cells", f"{int((cells < FEW_CELLS).sum()):,}"),
        ("batches", f"{len(per_batch):,}"),
        ("cells of a batch: least, median, most", _three(per_batch)),
        ("controls of a batch: least, median, most", _three(inputs.batch_counts()[control_rows].sum(axis=0))),
    ]
    quality = inputs.quality
    extra = {
        key: value for key, value in quality.items() if key not in _PLACED and isinstance(value, int | float | str)
    }
    return rows + [(key.replace("_", " "), _number(value)) for key, value in extra.items()]


def dropped_rows(quality: dict[str, Any]) -> Rows:
    """Cells of the table, those left out by reason, and those kept; empty if the store does not record it."""
    if "cells_in_table" not in quality:
        return []
    total = quality["cells_in_table"]
    dropped = quality.get("cells_dropped", {})
    rows = [("in the cell table", f"{total:,}")]
    rows += [(f"left out: {reason}", _with_share(n, total)) for reason, n in dropped.items()]
    return [*rows, ("in the crop store", _with_share(quality.get("cells_kept", total - sum(dropped.values())), total))]


def table_rows(quality: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """What was met in tables and images: (what, how many, kept or dropped, by which setting)."""
    return [
        (str(entry["what"]), f"{entry['count']:,}", str(entry["fate"]), str(entry["setting"]))
        for entry in quality.get("table", [])
    ]


def problem_rows(quality: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Problems that preprocessing met and was set to go on with: (what, how often, for example)."""
    return [
        (str(problem.get("what", "")), f"{problem.get('count', 0):,}", "; ".join(map(str, problem.get("examples", []))))
        for problem in quality.get("problems", [])
    ]


def flat_field_text(quality: dict[str, Any]) -> str:
    """Where the flat-field correction was applied, in a sentence; empty if the store does not record it."""
    field = quality.get("flat_field")
    if not isinstance(field, dict) or "groups" not in field:
        return ""
    if not field["groups"]:
        return "Illumination was not corrected."
    applied = ", ".join(f"{channel} in {count}" for channel, count in field.get("applied", {}).items())
    left = field.get("not_applied", [])
    text = f"Flat fields were taken over {field['groups']} groups of tiles and applied for {applied}."
    if left:
        shown = ", ".join(map(str, left[:6])) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
        text += f" Not applied, because two halves of the tiles disagreed: {shown}."
    return text


def _three(values: np.ndarray) -> str:
    if not len(values):
        return "none"
    return f"{int(values.min()):,} · {float(np.median(values)):,.10g} · {int(values.max()):,}"


def _with_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
