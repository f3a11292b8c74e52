"""Figures of an evaluation, drawn from its tables: scores.csv, complexes.tsv, sweep.tsv and differences.tsv."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.plotting.figure import CHANCE, COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {"purity": "purity", "nmi": "NMI", "ami": "AMI", "ari": "ARI"}
MOST_COMPLEXES = 40  # bars that can still be read
LONGEST_NAME = 40  # letters of a complex's name beside its bar


def sweep_figure(sweep: pd.DataFrame, k: int) -> "Figure | None":
    """Clustering scores over the number of clusters, mean and one sd, with random maps (Fig. 4); None without a sweep.

    Parameters
    ----------
    sweep : sweep.tsv.
    k : the number of clusters the scores are reported for, marked by a line.
    """
    if sweep.empty:
        return None
    figure = new_figure(11, 3.2)
    axes = figure.subplots(1, len(PANELS), sharex=True)
    runs = list(sweep.groupby("method", sort=False))
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        for index, (method, lines) in enumerate(runs):
            _envelope(axis, lines, name, COLOURS[index % len(COLOURS)], str(method))
        _envelope(axis, runs[0][1], f"random_{name}", CHANCE, "random maps")
        axis.axvline(k, color=CHANCE, linewidth=0.8, linestyle=":")
        axis.set(title=title, xlabel="clusters k")
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False)
    return figure


def _envelope(axis: "Axes", lines: pd.DataFrame, name: str, colour: str, label: str) -> None:
    ks, mean, sd = (lines[column].to_numpy() for column in ("k", f"{name}_mean", f"{name}_sd"))
    axis.plot(ks, mean, color=colour, label=label, linewidth=1.5)
    axis.fill_between(ks, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)


def complexes_figure(complexes: pd.DataFrame) -> "Figure":
    """Mean AP of each complex beside its chance level, one bar per method, stars at q < 0.05; the highest if many.

    ``complexes`` is complexes.tsv: every method has the same complexes in the same order.
    """
    methods = dict(list(complexes.groupby("method", sort=False)))
    first = next(iter(methods.values())).reset_index(drop=True)
    values = np.array([lines["map"].to_numpy(dtype=float) for lines in methods.values()])
    judged = np.flatnonzero(~np.isnan(values).all(axis=0))
    order = judged[np.argsort(-np.nanmax(values[:, judged], axis=0), kind="stable")][:MOST_COMPLEXES]
    height = 0.8 / len(methods)
    figure = new_figure(8, 1.2 + 0.24 * len(order) * max(1, len(methods) / 2))
    axis = figure.subplots()
    positions = np.arange(len(order))
    for index, (method, lines) in enumerate(methods.items()):
        y = positions + (index - (len(methods) - 1) / 2) * height
        bars = np.nan_to_num(values[index, order])
        axis.barh(y, bars, height, color=COLOURS[index % len(COLOURS)], label=method)
        for place, bar, q in zip(y, bars, lines["q_value"].to_numpy(dtype=float)[order], strict=True):
            if q < 0.05:
                axis.text(bar + 0.005, place, "*", va="center", fontsize=8)
    shown = first.loc[order]
    chance = shown["chance"].to_numpy(dtype=float)
    axis.vlines(chance, positions - 0.45, positions + 0.45, colors="black", linewidth=1.2, label="chance")
    labels = [f"{_short(name)} ({size})" for name, size in zip(shown["complex"], shown["n_genes"], strict=True)]
    axis.set_yticks(positions, labels)
    axis.set(xlabel="mean average precision of the complex's genes; * q < 0.05", xlim=(0, 1.05))
    axis.set_ylim(len(order) - 0.4, -0.6)
    if len(order) < len(judged):
        axis.set_title(f"the {len(order)} highest of {len(judged)} complexes", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"


def scores_figure(scores: pd.DataFrame) -> "Figure":
    """Draw the main scores of scores.csv as a table, chance in the last row."""
    clusterings = {f"k-means {title}": title for title in PANELS.values()}
    nuisances = {f"{name} R squared": f"{name} R² (null)" for name in ("batch", "cells")}
    lines = {(line["method"], line["score"]): line for line in scores.to_dict("records")}
    header = ["method", "genes (own)", "mAP", "p", *clusterings.values(), *nuisances.values()]
    rows = []
    for method in dict.fromkeys(scores["method"]):
        own = {score: line for (name, score), line in lines.items() if name == method}
        score = own["mAP"]
        genes = own.get("mAP, own genes", score)["n"]
        interval = f"{score['value']:.3f} ({score['low']:.2f}–{score['high']:.2f})"
        rows.append(
            [
                method,
                f"{score['n']:.0f} ({genes:.0f})",
                interval,
                f"{score['p_value']:.2g}",
                *(_number(own.get(name), "value", "sd", "{:.3f} ± {:.3f}") for name in clusterings),
                *(_number(own.get(name), "value", "chance", "{:.2f} ({:.2f})") for name in nuisances),
            ]
        )
    chance = [_number(own.get(name), "chance", "chance", "{:.3f}") for name in clusterings]
    rows.append(["chance", "", f"{score['chance']:.3f}", "", *chance, "", ""])
    figure = new_figure(12.5, 0.5 + 0.32 * (len(rows) + 1))
    axis = figure.subplots()
    axis.axis("off")
    table = axis.table(rows, colLabels=header, loc="center", cellLoc="center", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.auto_set_column_width(list(range(len(header))))
    table.scale(1, 1.5)
    return figure


def _number(line: Mapping[Hashable, Any] | None, value: str, beside: str, layout: str) -> str:
    """Two numbers of a row as text, or a dash if they were not scored."""
    return "–" if line is None or not np.isfinite(line[value]) else layout.format(line[value], line[beside])


def differences_figure(differences: pd.DataFrame) -> "Figure | None":
    """Difference in mAP of every pair of methods, with its bootstrap interval over complexes; None without a pair.

    ``differences`` is differences.tsv, which has every pair in both directions.
    """
    place = {method: index for index, method in enumerate(dict.fromkeys(differences["method"]))}
    lines = differences[differences["score"] == "map"]
    pairs = lines[lines["method"].map(place) < lines["other"].map(place)].to_dict("records")
    if not pairs:
        return None
    figure = new_figure(7, 1.0 + 0.35 * len(pairs))
    axis = figure.subplots()
    for row, pair in enumerate(pairs):
        axis.plot([pair["low"], pair["high"]], [row, row], color=COLOURS[0], linewidth=2)
        axis.plot(pair["value"], row, "o", color=COLOURS[0])
    axis.axvline(0, color=CHANCE, linewidth=0.8)
    axis.set_yticks(range(len(pairs)), [f"{pair['method']} − {pair['other']}" for pair in pairs])
    axis.set(xlabel="difference in mAP, interval over complexes", ylim=(len(pairs) - 0.5, -0.5))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
