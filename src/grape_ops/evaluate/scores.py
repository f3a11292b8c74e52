"""Scores on disk and on the screen: scores.json, scores.csv and a printed table."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grape_ops.artifacts.atomic import drafts_of
from grape_ops.schema import SCORES_CSV, SCORES_JSON

if TYPE_CHECKING:
    from rich.table import Table

LINE = 80  # width of the tables where there is no terminal, and what they fit into on one
CLUSTER_COLUMNS = {"purity": "purity", "nmi": "NMI", "ami": "AMI", "ari": "ARI"}
PRINTED_CLUSTERINGS = ("purity", "nmi", "ari")


def write_scores(scores: Sequence[dict[str, Any]], out: Path) -> None:
    """Write ``scores.json`` (everything) and ``scores.csv`` (a line a method) into the folder ``out``."""
    with drafts_of(out / SCORES_CSV, out / SCORES_JSON) as (table, records):
        score_table(scores).to_csv(table, index=False)
        records.write_text(json.dumps(without_nan(list(scores)), indent=1, allow_nan=False) + "\n")


def without_nan(value: Any) -> Any:
    """Replace NaN by null, which JSON knows."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_nan(part) for part in value]
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
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    first, kmeans = scores[0], scores[0]["kmeans"]
    table = Table(
        title=f"{escape(first['truth'])} · {first['n_genes']} genes in {first['n_complexes']} complexes · "
        f"k-means of {kmeans['n_genes']} genes, k = {kmeans['k']}, {kmeans['runs']} runs",
        caption="second line: interval over complexes; ± sd over runs of k-means; mean R² of\nshuffled genes. "
        "–: not scored, not told by any map, or the same for all genes",
        box=box.HORIZONTALS,
        show_lines=True,
        padding=(0, 1, 0, 0),
    )
    table.add_column("method", overflow="fold")
    clusterings = (CLUSTER_COLUMNS[name] for name in PRINTED_CLUSTERINGS)
    for name in ("mAP", "p", *clusterings, "batch\nR²", "cells\nR²"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in scores:
        table.add_row(*(escape(cell) for cell in _cells(entry)))
    table.add_row(
        "chance\n(random maps)",
        f"{first['map']['chance']:.3f}",
        "",
        *(_spread(kmeans["random"][name]) for name in PRINTED_CLUSTERINGS),
        style="dim",
    )
    return table


def _printed_recall(scores: Sequence[dict[str, Any]]) -> "Table":
    """A row a method and list of known pairs, and what chance finds."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="\nshare of known pairs in the tails of all cosines", box=None, padding=(0, 2, 0, 0))
    recall = recall_table(scores)
    tests = recall.drop_duplicates(["side", "tail"])
    sides = zip(tests["side"], tests["tail"], strict=True)
    for name in ("method", "pairs"):
        table.add_column(name, overflow="fold")
    for name in ("number", *(f"{side}\n{tail:.3g}" for side, tail in sides)):
        table.add_column(name, justify="right", no_wrap=True)
    for (method, pairs), part in recall.groupby(["method", "pairs"], sort=False):
        found = [f"{value:.3f}" for value in part["value"]]
        table.add_row(escape(str(method)), escape(str(pairs)), str(part["n_pairs"].iloc[0]), *found)
    table.add_row("chance", "", "", *(f"{chance:.3f}" for chance in tests["chance"]), style="dim")
    return table


def differences_in_words(scores: Sequence[dict[str, Any]]) -> list[str]:
    """Compare the first method with every other; all pairs and scores are in the table of differences."""
    first, lines = scores[0]["method"], [line for line in scores[0]["differences"] if line["score"] == "map"]
    return [
        f"mAP, {first} minus {line['other']}: {line['value']:.3f} "
        f"({line['low']:.3f} to {line['high']:.3f}), p {p_in_words(line['p_value'])}"
        for line in lines
    ]


def p_text(value: float | None) -> str:
    """A p-value as a reader takes it in: no powers of ten, and no more digits than it has meaning."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 1e-4:
        return "<0.0001"
    return f"{value:.4f}" if value < 1e-3 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def p_in_words(value: float | None) -> str:
    """A p-value with its sign: "= 0.02" or "< 0.0001"."""
    text = p_text(value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def _cells(entry: dict[str, Any]) -> list[str]:
    runs = f"\n({entry['n_runs']} runs)" if entry["n_runs"] > 1 else ""
    more = entry["n_genes_own"] > entry["n_genes"]
    own = f"\n({entry['n_genes']} of its {entry['n_genes_own']} genes)" if more else ""
    score = entry["map"]
    seeds = f"\nruns ±{score['seed_sd']:.3f}" if entry["n_runs"] > 1 else ""
    return [
        entry["method"] + runs + own,
        f"{score['value']:.3f}\n{score['low']:.2f}–{score['high']:.2f}{seeds}",
        p_text(score["p_value"]),
        *(_spread(entry["kmeans"][name]) for name in PRINTED_CLUSTERINGS),
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
