"""Rows of real and restyled cells, one function per figure (section 4.3).

Letters: n cells, K steps, C channels, H crop size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.plotting.figure import new_figure
from grape_ops.plotting.pictures import ChannelView, composite, grey, in_a_row, in_colour
from grape_ops.schema import CONTROL_LABEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_INCHES = 0.62  # width of a cell in print
# Okabe and Ito: colours that most colour-blind readers can distinguish.
SOURCE_COLOUR, RESTYLED_COLOUR, REAL_COLOUR = "#7f7f7f", "#D55E00", "#0072B2"


def real_name(gene: str) -> str:
    """What real cells of a perturbation are called in figures."""
    return called(gene) if gene == CONTROL_LABEL else f"{gene} knock-out"


def called(gene: str) -> str:
    """A perturbation's name in figures."""
    return "control" if gene == CONTROL_LABEL else gene


def cells_figure(
    real: np.ndarray,
    unchanged: np.ndarray,
    restyled: np.ndarray,
    knockout: np.ndarray,
    views: Sequence[ChannelView],
    *,
    gene: str,
    source: str,
) -> "Figure":
    """Real cells, real knock-outs, and restyled cells between them: composite, then every channel.

    Parameters
    ----------
    real, unchanged, restyled, knockout : (n, C, H, H) cells of the source, the same cells restyled to where they come
        from, which is what the generator does to every cell, and to the gene, and real cells of the gene.
    views : of the channels.
    gene, source : what the cells are restyled to, and what they were.
    """
    labels = (real_name(source), f"restyled to {called(source)}", f"restyled to {called(gene)}", real_name(gene))
    groups = (real, unchanged, restyled, knockout)
    blocks = [("composite", [composite(part, views) for part in groups])] if len(views) > 1 else []
    blocks += [(view.name, [grey(part[:, i], view) for part in groups]) for i, view in enumerate(views)]
    columns = min(2, len(blocks))
    lines = -(-len(blocks) // columns)
    width = CELL_INCHES * len(real)
    figure = new_figure(columns * (width + 1.25), lines * (4 * CELL_INCHES + 0.35) + 0.1, dense=True)
    outer = figure.add_gridspec(lines, columns, hspace=0.08)
    for place, (title, rows) in enumerate(blocks):
        axes = outer[place // columns, place % columns].subgridspec(4, 1, hspace=0.04).subplots(squeeze=False)[:, 0]
        for axis, pictures, label in zip(axes, rows, labels, strict=True):
            show_row(axis, pictures, label, len(real))
        axes[0].set_title(title, fontsize=9, loc="left", fontweight="bold")
        axes[2].yaxis.label.set_color(RESTYLED_COLOUR)
    return figure


def overview_figure(
    real: np.ndarray,
    unchanged: np.ndarray,
    restyled: Sequence[np.ndarray] | np.ndarray,
    knockouts: Sequence[np.ndarray],
    views: Sequence[ChannelView],
    *,
    genes: Sequence[str],
    source: str,
) -> "Figure":
    """The same cells restyled to several genes beside real knock-outs, as composites.

    On top stand the real cells, and the same restyled to where they come from.
    """
    width = CELL_INCHES * len(real)
    figure = new_figure(2 * width + 1.6, (len(genes) + 2) * (CELL_INCHES + 0.04) + 0.5, dense=True)
    axes = figure.subplots(len(genes) + 2, 2, squeeze=False)
    show_row(axes[0, 0], in_colour(real, views), real_name(source), len(real))
    show_row(axes[1, 0], in_colour(unchanged, views), called(source), len(real))
    for axis in axes[:2, 1]:
        axis.axis("off")
    for line, (gene, cells, knockout) in enumerate(zip(genes, restyled, knockouts, strict=True), start=2):
        show_row(axes[line, 0], in_colour(cells, views), called(gene), len(real))
        show_row(axes[line, 1], in_colour(knockout, views), "", len(real))
    axes[1, 0].set_title("restyled to", fontsize=9, loc="left", color=RESTYLED_COLOUR)
    axes[2, 1].set_title("real knock-outs", fontsize=9, loc="left")
    return figure


def strip_figure(
    strips: np.ndarray, real: np.ndarray, target: np.ndarray, views: Sequence[ChannelView], start: str, end: str
) -> "Figure":
    """Cells on the way from one perturbation to another: real cell, the way in equal steps, and a real target cell.

    Parameters
    ----------
    strips : (n, K, C, H, H), one row of pictures per cell.
    real, target : (n, C, H, H) the cells themselves, and real cells of the target.
    views : of the channels.
    start, end : names of the ends.
    """
    n, steps = strips.shape[:2]
    figure = new_figure(CELL_INCHES * (steps + 2) + 0.7, n * (CELL_INCHES + 0.05) + 0.5, dense=True)
    axes = figure.subplots(n, 3, squeeze=False, gridspec_kw={"width_ratios": (1, steps, 1)})
    for line in range(n):
        show_row(axes[line, 0], in_colour(real[line : line + 1], views), "", 1)
        show_row(axes[line, 1], in_colour(strips[line], views), "", steps)
        show_row(axes[line, 2], in_colour(target[line : line + 1], views), "", 1)
    titles = ("real", f"restyled: {start} → {end}", f"real\n{end}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    return figure


def show_row(axis: "Axes", pictures: np.ndarray, label: str, places: int) -> None:
    """Cells in a row, padded with white up to ``places``, under one label at the left."""
    if len(pictures) < places:
        blank = np.ones((places - len(pictures), *pictures.shape[1:]))
        pictures = np.concatenate([pictures, blank])
    axis.imshow(in_a_row(pictures), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
