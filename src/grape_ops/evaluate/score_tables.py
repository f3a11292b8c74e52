"""Tables of an evaluation, made from the records of its methods."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from grape_ops.evaluate.agreement import SCORES
from grape_ops.evaluate.metrics import METRICS, clustering_numbers, numbers
from grape_ops.evaluate.records import LeftOut, MethodScores


def score_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """All single numbers, one row per method: ``scores.csv``."""
    rows = []
    for entry in scores:
        row = {
            "method": entry.method,
            "n_runs": entry.n_runs,
            "truth": entry.truth,
            "truth_sha256": entry.truth_sha256,
            "n_genes": entry.n_genes,
            "n_genes_own": entry.n_genes_own,
            "n_genes_truth": entry.n_genes_truth,
            "n_complexes": entry.n_complexes,
            "map_own_genes": entry.map_own_genes,
            "unmatched_genes": len(entry.unmatched_genes),
        }
        for metric in METRICS:
            row |= metric.columns(metric.name, entry.of(metric.name))
        rows.append(row)
    return pd.DataFrame(rows)


def tables(scores: Sequence[MethodScores]) -> dict[str, pd.DataFrame]:
    """Every other table, by its name."""
    return {
        "genes": gene_table(scores),
        "complexes": complex_table(scores),
        "differences": difference_table(scores),
        "sweep": sweep_table(scores),
        "recall": recall_table(scores),
        "leiden": leiden_table(scores),
        "unmatched": unmatched_table(scores),
    }


def gene_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """AP of each gene, one row per method and gene."""
    return pd.concat([pd.DataFrame({"method": e.method, **asdict(e.genes)}) for e in scores], ignore_index=True)


def complex_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """Mean AP of each complex, one row per method and complex."""
    return pd.concat([pd.DataFrame({"method": e.method, **asdict(e.complexes)}) for e in scores], ignore_index=True)


def difference_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """Differences of all pairs of methods, one row per pair and score."""
    columns = ["method", "other", "score", "value", "low", "high", "p_value"]
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


def unmatched_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """Genes of the truth that a method lacks, one row per method and gene."""
    rows = [(entry.method, gene) for entry in scores for gene in entry.unmatched_genes]
    return pd.DataFrame(rows, columns=["method", "gene_symbol"])
