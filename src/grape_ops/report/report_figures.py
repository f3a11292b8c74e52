"""The figures of the page, one function each, as Plotly's JSON.

Colours are CSS variables such as ``var(--c0)``; the page's script puts the current theme's values in their place, so
that one figure serves light and dark.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grape_ops.evaluate.records import MethodScores
from grape_ops.plotting.phenotype_figures import SHARES

Figure = dict[str, Any]

COLOURS = 10  # --c0 to --c9
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")


def colour(index: int) -> str:
    """One of the theme's ten series colours."""
    return f"var(--c{index % COLOURS})"


def plain(text: str) -> str:
    """Escape what Plotly would take for markup."""
    return html.escape(str(text), quote=False)


def complex_scores(scores: Sequence[MethodScores]) -> Figure | None:
    """MAP of each complex, one mark per method; None without scores."""
    if not scores:
        return None
    first = scores[0].complexes
    order = np.argsort(np.nan_to_num(np.array(first.map, dtype=float)))
    traces = []
    for index, entry in enumerate(scores):
        part = entry.complexes
        value = dict(zip(part.complex, part.map, strict=True))
        chance_p = dict(zip(part.complex, part.p_value, strict=True))
        names = [first.complex[i] for i in order]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(entry.method),
                "x": [value.get(name) for name in names],
                "y": [f"{plain(name)} ({first.n_genes[i]})" for name, i in zip(names, order, strict=True)],
                "customdata": [chance_p.get(name) for name in names],
                "hovertemplate": "%{y}<br>mAP %{x:.3f}, p = %{customdata:.2g}<extra>%{fullData.name}</extra>",
                "marker": {"size": 11, "color": colour(index), "symbol": SYMBOLS[index % len(SYMBOLS)]},
            }
        )
    figure = base_figure(traces, "mAP of its genes", "")
    figure["layout"]["xaxis"] |= {"range": [0, 1.04]}
    figure["layout"]["yaxis"] |= {"automargin": True, "type": "category"}
    figure["layout"] |= {"height": 130 + 26 * len(order), "hovermode": "closest"}
    return figure


def gene_map(
    plane: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    control: Sequence[int],
    hover: Sequence[str],
    quiet: Sequence[int] = (),
) -> Figure:
    """Genes in the plane (as in Fig. 3), coloured and shaped by complex; the control row is a mark of its own.

    Parameters
    ----------
    plane : (P, 2) positions, the control row's included.
    groups : name in the legend -> rows; the group with an empty name holds genes of no known complex.
    control : rows of the control.
    hover : what each row shows when pointed at; escaped already.
    quiet : rows of genes without evidence of a phenotype, which are grey whatever their group.
    """
    traces = []
    grey = set(quiet)
    groups = {name: [row for row in rows if row not in grey] for name, rows in groups.items()}
    for index, (group, rows) in enumerate((name, rows) for name, rows in groups.items() if name):
        if not rows:
            continue
        symbol = SYMBOLS[(index // COLOURS) % len(SYMBOLS)]
        traces.append(_points(plain(group), rows, plane, hover, colour(index), symbol, 12))
    if groups.get(""):
        label = "no known complex" if traces else "genes"
        shade = "var(--faint)" if traces else colour(0)
        traces.insert(0, _points(label, groups[""], plane, hover, shade, "circle", 10))
    if len(quiet):
        traces.insert(0, _points("no evidence of a phenotype", quiet, plane, hover, "var(--faint)", "circle-open", 9))
        traces[0]["marker"]["line"] = {"width": 1.5, "color": "var(--faint)"}
    if len(control):
        traces.append(_points("non-targeting control", control, plane, hover, "var(--ink)", "x-thin", 13))
        traces[-1]["marker"]["line"] = {"width": 3, "color": "var(--ink)"}
    figure = base_figure(traces, "", "")
    for axis in ("xaxis", "yaxis"):
        figure["layout"][axis] |= {"showticklabels": False, "zeroline": False}
    figure["layout"] |= {"height": 560, "hovermode": "closest", "dragmode": "pan", "margin": _margin(12, 12)}
    figure["layout"]["legend"] = {
        "orientation": "v",
        "x": 1.01,
        "y": 0.94,
        "font": {"size": 12},
        "itemsizing": "constant",
    }
    return figure


def cells_per_gene(counts: Sequence[int]) -> Figure:
    """Histogram of the number of cells a gene has."""
    trace = {
        "type": "histogram",
        "x": list(map(int, counts)),
        "nbinsx": 24,
        "marker": {"color": colour(0), "line": {"width": 1, "color": "var(--surface)"}},
        "hovertemplate": "%{x} cells: %{y} genes<extra></extra>",
    }
    figure = base_figure([trace], "cells of a gene", "genes")
    figure["layout"]["showlegend"] = False
    return figure


def cells_per_batch(batches: Sequence[str], cells: Sequence[int], controls: Sequence[int]) -> Figure:
    """Knock-out and control cells of each batch, stacked."""
    series = (("knock-out cells", np.subtract(cells, controls), 0), ("control cells", np.array(controls), 1))
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": [plain(batch) for batch in batches],
            "y": values.tolist(),
            "marker": {"color": colour(index)},
            "hovertemplate": "%{x}: %{y:,} %{fullData.name}<extra></extra>",
        }
        for name, values, index in series
    ]
    figure = base_figure(traces, "batch", "cells")
    figure["layout"]["barmode"] = "stack"
    # Names of many batches would only overlap; pointing at a bar shows its name.
    figure["layout"]["xaxis"] |= {"type": "category", "showticklabels": len(batches) <= 24, "automargin": True}
    return figure


