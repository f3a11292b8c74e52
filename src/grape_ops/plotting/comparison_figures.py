"""Figure of two maps compared: how many neighbours each gene keeps."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.plotting.figure import CHANCE, COLOURS, new_figure
from grape_ops.schema import GENE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 12  # points whose names are drawn
_AT_ONE_PLACE = 1  # names at a point where several genes coincide


def neighbours_figure(genes: pd.DataFrame, n: int, expected: float) -> "Figure":
    """Neighbours that genes keep: between A and B over within a side, or counted where there is no null.

    Parameters
    ----------
    genes : rows of genes.tsv that both maps have.
    n : nearest genes compared.
    expected : neighbours kept at random.
    """
    figure = new_figure(4.6, 4.2)
    axis = figure.subplots()
    if "kept_within" in genes:
        _within_and_between(axis, genes, n, expected)
    else:
        counts = np.bincount(genes["kept"].astype(int), minlength=n + 1)
        axis.bar(np.arange(n + 1), counts, color=COLOURS[0])
        axis.axvline(expected, color=CHANCE, linestyle=":", label="expected at random")
        axis.set(xlabel=f"neighbours kept from A to B, of {n}", ylabel="genes", title="No null at hand")
        axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _within_and_between(axis: "Axes", genes: pd.DataFrame, n: int, expected: float) -> None:
    moved = (genes["moved"] == "yes").to_numpy()
    # Shares of few neighbours take few values: points that coincide are moved apart a little.
    apart = np.random.default_rng(0).uniform(-0.015, 0.015, (len(genes), 2)) * n
    x, y = genes["kept_within"].to_numpy() + apart[:, 0], genes["kept_between"].to_numpy() + apart[:, 1]
    size = float(np.clip(4000 / len(genes), 4, 24))
    axis.plot([0, n], [0, n], color=CHANCE, linewidth=1)
    axis.scatter(x[~moved], y[~moved], s=size, color="#9a9a9a", linewidths=0, label="no evidence that it moved")
    axis.scatter(x[moved], y[moved], s=size, color=COLOURS[1], linewidths=0, label="moved")
    places = genes[moved].groupby(["kept_within", "kept_between"])[GENE].agg(list).reset_index()
    places = places.iloc[np.argsort(places["kept_between"] - places["kept_within"], kind="stable")].head(_NAMED)
    for within, between, names in places.itertuples(index=False):
        text = ", ".join(names[:_AT_ONE_PLACE]) + (f" +{len(names) - _AT_ONE_PLACE}" * (len(names) > _AT_ONE_PLACE))
        side, away = ("right", -6) if within > 0.7 * n else ("left", 6)
        place = {"xytext": (away, 0), "textcoords": "offset points"}
        axis.annotate(text, (within, between), fontsize=6, ha=side, va="center", **place)  # type: ignore[arg-type]
    axis.axhline(expected, color=CHANCE, linestyle=":", linewidth=1, label="expected at random")
    axis.set(xlim=(-0.03 * n, 1.03 * n), ylim=(-0.03 * n, 1.03 * n))
    axis.set(xlabel=f"neighbours kept between two maps of one side, of {n}", ylabel=f"between A and B, of {n}")
    axis.legend(frameon=False, fontsize=7, loc="upper left")
