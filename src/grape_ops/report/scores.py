"""The score table of the page, and which of its lines is the run's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grape_ops.evaluate.retrieval import average_precision, chance_average_precision
from grape_ops.evaluate.scores import p_text
from grape_ops.groundtruth import membership
from grape_ops.report.inputs import ReportInputs
from grape_ops.schema import OBS_IS_CONTROL, UNS_METHOD

CLUSTERINGS = {"purity": "purity", "nmi": "NMI", "ari": "ARI"}
# For scores that do not carry their definitions.
DEFINITIONS = {
    "map": "Mean average precision: every gene asks for the genes of its complex, all others ranked by cosine. "
    "Chance is what a random ranking reaches.",
    "p_value": "Share of permutations of the complex labels that reach the score.",
    "kmeans": "Agreement of k-means clusters with the complexes, mean ± standard deviation over random starts.",
}
SAME = 1e-4  # mAP of the same vectors differs by less, on any machine
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
    """The scores of this run's vectors: the method of that name, or the first that is GRAPE's; None if they differ."""
    if not scores:
        return None
    scores = [entry for entry in scores if _may_be_of(entry, inputs)]
    method = str(inputs.vectors.uns[UNS_METHOD]) if inputs.vectors is not None else ""
    named = [entry for entry in scores if entry["method"] == method]
    grape = [entry for entry in scores if str(entry["method"]).lower().startswith("grape")]
    return next(iter([*named, *grape]), None)


def _may_be_of(entry: Mapping[str, Any], inputs: ReportInputs) -> bool:
    """Whether a record's mAP over all of its genes is that of this run's vectors, as far as it can be told."""
    found = map_from_vectors(inputs)
    told = entry.get("map_own_genes")
    if found is None or told is None or entry.get("n_runs", 1) > 1:
        return True
    same_question = entry.get("truth_sha256") == inputs.truth_sha256 and entry.get("n_genes_own") == found[2]
    return not same_question or abs(told - found[0]) < SAME


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
