"""Figures of calibration and trust: detection limits, agreement of halves, and how far restyling can be trusted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.plotting.figure import CHANCE, COLOURS, new_figure
from grape_ops.schema import GENE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "effect_size": "effect size (natural sd)",
    "cells_per_gene": "cells per gene",
    "penetrance": "penetrance",
}


def recovery_figure(recovery: pd.DataFrame, detected: float, scales: Mapping[str, str]) -> "Figure":
    """Recovery over effect size, cells per gene and penetrance: mean and one sd over screens, one line per method.

    Parameters
    ----------
    recovery : recovery.tsv.
    detected : recovery that counts as detected, marked by a line.
    scales : what is varied -> "linear" or "log", one panel each.
    """
    figure = new_figure(11, 3.6)
    axes = figure.subplots(1, len(scales), sharey=True)
    methods = list(recovery["method"].unique())
    for axis, (varied, scale) in zip(axes, scales.items(), strict=True):
        curve = recovery[recovery["varied"] == varied]
        for method, colour in zip(methods, COLOURS * (len(methods) // len(COLOURS) + 1), strict=False):
            line = curve[curve["method"] == method].sort_values(varied)
            axis.errorbar(
                line[varied], line["recovered"], yerr=line["sd"].fillna(0), color=colour, marker="o", ms=4, label=method
            )
        axis.axhline(0, color=CHANCE, linewidth=1)
        axis.axhline(detected, color=CHANCE, linewidth=1, linestyle=":")
        held = [f"{LABELS[other].split(' (')[0]} {curve[other].iloc[0]:g}" for other in scales if other != varied]
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


def similarities_figure(pairs: Mapping[str, np.ndarray], table: pd.DataFrame) -> "Figure":
    """Cosines of all pairs of genes in the maps of both halves, one panel per method.

    Parameters
    ----------
    pairs : method -> (pairs, 2) cosines.
    table : reproducibility.tsv.
    """
    figure = new_figure(3.2 * len(pairs) + 0.4, 3.6)
    axes = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axis, (method, cosines), colour in zip(axes, pairs.items(), COLOURS * len(pairs), strict=False):
        size = float(np.clip(4000 / len(cosines), 0.5, 12))
        axis.scatter(*cosines.T, s=size, color=colour, alpha=0.5, linewidths=0, rasterized=True)
        row = table.set_index("method").loc[method]
        axis.set(title=f"{method}: {row['correlation']:.2f}", xlabel="cosine, first half", ylabel="cosine, second half")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def cells_figure(table: pd.DataFrame, fits: Mapping[tuple[str, str], tuple[float, float, float] | None]) -> "Figure":
    """MAP, share of hits and agreement over cells per gene: draws, and the saturating curve where one was fitted.

    Parameters
    ----------
    table : cells.tsv.
    fits : method and score -> chance, plateau and the number of cells half way between.
    """
    titles = {"map": "mAP", "hits": "share of genes with a phenotype", "agreement": "agreement of two maps (Spearman)"}
    shown = [score for score in titles if table[score].notna().any()]
    figure = new_figure(4.2 * len(shown) + 0.4, 3.8)
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    colours = dict(zip(table["method"].unique(), COLOURS * len(table), strict=False))
    for axis, score in zip(axes, shown, strict=True):
        for method, own in table[table[score].notna()].groupby("method", sort=False):
            axis.scatter(own["cells_per_gene"], own[score], color=colours[method], s=16, alpha=0.7, label=method)
            if fit := fits.get((str(method), score)):
                chance, plateau, half = fit
                n = np.geomspace(own["cells_per_gene"].min(), 4 * table["cells_per_gene"].max(), 100)
                axis.plot(n, chance + (plateau - chance) * n / (n + half), color=colours[method], linewidth=1)
        if score == "map":
            axis.axhline(table["chance"].mean(), color=CHANCE, linewidth=1, linestyle=":")
        axis.axvline(table["cells_per_gene"].max(), color=CHANCE, linewidth=1)
        axis.set(xscale="log", xlabel="cells per gene (median; line: this screen)", title=titles[score])
        axis.spines[["top", "right"]].set_visible(False)
        values = table.groupby("one_of")["cells_per_gene"].median().sort_values()
        axis.set_xticks(values, [f"{value:.0f}" for value in values])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8)
    return figure


def restyling_figure(genes: pd.DataFrame, kinds: pd.DataFrame, mean_knockout: Mapping[str, float]) -> "Figure":
    """Direction and distance of every pseudo-gene, and the strength of each kind of trait.

    Parameters
    ----------
    genes, kinds : restyle.tsv and restyle_kinds.tsv.
    mean_knockout : direction and distance_left that the mean of all genes' effects reaches.
    """
    figure = new_figure(13, 2.6 + 0.16 * len(genes))
    figure.suptitle("Do restyled control cells look as the same cells do with the effect planted?")
    first, second, third = figure.subplots(1, 3)
    ordered = genes.sort_values("direction", ignore_index=True)
    _dots(first, ordered, "direction", mean_knockout)
    first.set(title="Changed in the right direction?", xlabel="cosine with the planted change (1: the same)")
    _dots(second, ordered, "distance_left", mean_knockout)
    second.axvline(1, color=CHANCE, linewidth=1)
    second.set(title="How far is left to go?", xlabel="distance left (0: arrived, 1: as untouched cells)")
    second.set_yticklabels([])
    places = np.arange(len(kinds))
    third.barh(places, kinds["strength"], color=COLOURS[0])
    third.axvline(0, color=CHANCE, linewidth=1)
    third.axvline(1, color=CHANCE, linewidth=1, linestyle=":")
    third.set_yticks(places, kinds["kind"])
    third.set(title="Which kinds of change are restyled?", xlabel="strength (0: not at all, 1: as planted)")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _dots(axis: "Axes", genes: pd.DataFrame, name: str, mean_knockout: Mapping[str, float]) -> None:
    """Restyled and real cells of every gene, and what the mean knock-out would give."""
    places = np.arange(len(genes))
    axis.scatter(genes[f"{name}_of_real_cells"], places, color=CHANCE, s=18, label="real cells of the gene")
    axis.scatter(genes[name], places, color=COLOURS[0], s=24, label="restyled cells")
    axis.axvline(mean_knockout[name], color=COLOURS[1], linestyle=":", label="mean of all genes' effects")
    axis.axvline(0, color=CHANCE, linewidth=1)
    axis.set_yticks(places, genes[GENE], fontsize=7)
