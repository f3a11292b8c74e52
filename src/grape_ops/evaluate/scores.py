"""Scores as tables and on disk: ``scores.json`` and ``scores.csv`` are written and read here, and nowhere else."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError

from grape_ops.artifacts.atomic import drafts_of
from grape_ops.artifacts.ownership import what_lies_at
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.agreement import SCORES
from grape_ops.evaluate.metrics import METRICS
from grape_ops.evaluate.records import Difference, KMeansScores, LeftOut, LeidenScores, MethodScores
from grape_ops.evaluate.score_rows import ScoreRow
from grape_ops.schema import SCORES_CSV, SCORES_JSON

_LIST = TypeAdapter(Annotated[list[MethodScores], Field(min_length=1)])


def write_scores(scores: Sequence[MethodScores], out: Path) -> None:
    """Write ``scores.json`` (everything) and ``scores.csv`` (one row per method and score) into the folder ``out``."""
    with drafts_of(out / SCORES_JSON, out / SCORES_CSV) as (records, table):
        spreadsheet_safe(score_table(scores)).to_csv(table, index=False)
        records.write_text(json.dumps(without_nan(scores), indent=1, allow_nan=False) + "\n")


def read_scores(file: Path) -> list[MethodScores]:
    """Read ``scores.json``.

    Raises
    ------
    GrapeOpsError : the file is missing, or is not what ``write_scores`` writes; the message names the place.
    """
    if not file.is_file():
        raise GrapeOpsError(
            f"Scores are read from a {SCORES_JSON}, which `grape-ops evaluate` makes, and at {file} there is "
            f"{what_lies_at(file)}."
        )
    try:
        return _LIST.validate_json(file.read_bytes(), strict=True)
    except OSError as error:
        raise GrapeOpsError(f"{file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise GrapeOpsError(
            f"{file} is not a list of scores as `grape-ops evaluate` writes it: {_in_words(error)}. "
            "`grape-ops evaluate` makes it again."
        ) from None


def _in_words(error: ValidationError) -> str:
    """Name the first place that does not fit."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return "it is not JSON"
    entry = [f"entry {part + 1}" for part in first["loc"][:1] if isinstance(part, int)] or ["the file"]
    place = ".".join(str(part) for part in first["loc"][1:] if "[" not in str(part))  # brackets: one type of several
    where = ", ".join([*entry, *([place] if place else [])])
    if first["type"] == "missing":
        return f"{where} is missing"
    found = json.dumps(first["input"], default=str)
    return f"{where} holds {found if len(found) < 40 else found[:39] + '…'}"


def without_nan(value: Any) -> Any:
    """Make records, or anything made of lists, dicts and numbers, ready for JSON, which knows null and no NaN.

    Fields that are optional and empty are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {name: without_nan(part) for name, part in _filled(value)}
    if isinstance(value, Mapping):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _filled(record: Any) -> Iterable[tuple[str, Any]]:
    for part in fields(record):
        value = getattr(record, part.name)
        optional = part.default is not MISSING or part.default_factory is not MISSING
        if not (optional and (value is None or value == {})):
            yield part.name, value


def score_table(scores: Sequence[MethodScores]) -> pd.DataFrame:
    """One row per method and score: ``scores.csv``; see ``ScoreRow``, and the definition of the score at the end."""
    rows = []
    for entry in scores:
        found = [row for metric in METRICS for row in metric.rows(metric.name, entry.of(metric.name))]
        if entry.n_genes_own > entry.n_genes:  # how it fares on genes that others lack
            found.insert(1, ScoreRow("mAP, own genes", entry.map_own_genes, "map", n=entry.n_genes_own))
        for row in found:
            told = asdict(row)
            rows.append({"method": entry.method, **told, "definition": entry.definitions.get(told.pop("term"), "")})
    columns = ["method", *(part.name for part in fields(ScoreRow) if part.name != "term"), "definition"]
    return pd.DataFrame(rows, columns=columns).astype({"n": "Int64"})


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


def numbers(prefix: str, record: Any) -> dict[str, float]:
    """Columns of a record's own numbers, as ``prefix_field``; None, words and nested records have none."""
    values = {part.name: getattr(record, part.name) for part in fields(record)}
    return {f"{prefix}_{name}": value for name, value in values.items() if isinstance(value, int | float)}


def clustering_numbers(prefix: str, record: KMeansScores | LeidenScores) -> dict[str, float]:
    """Columns of a clustering: its own numbers, its agreement, and that of chance."""
    columns = numbers(prefix, record)
    for start, part in ((prefix, record), (f"{prefix}_random", record.random)):
        for name in SCORES:
            columns |= numbers(f"{start}_{name}", getattr(part, name))
    return columns
