"""The score table of the page, and which of its lines is the run's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grape_ops.evaluate.retrieval import average_precision, chance_average_precision
from grape_ops.evaluate.scores import p_text
from grape_ops.groundtruth import membership
from grape_ops.report.inputs import ReportInputs
from grape_ops.schema import OBS_IS_CONTROL

CLUSTERINGS = {"purity": "purity", "nmi": "NMI", "ari": "ARI"}
# For scores that do not carry their definitions.
DEFINITIONS = {
    "map": "Mean average precision: every gene asks for the genes of its complex, all others ranked by cosine. "
    "Chance is what a random ranking reaches.",
    "p_value": "Share of permutations of the complex labels that reach the score.",
    "kmeans": "Agreement of k-means clusters with the complexes, mean ± standard deviation over random starts.",
}
_SHOWN_DEFINITIONS = ("genes", "map", "p_value", "kmeans", "agreement", "random", "seed")


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
    caption : what was judged against what.
    columns : headings after the method's.
    rows : method, whether it is the run's own, and its cells.
    definitions : (name, sentence).
    """

    caption: str
    columns: list[str]
    rows: list[tuple[str, bool, list[Cell]]]
    definitions: list[tuple[str, str]]


def own_entry(scores: Sequence[Mapping[str, Any]] | None, inputs: ReportInputs) -> Mapping[str, Any] | None:
    """The scores of this run's vectors, by the name of their method.

    None if the scores are of other vectors, or of several maps of that name (`evaluate` adds the file's), of which any
    may be the run's.
    """
    name = inputs.own_method
    found = [entry for entry in scores or () if entry["method"] == name or entry["method"].startswith(f"{name} (")]
    return found[0] if len(found) == 1 and found[0]["method"] == name else None


def score_table(scores: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None) -> ScoreTable:
    """Lay out all methods of a scores.json."""
    values = np.array([[entry["map"].get("value"), *_means(entry)] for entry in scores], dtype=float)
    best = values == np.nanmax(np.where(np.isnan(values), -np.inf, values), axis=0)
    rows = []
    for entry, marks in zip(scores, best.tolist(), strict=True):
        part = entry["map"]
        cells = [
            Cell(number(part.get("value")), _interval(part), marks[0] and len(scores) > 1),
            Cell(number(part.get("chance"))),
            Cell(p_text(part.get("p_value"))),
            *(
                Cell(number(mean), f"± {number(entry['kmeans'].get(key, {}).get('sd'))}", mark and len(scores) > 1)
                for key, mean, mark in zip(CLUSTERINGS, _means(entry), marks[1:], strict=True)
            ),
            Cell(f"{entry['n_genes']}"),
        ]
        rows.append((str(entry["method"]), entry is own, cells))
    first = scores[0]
    means = first["kmeans"]
    if isinstance(means.get("random"), Mapping):
        rows.append(("chance (random maps)", False, _chance_cells(first)))
    return ScoreTable(
        caption=f"Judged against {first.get('truth', 'the truth')}; "
        f"k-means with k = {means.get('k', '?')}, {means.get('runs', '?')} random starts.",
        columns=["mAP", "chance", "p", *CLUSTERINGS.values(), "genes"],
        rows=rows,
        definitions=_definitions(first),
    )


def _chance_cells(entry: Mapping[str, Any]) -> list[Cell]:
    """What random maps reach: purity and NMI of chance are far from 0, and grow with k."""
    chance, random = number(entry["map"].get("chance")), entry["kmeans"]["random"]
    parts = [random.get(key, {}) for key in CLUSTERINGS]
    spread = [Cell(number(part.get("mean")), f"± {number(part.get('sd'))}") for part in parts]
    return [Cell(chance), Cell(chance), Cell("–"), *spread, Cell(f"{entry['n_genes']}")]


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


def number(value: Any) -> str:
    """Three digits behind the point, or a dash for what is not known."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", "−")


def _means(entry: Mapping[str, Any]) -> list[Any]:
    return [entry["kmeans"].get(key, {}).get("mean") for key in CLUSTERINGS]


def _interval(part: Mapping[str, Any]) -> str:
    low, high = part.get("low"), part.get("high")
    return f"{low:.2f} to {high:.2f}" if low is not None and high is not None else ""


def _definitions(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = entry.get("definitions")
    known = found if isinstance(found, Mapping) else DEFINITIONS
    names = {"map": "mAP", "p_value": "p", "kmeans": "k-means"}
    return [(names.get(key, key), str(known[key])) for key in _SHOWN_DEFINITIONS if key in known]
