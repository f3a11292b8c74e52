"""How far restyled cells can be trusted, as one figure."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.evaluate.score_figures import CHANCE, COLOURS
from grape_ops.schema import GENE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def restyle_figure(genes: pd.DataFrame, kinds: pd.DataFrame, scores: dict[str, Any]) -> "Figure":
    """Draw direction and distance of every pseudo-gene, and the strength of each kind of trait.

    Parameters
    ----------
    genes, kinds : the tables ``restyle.tsv`` and ``restyle_kinds.tsv``.
    scores : name -> scores, with the reference ``mean_knockout``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 2.6 + 0.16 * len(genes)), layout="constrained")
    figure.suptitle("Do restyled control cells look as the same cells do with the effect planted?")
    first, second, third = figure.subplots(1, 3)
    ordered = genes.sort_values("direction", ignore_index=True)
    _dots(first, ordered, "direction", scores)
    first.set(title="Changed in the right direction?", xlabel="cosine with the planted change (1: the same)")
    _dots(second, ordered, "distance_left", scores)
    second.axvline(1, color=CHANCE, linewidth=1)
    second.set(title="How far is left to go?", xlabel="distance left (0: arrived, 1: as untouched cells)")
    second.set_yticklabels([])
    places = np.arange(len(kinds))
    third.barh(places, kinds["strength"], color=COLOURS[0])
    third.axvline(0, color=CHANCE, linewidth=1)
    third.axvline(1, color=CHANCE, linewidth=1, linestyle=":")
    third.set_yticks(places, kinds["kind"])
    third.set(title="Which kinds of change are painted?", xlabel="strength (0: not at all, 1: as planted)")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _dots(axis: "Axes", genes: pd.DataFrame, name: str, scores: dict[str, Any]) -> None:
    """Restyled and real cells of every gene, and what the mean knock-out would give."""
    places = np.arange(len(genes))
    axis.scatter(genes[f"{name}_of_real_cells"], places, color=CHANCE, s=18, label="real cells of the gene")
    axis.scatter(genes[name], places, color=COLOURS[0], s=24, label="restyled cells")
    axis.axvline(scores["mean_knockout"][name], color=COLOURS[1], linestyle=":", label="mean of all genes' effects")
    axis.axvline(0, color=CHANCE, linewidth=1)
    axis.set_yticks(places, genes[GENE], fontsize=7)
