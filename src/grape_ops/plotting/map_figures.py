"""Figures of gene maps: genes in the plane by several methods, and mAP along training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.plotting.figure import CHANCE, COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = ("o", "s", "D", "^", "v", "P", "X")
UNKNOWN = "#c4c4c4"
LONGEST_NAME = 30  # letters of a complex's name in the legend
MAP_NAMES = {
    "map_ema": "M, EMA",
    "map": "M, no EMA",
    "map_style_ema": "F(M), EMA",
    "map_style": "F(M), no EMA",
}
_LINES = {
    "map_ema": (COLOURS[0], "-"),
    "map": (COLOURS[0], ":"),
    "map_style_ema": (COLOURS[1], "-"),
    "map_style": (COLOURS[1], ":"),
}


@dataclass(frozen=True)
class Plane:
    """Genes in the plane.

    Attributes
    ----------
    kind : what the axes are, such as UMAP.
    genes : (n,) symbols.
    places : (n, 2).
    """

    kind: str
    genes: Sequence[str]
    places: np.ndarray


def maps_figure(planes: Mapping[str, Plane], complexes: Mapping[str, Sequence[str]]) -> "Figure":
    """Genes in the plane by several methods side by side, coloured by complex (Fig. 3).

    Parameters
    ----------
    planes : method -> its plane.
    complexes : name -> the genes to colour, each in one complex only.
    """
    columns = len(planes) if len(planes) <= 4 else 3
    rows = -(-len(planes) // columns)
    wide = min(4, max(1, columns + 1))
    legend = 0.18 * -(-(len(complexes) + 1) // wide) + 0.1
    figure = new_figure(2.6 * columns + 0.4, 2.5 * rows + legend, dense=True)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (method, plane) in zip(axes, planes.items(), strict=False):
        _genes(axis, plane.places, np.array(plane.genes), complexes)
        axis.set_title(method, fontsize=9)
        axis.set_xlabel(plane.kind, fontsize=7, color="#777777")
    for axis in axes[len(planes) :]:
        axis.axis("off")
    handles, labels = axes[0].get_legend_handles_labels()
    if complexes:
        figure.legend(handles, labels, loc="outside lower center", ncols=wide, frameon=False, fontsize=7)
    return figure


def _genes(axis: "Axes", places: np.ndarray, names: np.ndarray, complexes: Mapping[str, Sequence[str]]) -> None:
    known = {gene for genes in complexes.values() for gene in genes}
    others = ~np.isin(names, list(known))
    # Genes of no known complex lie below, and do not hide the others.
    if others.any():
        label = "no known complex" if known else "genes"
        axis.scatter(places[others, 0], places[others, 1], s=10, color=UNKNOWN, linewidths=0, label=label)
    for index, (complex_, genes) in enumerate(complexes.items()):
        own = np.isin(names, list(genes))
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index // len(COLOURS) % len(MARKS)]
        label = complex_ if len(complex_) <= LONGEST_NAME else complex_[: LONGEST_NAME - 1] + "…"
        look: dict[str, Any] = {"s": 22, "color": colour, "marker": mark, "linewidths": 0.3, "edgecolors": "white"}
        axis.scatter(places[own, 0], places[own, 1], label=label, **look)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_color("#cccccc")
    axis.margins(0.06)


def training_figure(metrics: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """MAP along training, with and without the filter over weights, beside its chance level (Fig. 5).

    ``metrics`` are lines of metrics.jsonl; None if mAP was logged fewer than two times.
    """
    lines = [line for line in metrics if line.get("map") is not None]
    if len(lines) < 2:
        return None
    figure = new_figure(4.6, 3.0, dense=True)
    axis = figure.subplots()
    steps = [line["step"] for line in lines]
    for key, (colour, dash) in _LINES.items():
        values = [line.get(key) for line in lines]
        if any(value is not None for value in values):
            heights = np.array([np.nan if value is None else value for value in values], dtype=float)
            axis.plot(steps, heights, dash, color=colour, label=MAP_NAMES[key], linewidth=1.6)
    axis.plot(steps, [line["map_chance"] for line in lines], "--", color=CHANCE, label="chance", linewidth=1)
    axis.set(xlabel="training step", ylabel="mAP", ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, ncols=2)
    return figure
