"""Scores on disk and on the screen: scores.json, scores.csv and a printed table."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from grape_ops.schema import SCORES_CSV, SCORES_JSON

LINE = 110  # width of the table where there is no terminal
CLUSTER_COLUMNS = {"purity": "purity", "nmi": "NMI", "ami": "AMI", "ari": "ARI"}


def write_scores(scores: Sequence[dict[str, Any]], out: Path) -> None:
    """Write ``scores.json`` (everything) and ``scores.csv`` (a line a method) into the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / SCORES_JSON).write_text(json.dumps(_plain(list(scores)), indent=1, allow_nan=False) + "\n")
    score_table(scores).to_csv(out / SCORES_CSV, index=False)


def _plain(value: Any) -> Any:
    """Replace NaN by null, which JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Flatten the single numbers of each record to one row: map.value becomes map_value, and so on."""
    rows = []
    for entry in scores:
        row = {key: value for key, value in entry.items() if isinstance(value, str | int | float)}
        row["unmatched_genes"] = len(entry["unmatched_genes"])
        _flatten(row, "map", entry["map"])
        _flatten(row, "kmeans", entry["kmeans"])
        for line in entry["leiden"] if isinstance(entry["leiden"], list) else ():
            _flatten(row, f"leiden_{line['resolution']:g}", line)
        for line in entry["recall"]:
            tail = f"{1 - line['quantiles'][-1]:g}"
            _flatten(row, f"recall_{line['pairs']}_{line['side']}_{tail}", line)
        for line in entry["enrichment"]:
            _flatten(row, f"enrichment_{line['clusters'].replace(' ', '_')}", line)
        for name, score in entry["nuisance"].items():
            _flatten(row, f"nuisance_{name}", score or {})
        rows.append(row)
    return pd.DataFrame(rows)


def _flatten(row: dict[str, Any], prefix: str, part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict):
            _flatten(row, f"{prefix}_{key}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            row[f"{prefix}_{key}"] = value


def gene_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Per-gene AP of all methods, one row a method and gene."""
    return pd.concat([pd.DataFrame({"method": e["method"], **e["genes"]}) for e in scores], ignore_index=True)


def complex_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Per-complex mAP of all methods, one row a method and complex."""
    return pd.concat([pd.DataFrame({"method": e["method"], **e["complexes"]}) for e in scores], ignore_index=True)


def difference_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Differences of all pairs of methods, one row a pair and score."""
    columns = ["method", "other", "score", "value", "low", "high", "p_value"]
    rows = [{"method": entry["method"], **line} for entry in scores for line in entry["differences"]]
    return pd.DataFrame(rows, columns=columns)


def print_scores(scores: Sequence[dict[str, Any]]) -> None:
    """Print two lines a method (score, spread or null), the chance level, and what was left out."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE)
    first = scores[0]
    table = Table(
        title=f"{escape(first['truth'])} · {first['n_genes']} genes in {first['n_complexes']} complexes · "
        f"k-means k = {first['kmeans']['k']}, {first['kmeans']['runs']} runs",
        caption="second line: bootstrap interval over complexes, ± sd over runs of k-means, null of R²",
        show_lines=True,
    )
    for name in ("method", "genes\n(own)", "mAP", "p", *CLUSTER_COLUMNS.values(), "batch\nR²", "cells\nR²"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for entry in scores:
        table.add_row(*(escape(cell) for cell in _cells(entry)))
    table.add_row(
        "chance\n(random maps)",
        "",
        f"{first['map']['chance']:.3f}",
        "",
        *(_spread(first["kmeans"]["random"][name]) for name in CLUSTER_COLUMNS),
        style="dim",
    )
    console.print(table)
    for line in notes(scores):
        console.print(line, highlight=False, markup=False)


def _cells(entry: dict[str, Any]) -> list[str]:
    runs = f"\n({entry['n_runs']} runs)" if entry["n_runs"] > 1 else ""
    score = entry["map"]
    seeds = f"\nruns ±{score['seed_sd']:.3f}" if entry["n_runs"] > 1 else ""
    return [
        entry["method"] + runs,
        f"{entry['n_genes']}\n({entry['n_genes_own']})",
        f"{score['value']:.3f}\n{score['low']:.2f}–{score['high']:.2f}{seeds}",
        f"{score['p_value']:.2g}",
        *(_spread(entry["kmeans"][name]) for name in CLUSTER_COLUMNS),
        *(_nuisance(entry["nuisance"][name]) for name in ("batch", "cells")),
    ]


def _spread(part: dict[str, float | None]) -> str:
    if part["mean"] is None or math.isnan(part["mean"]):
        return "–"
    return f"{part['mean']:.3f}\n±{part['sd']:.3f}"


def _nuisance(part: dict[str, float] | None) -> str:
    return "unknown" if part is None else f"{part['value']:.2f}\n({part['chance']:.2f})"


def notes(scores: Sequence[dict[str, Any]]) -> list[str]:
    """Say what a reader of the table has to know: genes that no map could match, and what was left out."""
    lines = []
    for entry in scores:
        missing = entry["unmatched_genes"]
        if missing:
            shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
            of = entry["n_genes_truth"]
            lines.append(f"{entry['method']}: {len(missing)} of {of} genes of the truth are not in the map: {shown}")
    if any(not isinstance(entry["leiden"], list) for entry in scores):
        lines.append(
            f"Leiden was left out. {next(e['leiden']['left_out'] for e in scores if 'left_out' in e['leiden'])}"
        )
    return lines
