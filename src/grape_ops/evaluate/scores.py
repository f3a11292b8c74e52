"""Scores on disk and on the screen: scores.json, scores.csv and a printed table."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grape_ops.schema import SCORES_CSV, SCORES_JSON

if TYPE_CHECKING:
    from rich.table import Table

LINE = 100  # width of the tables where there is no terminal
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


def sweep_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """k-means over the range of k, the random reference beside it: one row a method and k."""
    rows: list[dict[str, Any]] = []
    for entry in scores:
        for line, random in zip(entry["sweep"], entry["sweep_random"], strict=True):
            rows.append({"method": entry["method"], "k": line["k"]})
            for name in CLUSTER_COLUMNS:
                _flatten(rows[-1], name, line[name])
                _flatten(rows[-1], f"random_{name}", random[name])
    return pd.DataFrame(rows, columns=None if rows else ["method", "k"])


def recall_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Recall of known pairs: one row a method, list, side and tail."""
    rows = []
    for entry in scores:
        for line in entry["recall"]:
            tail = round(1 - line["quantiles"][-1], 12)
            rows.append(
                {"method": entry["method"], "tail": tail, **{k: v for k, v in line.items() if k != "quantiles"}}
            )
    return pd.DataFrame(rows)


def leiden_table(scores: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Leiden and the enrichment of its clusters: one row a method and resolution; k-means where Leiden was left out."""
    rows: list[dict[str, Any]] = []
    for entry in scores:
        parts = entry["leiden"] if isinstance(entry["leiden"], list) else [{} for _ in entry["enrichment"]]
        for part, tested in zip(parts, entry["enrichment"], strict=True):
            rows.append({"method": entry["method"], "clusters": tested["clusters"]})
            _flatten(rows[-1], "score", part)
            _flatten(rows[-1], "enrichment", tested)
    return pd.DataFrame(rows, columns=None if rows else ["method", "clusters"])


def print_scores(scores: Sequence[dict[str, Any]]) -> None:
    """Print the scores, the recall of known pairs, the differences in mAP, and what was left out."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE)
    console.print(_printed_scores(scores))
    console.print(_printed_recall(scores))
    console.print()
    for line in [*differences_in_words(scores), *notes(scores)]:
        console.print(line, highlight=False, markup=False)


def _printed_scores(scores: Sequence[dict[str, Any]]) -> "Table":
    """Two lines a method (score, spread or null), and the chance level."""
    from rich.markup import escape
    from rich.table import Table

    first, kmeans = scores[0], scores[0]["kmeans"]
    table = Table(
        title=f"{escape(first['truth'])} · {first['n_genes']} genes in {first['n_complexes']} complexes · "
        f"k-means of {kmeans['n_genes']} genes, k = {kmeans['k']}, {kmeans['runs']} runs",
        caption="second line: interval over complexes; ± sd over runs of k-means; mean R² of shuffled genes\n"
        "–: not scored, not told by any map, or the same for all genes",
        show_lines=True,
    )
    for name in ("method", "genes\n(own)", "mAP", "p", *CLUSTER_COLUMNS.values(), "batch\nR²", "cells\nR²"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=name != "method")
    for entry in scores:
        table.add_row(*(escape(cell) for cell in _cells(entry)))
    table.add_row(
        "chance\n(random maps)",
        "",
        f"{first['map']['chance']:.3f}",
        "",
        *(_spread(kmeans["random"][name]) for name in CLUSTER_COLUMNS),
        style="dim",
    )
    return table


def _printed_recall(scores: Sequence[dict[str, Any]]) -> "Table":
    """A row a method and list of known pairs, chance in brackets."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="\nknown pairs found in the tails of all cosines (chance)", box=None, padding=(0, 2, 0, 0))
    recall = recall_table(scores)
    tests = list(dict.fromkeys(zip(recall["side"], recall["tail"], strict=True)))
    for name in ("method", "pairs", "number", *(f"{side}\n{tail:.3g}" for side, tail in tests)):
        table.add_column(name, justify="left" if name in ("method", "pairs") else "right")
    for (method, pairs), part in recall.groupby(["method", "pairs"], sort=False):
        cells = [f"{value:.3f} ({chance:.2f})" for value, chance in zip(part["value"], part["chance"], strict=True)]
        table.add_row(escape(str(method)), escape(str(pairs)), str(part["n_pairs"].iloc[0]), *cells)
    return table


def differences_in_words(scores: Sequence[dict[str, Any]]) -> list[str]:
    """Compare the first method with every other; all pairs and scores are in the table of differences."""
    first, lines = scores[0]["method"], [line for line in scores[0]["differences"] if line["score"] == "map"]
    return [
        f"mAP, {first} minus {line['other']}: {line['value']:.3f} "
        f"({line['low']:.3f} to {line['high']:.3f}), p = {line['p_value']:.2g}"
        for line in lines
    ]


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
    return "–" if part is None else f"{part['value']:.2f}\n({part['chance']:.2f})"


def notes(scores: Sequence[dict[str, Any]]) -> list[str]:
    """Say what a reader of the table has to know: genes that no map could match, and what was left out."""
    lines = []
    lists: dict[tuple[str, ...], list[str]] = {
        tuple(entry["unmatched_genes"]): [] for entry in scores if entry["unmatched_genes"]
    }
    for entry in scores:
        if entry["unmatched_genes"]:
            lists[tuple(entry["unmatched_genes"])].append(entry["method"])
    for missing, methods in lists.items():
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        of, who = scores[0]["n_genes_truth"], ", ".join(methods)
        lines.append(f"{who}: {len(missing)} of {of} genes of the truth are not in the map: {shown}")
    if any(not isinstance(entry["leiden"], list) for entry in scores):
        lines.append(
            f"Leiden was left out. {next(e['leiden']['left_out'] for e in scores if 'left_out' in e['leiden'])}"
        )
    return lines
