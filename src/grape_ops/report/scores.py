"""The score table of the page, and which of its lines is the run's own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grape_ops.evaluate.print_scores import CLUSTERINGS, p_text
from grape_ops.evaluate.records import MapScore, MethodScores, Spread
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision
from grape_ops.groundtruth import membership
from grape_ops.report.inputs import ReportInputs
from grape_ops.schema import OBS_IS_CONTROL

_SHOWN_DEFINITIONS = ("genes", "map", "p_value", "kmeans", "agreement", "random", "seed", "hits_only")


@dataclass(frozen=True)
class Cell:
    """One number of the table: as text, a smaller second line, and whether it is the column's best."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class ScoreTable:
    """The table as the page shows it.

    Attributes
    ----------
    caption : what was evaluated against what.
    columns : headings after the method's.
    rows : method, whether it is the run's own, and its cells.
    definitions : (name, sentence).
    """

    caption: str
    columns: list[str]
    rows: list[tuple[str, bool, list[Cell]]]
    definitions: list[tuple[str, str]]


def own_entry(scores: Sequence[MethodScores] | None, inputs: ReportInputs) -> MethodScores | None:
    """The scores of this run's vectors, by the name of their method.

    None if the scores are of other vectors, or of several maps of that name (`evaluate` adds the file's), of which any
    may be the run's.
    """
    name = inputs.own_method
    found = [entry for entry in scores or () if entry.method == name or entry.method.startswith(f"{name} (")]
    return found[0] if len(found) == 1 and found[0].method == name else None


def score_table(scores: Sequence[MethodScores], own: MethodScores | None) -> ScoreTable:
    """Lay out all methods of a scores.json."""
    values = np.array([[entry.map.value, *(part.mean for part in _clusterings(entry))] for entry in scores])
    best = values == np.nanmax(np.where(np.isnan(values), -np.inf, values), axis=0)
    rows = []
    for entry, marks in zip(scores, best.tolist(), strict=True):
        cells = [
            Cell(number(entry.map.value), _interval(entry.map), marks[0] and len(scores) > 1),
            Cell(number(entry.map.chance)),
            Cell(p_text(entry.map.p_value)),
            *(
                Cell(number(part.mean), f"± {number(part.sd)}", mark and len(scores) > 1)
                for part, mark in zip(_clusterings(entry), marks[1:], strict=True)
            ),
            Cell(f"{entry.n_genes}"),
        ]
        rows.append((entry.method, entry is own, cells))
    first = scores[0]
    rows.append(("chance (random maps)", False, _chance_cells(first)))
    return ScoreTable(
        caption=f"Evaluated with {first.truth}; k-means with k = {first.kmeans.k}, {first.kmeans.runs} random starts.",
        columns=["mAP", "chance", "p", *CLUSTERINGS.values(), "genes"],
        rows=rows,
        definitions=_definitions(first),
    )


def _clusterings(entry: MethodScores) -> list[Spread]:
    return [getattr(entry.kmeans, name) for name in CLUSTERINGS]


def _chance_cells(entry: MethodScores) -> list[Cell]:
    """What random maps reach: purity and NMI of chance are far from 0, and grow with k."""
    parts = [getattr(entry.kmeans.random, name) for name in CLUSTERINGS]
    spread = [Cell(number(part.mean), f"± {number(part.sd)}") for part in parts]
    chance = Cell(number(entry.map.chance))
    return [chance, chance, Cell("–"), *spread, Cell(f"{entry.n_genes}")]


def map_from_vectors(inputs: ReportInputs) -> tuple[float, float, int] | None:
    """MAP of the run's vectors, its chance level and the number of genes, where scores.json is missing."""
    if inputs.vectors is None or inputs.truth is None:
        return None
    genes = inputs.vectors[~inputs.vectors.obs[OBS_IS_CONTROL].to_numpy(bool)]
    members = membership(inputs.truth, list(genes.obs_names))
    rows = np.flatnonzero(members.any(axis=1))
    if not (members.sum(axis=0) > 1).any():
        return None
    value = average_precision(np.asarray(genes.X)[rows], members[rows])
    return float(np.nanmean(value)), float(np.nanmean(chance_average_precision(members[rows]))), len(rows)


def number(value: float | None) -> str:
    """Three digits behind the point, or a dash for what is not known."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", "−")


def _interval(score: MapScore) -> str:
    known = score.low is not None and np.isfinite(score.low)
    return f"{score.low:.2f} to {score.high:.2f}" if known else ""


def _definitions(entry: MethodScores) -> list[tuple[str, str]]:
    names = {"map": "mAP", "p_value": "p", "kmeans": "k-means"}
    known = entry.definitions
    return [(names.get(term, term), known[term]) for term in _SHOWN_DEFINITIONS if term in known]
