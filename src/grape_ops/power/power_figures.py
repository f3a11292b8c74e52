"""The detection curves as one figure, drawn from the table of recovery alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.evaluate.score_figures import CHANCE, COLOURS
from grape_ops.power.curves import VARIED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "effect_size": "effect size (natural sd)",
    "cells_per_gene": "cells per gene",
    "penetrance": "penetrance",
}


def recovery_figure(table: pd.DataFrame, detected: float) -> "Figure":
    """Recovery over effect size, cells per gene and penetrance: mean and one sd over screens, a line a method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, len(VARIED), sharey=True)
    methods = list(table["method"].unique())
    for axis, (varied, scale) in zip(axes, VARIED.items(), strict=True):
        curve = table[table["varied"] == varied]
        for method, colour in zip(methods, COLOURS * (len(methods) // len(COLOURS) + 1), strict=False):
            line = curve[curve["method"] == method].sort_values(varied)
            axis.errorbar(
                line[varied], line["recovered"], yerr=line["sd"].fillna(0), color=colour, marker="o", ms=4, label=method
            )
        axis.axhline(0, color=CHANCE, linewidth=1)
        axis.axhline(detected, color=CHANCE, linewidth=1, linestyle=":")
        held = [f"{LABELS[other].split(' (')[0]} {_held(curve, other)}" for other in VARIED if other != varied]
        axis.set(xlabel=LABELS[varied], title=", ".join(held), xscale=scale)
        axis.title.set_fontsize(9)
        if scale == "log":
            values = sorted(curve[varied].unique())
            axis.set_xticks(values, [f"{value:g}" for value in values])
            axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("recovery of complexes\n(mAP; chance 0, perfect 1)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    return figure


def _held(curve: pd.DataFrame, name: str) -> str:
    return f"{curve[name].iloc[0]:g}"


def similarities_figure(pairs: Mapping[str, np.ndarray], table: pd.DataFrame) -> "Figure":
    """Cosines of all pairs of genes in the maps of both halves, a panel a method: (pairs, 2) each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(pairs) + 0.4, 3.6), layout="constrained")
    axes = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axis, (method, cosines), colour in zip(axes, pairs.items(), COLOURS * len(pairs), strict=False):
        size = float(np.clip(4000 / len(cosines), 0.5, 12))
        axis.scatter(*cosines.T, s=size, color=colour, alpha=0.5, linewidths=0, rasterized=True)
        row = table.set_index("method").loc[method]
        axis.set(title=f"{method}: {row['correlation']:.2f}", xlabel="cosine, first half", ylabel="cosine, second half")
        axis.spines[["top", "right"]].set_visible(False)
    return figure
