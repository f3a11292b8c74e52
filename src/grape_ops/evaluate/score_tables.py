"""Tables of an evaluation, made from the records of its methods."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from grape_ops.evaluate.agreement import SCORES
from grape_ops.evaluate.metrics import METRICS, clustering_numbers, numbers
from grape_ops.evaluate.records import Difference, LeftOut, MethodScores


def score_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """All single numbers, one row per method: ``scores.csv``."""
    rows = []
    for entry in scores:
        values = {part.name: getattr(entry, part.name) for part in fields(entry)}
        row = {name: value for name, value in values.items() if isinstance(value, str | int | float)}
        row["unmatched_genes"] = len(entry.unmatched_genes)
        for metric in METRICS:
            row |= metric.columns(metric.name, entry.of(metric.name))
        rows.append(row)
    return pd.DataFrame(rows)


def tables(scores: Sequence[MethodScores]) -> dict[str, pd.DataFrame]:
    """Every other table by its name; rows are genes, complexes, ..., of each method."""
    unmatched = [(entry.method, gene) for entry in scores for gene in entry.unmatched_genes]
    return {
        "genes": _stacked(scores, "genes"),
        "complexes": _stacked(scores, "complexes"),
        "differences": difference_table(scores),
        "sweep": sweep_table(scores),
        "recall": recall_table(scores),
        "leiden": leiden_table(scores),
        "unmatched": pd.DataFrame(unmatched, columns=["method", "gene_symbol"]),
    }


def _stacked(scores: Sequence[MethodScores], part: str) -> pd.DataFrame:
    """The columns of a part, the methods below each other."""
    return pd.concat(
        [pd.DataFrame({"method": e.method, **asdict(getattr(e, part))}) for e in scores], ignore_index=True
    )


def difference_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """Differences of all pairs of methods, one row per pair and score."""
    columns = ["method", *(field.name for field in fields(Difference))]
    rows = [{"method": entry.method, **asdict(gap)} for entry in scores for gap in entry.differences]
    return pd.DataFrame(rows, columns=columns)


def sweep_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """k-means over the range of k, with the random reference, one row per method and k."""
    rows = []
    for entry in scores:
        for at_k, chance in zip(entry.sweep, entry.sweep_random, strict=True):
            row = {"method": entry.method, "k": at_k.k}
            for name in SCORES:
                row |= numbers(name, getattr(at_k, name)) | numbers(f"random_{name}", getattr(chance, name))
            rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["method", "k"])


def recall_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """Recall of known pairs, one row per method, list, side and tail."""
    rows = []
    for entry in scores:
        for part in entry.recall:
            row = {"method": entry.method, "tail": round(part.tail, 12), **asdict(part)}
            del row["quantiles"]
            rows.append(row)
    return pd.DataFrame(rows)


def leiden_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """Leiden and the enrichment of its clusters, one row per method and resolution; k-means if Leiden was left out."""
    rows: list[dict[str, Any]] = []
    for entry in scores:
        parts = [None] * len(entry.enrichment) if isinstance(entry.leiden, LeftOut) else entry.leiden
        for part, tested in zip(parts, entry.enrichment, strict=True):
            own = clustering_numbers("score", part) if part is not None else {}
            named = {"method": entry.method, "clusters": tested.clusters}
            rows.append({**named, **own, **numbers("enrichment", tested)})
    return pd.DataFrame(rows, columns=None if rows else ["method", "clusters"])
