"""Figures of an evaluation, drawn from the records of ``scores.json`` alone."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scores = Sequence[dict[str, Any]]

# Okabe and Ito's colours, which most colour-blind readers tell apart; grey is kept for chance.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
CHANCE = "#888888"
PANELS = {"purity": "purity", "nmi": "NMI", "ami": "AMI", "ari": "ARI"}
MOST_COMPLEXES = 40  # bars that can still be read
LONGEST_NAME = 40  # letters of a complex's name beside its bar


def _figure(width: float, height: float) -> "Figure":
    # Without pyplot: no global state, no display, and figures may be drawn in threads.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def sweep_figure(scores: Scores) -> "Figure | None":
    """Clustering scores over the number of clusters, mean and one sd, with random maps (Fig. 4)."""
    if not scores[0]["sweep"]:
        return None
    figure = _figure(11, 3.2)
    axes = figure.subplots(1, len(PANELS), sharex=True)
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        for index, entry in enumerate(scores):
            _envelope(axis, entry["sweep"], name, COLOURS[index % len(COLOURS)], entry["method"])
        _envelope(axis, scores[0]["sweep_random"], name, CHANCE, "random maps")
        axis.axvline(scores[0]["kmeans"]["k"], color=CHANCE, linewidth=0.8, linestyle=":")
        axis.set(title=title, xlabel="clusters k")
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False)
    return figure


def _envelope(axis: "Axes", lines: Sequence[dict[str, Any]], name: str, colour: str, label: str) -> None:
    ks = np.array([line["k"] for line in lines])
    mean = np.array([line[name]["mean"] for line in lines])
    sd = np.array([line[name]["sd"] for line in lines])
    axis.plot(ks, mean, color=colour, label=label, linewidth=1.5)
    axis.fill_between(ks, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)


def complexes_figure(scores: Scores) -> "Figure":
    """Mean AP of each complex beside its chance level, one bar a method, stars at q < 0.05; the highest if many."""
    names = scores[0]["complexes"]["complex"]
    values = np.array([[np.nan if v is None else v for v in entry["complexes"]["map"]] for entry in scores])
    judged = np.flatnonzero(~np.isnan(values).all(axis=0))
    order = judged[np.argsort(-np.nanmax(values[:, judged], axis=0), kind="stable")][:MOST_COMPLEXES]
    height = 0.8 / len(scores)
    figure = _figure(8, 1.2 + 0.24 * len(order) * max(1, len(scores) / 2))
    axis = figure.subplots()
    positions = np.arange(len(order))
    for index, entry in enumerate(scores):
        y = positions + (index - (len(scores) - 1) / 2) * height
        bars = np.nan_to_num(values[index, order])
        axis.barh(y, bars, height, color=COLOURS[index % len(COLOURS)], label=entry["method"])
        for place, bar, complex_ in zip(y, bars, order, strict=True):
            if (entry["complexes"]["q_value"][complex_] or 1.0) < 0.05:
                axis.text(bar + 0.005, place, "*", va="center", fontsize=8)
    chance = np.array(scores[0]["complexes"]["chance"], dtype=float)[order]
    axis.vlines(chance, positions - 0.45, positions + 0.45, colors="black", linewidth=1.2, label="chance")
    sizes = scores[0]["complexes"]["n_genes"]
    axis.set_yticks(positions, [f"{_short(names[c])} ({sizes[c]})" for c in order])
    axis.set(xlabel="mean average precision of the complex's genes; * q < 0.05", xlim=(0, 1.05))
    axis.set_ylim(len(order) - 0.4, -0.6)
    if len(order) < len(judged):
        axis.set_title(f"the {len(order)} highest of {len(judged)} complexes", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"


def scores_figure(scores: Scores) -> "Figure":
    """The score table as a figure, chance in the last row."""
    header = ["method", "genes (own)", "mAP", "p", *PANELS.values(), "batch R² (null)", "cells R² (null)"]
    rows = [
        [
            entry["method"],
            f"{entry['n_genes']} ({entry['n_genes_own']})",
            f"{entry['map']['value']:.3f} ({entry['map']['low']:.2f}–{entry['map']['high']:.2f})",
            f"{entry['map']['p_value']:.2g}",
            *(_spread(entry["kmeans"][name]) for name in PANELS),
            *(
                f"{part['value']:.2f} ({part['chance']:.2f})" if part else "–"
                for part in (entry["nuisance"]["batch"], entry["nuisance"]["cells"])
            ),
        ]
        for entry in scores
    ]
    random = scores[0]["kmeans"]["random"]
    chance = [_spread(random[name]) for name in PANELS]
    rows.append(["chance", "", f"{scores[0]['map']['chance']:.3f}", "", *chance, "", ""])
    figure = _figure(12.5, 0.5 + 0.32 * (len(rows) + 1))
    axis = figure.subplots()
    axis.axis("off")
    table = axis.table(rows, colLabels=header, loc="center", cellLoc="center", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.auto_set_column_width(list(range(len(header))))
    table.scale(1, 1.5)
    return figure


def _spread(part: dict[str, Any]) -> str:
    unscored = part["mean"] is None or np.isnan(part["mean"])
    return "–" if unscored else f"{part['mean']:.3f} ± {part['sd']:.3f}"


def differences_figure(scores: Scores) -> "Figure | None":
    """Difference in mAP of every pair of methods, with its bootstrap interval over complexes."""
    pairs = [
        (f"{entry['method']} − {line['other']}", line)
        for index, entry in enumerate(scores)
        for line in entry["differences"]
        if line["score"] == "map" and line["other"] in [later["method"] for later in scores[index + 1 :]]
    ]
    if not pairs:
        return None
    figure = _figure(7, 1.0 + 0.35 * len(pairs))
    axis = figure.subplots()
    for place, (_, line) in enumerate(pairs):
        axis.plot([line["low"], line["high"]], [place, place], color=COLOURS[0], linewidth=2)
        axis.plot(line["value"], place, "o", color=COLOURS[0])
    axis.axvline(0, color=CHANCE, linewidth=0.8)
    axis.set_yticks(range(len(pairs)), [label for label, _ in pairs])
    axis.set(xlabel="difference in mAP, interval over complexes", ylim=(len(pairs) - 0.5, -0.5))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES: dict[str, Callable[[Scores], "Figure | None"]] = {
    "sweep": sweep_figure,
    "complexes": complexes_figure,
    "scores": scores_figure,
    "differences": differences_figure,
}
