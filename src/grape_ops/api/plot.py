"""Figures of results. Each is a matplotlib Figure, which a notebook shows and ``savefig`` writes."""

from typing import TYPE_CHECKING

import numpy as np

from grape_ops.api.inputs import Truth, maps_of, truth_of
from grape_ops.api.judge import Scores
from grape_ops.api.restyling import RestyledCells
from grape_ops.errors import GrapeOpsError
from grape_ops.hits.find_hits import Hits
from grape_ops.plotting.cell_figures import cells_figure
from grape_ops.plotting.figure import for_notebooks
from grape_ops.plotting.hits_figures import volcano_figure
from grape_ops.plotting.map_figures import maps_figure
from grape_ops.plotting.pictures import channel_views
from grape_ops.plotting.score_figures import scores_figure
from grape_ops.report.paper_figures import complexes_to_colour, map_planes

if TYPE_CHECKING:
    from grape_ops.api.inputs import GeneMaps, NamedMaps
    from grape_ops.plotting.figure import Figure


def plot_map(
    maps: "GeneMaps | NamedMaps",
    truth: Truth | None = None,
    *,
    seed: int = 0,
) -> "Figure":
    """Draw genes in the plane, by UMAP, or by principal components without umap-learn or with few genes.

    Parameters
    ----------
    maps : AnnData, str or Path, several of them, or a mapping
        Gene vectors; several maps are drawn side by side, of several runs of one method the first.
    truth : str, Path or DataFrame, optional
        Known complexes, shown in colours.
    seed : int
        Of UMAP.

    Returns
    -------
    Figure

    Raises
    ------
    GrapeOpsError
        A file holds no gene vectors.

    Examples
    --------
    >>> len(go.plot_map("genes.h5ad", "truth.tsv").axes)
    1
    """
    given = {name: runs[0] for name, runs in maps_of(maps).items()}
    planes = map_planes(given, seed)
    known = truth_of(truth) if truth is not None else None
    genes = [gene for plane in planes.values() for gene in plane.genes]
    return for_notebooks(maps_figure(planes, complexes_to_colour(genes, known)))


def plot_hits(hits: Hits) -> "Figure":
    """Draw effect and significance of each gene (a volcano plot).

    Parameters
    ----------
    hits : Hits
        What ``find_hits`` returned.

    Returns
    -------
    Figure

    Examples
    --------
    >>> go.plot_hits(go.find_hits("store")).axes[0].get_xlabel()
    'effect (standard deviations of single cells)'
    """
    return for_notebooks(volcano_figure(hits.genes, hits.q_value))


def plot_scores(scores: Scores) -> "Figure":
    """Draw the scores of methods with their intervals, beside chance.

    Parameters
    ----------
    scores : Scores
        What ``evaluate_maps`` or ``compare_methods`` returned.

    Returns
    -------
    Figure

    Examples
    --------
    >>> scores = go.evaluate_maps("genes.h5ad", "truth.tsv", "tiny.yaml")
    >>> len(go.plot_scores(scores).axes) > 0
    True
    """
    return for_notebooks(scores_figure(scores.table))


def plot_cells(cells: RestyledCells, gene: str | None = None) -> "Figure":
    """Draw real cells, the same cells restyled to a gene, and real cells of that gene.

    Parameters
    ----------
    cells : RestyledCells
        What ``restyle_cells`` returned.
    gene : str, optional
        One of the genes they were restyled to; the first if None.

    Returns
    -------
    Figure
        The composite of all channels, then each channel in grey, all with the same limits.

    Raises
    ------
    GrapeOpsError
        The cells were not restyled to this gene.

    Examples
    --------
    >>> made = go.restyle_cells("run", "AAA", cells=3)
    >>> go.plot_cells(made, "AAA").axes[0].get_title(loc="left")
    'composite'
    """
    name = gene if gene is not None else next(iter(cells.restyled))
    if name not in cells.restyled:
        raise GrapeOpsError(f"The cells were not restyled to {name}, but to {', '.join(cells.restyled)}.")
    knockout = cells.knockout[name]
    views = channel_views(cells.channels, np.concatenate([cells.real, knockout]))
    groups = (cells.real, cells.unchanged, cells.restyled[name], knockout)
    return for_notebooks(cells_figure(*groups, views, gene=name, source=cells.source))