def phenotype_shares(
    genes: Sequence[str],
    auc: Sequence[float],
    share: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    words: Sequence[Sequence[str]],
    filled: Sequence[bool],
) -> Figure:
    """How separable each gene is from control, and how much of the way to it restyling covers (as in Fig. 2).

    ``words`` are the lines beside a mark; ``filled`` are those of genes whose restyling is significant.

    Where the way is short any share of it is possible: what lies outside ``SHARES`` is drawn at the edge.
    """
    shown, lower, upper = (np.clip(part, *SHARES) for part in (share, low, high))
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "genes",
        "x": [round(float(value), 4) for value in auc],
        "y": shown.round(4).tolist(),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": np.maximum(upper - shown, 0).round(4).tolist(),
            "arrayminus": np.maximum(shown - lower, 0).round(4).tolist(),
            "color": "var(--faint)",
            "thickness": 1.2,
            "width": 0,
        },
        "hovertext": [
            "<br>".join([f"<b>{plain(gene)}</b>", *map(plain, lines)]) for gene, lines in zip(genes, words, strict=True)
        ],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {
            "size": 10,
            "color": colour(0),
            "symbol": ["circle" if full else "circle-open" for full in filled],
            "line": {"width": 1.5},
        },
    }
    figure = base_figure([trace], "separability of knock-out and control cells (AUC)", "share of the way covered")
    figure["layout"]["shapes"] += [level_line(0.0, "var(--muted)"), level_line(1.0, "var(--muted)")]
    figure["layout"]["yaxis"] |= {"range": [SHARES[0] - 0.1, SHARES[1] + 0.1], "zeroline": False}
    figure["layout"]["xaxis"] |= {"range": [min(0.5, *auc) - 0.02, 1.0] if len(auc) else [0.48, 1.0]}
    trace["cliponaxis"] = False  # a mark at 1 is whole
    figure["layout"] |= {"showlegend": False, "hovermode": "closest", "height": 380}
    return figure


def _points(
    label: str,
    rows: Sequence[int],
    plane: np.ndarray,
    hover: Sequence[str],
    shade: str,
    symbol: str,
    size: int,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "x": plane[list(rows), 0].tolist(),
        "y": plane[list(rows), 1].tolist(),
        "customdata": list(map(int, rows)),
        "hovertext": [hover[row] for row in rows],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"size": size, "color": shade, "symbol": symbol, "line": {"width": 1, "color": "var(--surface)"}},
    }


def level_line(y: float, shade: str) -> dict[str, Any]:
    """Draw a dashed line across a figure."""
    line = {"color": shade, "width": 1, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(y), "y1": float(y), "line": line}


def _margin(left: int = 56, bottom: int = 48) -> dict[str, int]:
    return {"l": left, "r": 12, "t": 12, "b": bottom}


def base_figure(traces: list[dict[str, Any]], x_title: str, y_title: str) -> Figure:
    """Lay out traces as all figures of the page are."""

    def axis(title: str) -> dict[str, Any]:
        return {
            "title": {"text": title, "font": {"size": 13}},
            "gridcolor": "var(--grid)",
            "zerolinecolor": "var(--grid)",
            "linecolor": "var(--line)",
            "tickfont": {"size": 12},
        }

    layout = {
        "height": 300,
        "margin": _margin(),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "color": "var(--ink)"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "var(--surface)", "bordercolor": "var(--line)", "font": {"color": "var(--ink)"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--faint)", "activecolor": "var(--ink)"},
        "showlegend": True,
        "shapes": [],
        "xaxis": axis(x_title),
        "yaxis": axis(y_title),
    }
    return {"data": traces, "layout": layout}
