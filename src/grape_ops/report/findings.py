"""What a screen is run for: which genes have a phenotype, how strong it is, and whether their guides agree."""

from typing import Any

import numpy as np

from grape_ops.evaluate.hits_results import Phenotypes
from grape_ops.report.inputs import ReportInputs
from grape_ops.report.report_figures import Figure, base_figure, colour, level_line, plain
from grape_ops.schema import GENE

TICKS, LOW_TICKS = (0, 1, 10, 50, 100, 200, 300), (0, 1, 2, 3, 4, 6, 8, 10)  # of -log10 q


def findings(inputs: ReportInputs) -> dict[str, Any] | None:
    """Sentences and table of the section, ready for its template; None without a result of `grape-ops hits`.

    Returns
    -------
    ``level``, ``n_genes``, ``n_guides``, ``n_hits``, ``features``, ``calibration``; ``n_untested`` genes of the run;
    ``rows``: name, is_hit, effect, q, cells, guides that agree, all guides, discordant ones, inactive ones, top channel
    (one row per gene, the most significant first); ``discordant`` and ``inactive``: (gene, its guides of that kind).
    """
    found = inputs.phenotypes
    if found is None:
        return None
    lines = found.genes.reset_index().to_dict("records")
    rows = [_row(str(line[GENE]), line, found) for line in lines]
    return {
        "level": f"{found.level:g}",
        "n_genes": len(rows),
        "n_hits": sum(row["is_hit"] for row in rows),
        "n_untested": len(set(inputs.genes) - set(found.genes.index)),
        "features": str(found.summary["settings"].get("features", "")),
        "calibration": found.calibration,
        "rows": rows,
        "channels": "top_channel" in found.genes,
        "n_guides": sum(row["guides"] for row in rows),
        **{kind: [(row["name"], row[kind]) for row in rows if row[kind]] for kind in ("discordant", "inactive")},
    }


def _row(gene: str, line: dict[Any, Any], found: Phenotypes) -> dict[str, Any]:
    agree, tested = found.counts(gene)
    return {
        "name": gene,
        "is_hit": bool(line["is_hit"]),
        "effect": f"{line['effect']:.2f}",
        "q": probability(line["q_value"]),
        "n_cells": int(line["n_cells"]),
        "agree": agree,
        "guides": tested,
        "discordant": found.discordant(gene),
        "inactive": found.inactive(gene),
        "channel": str(line.get("top_channel", "")),
    }


def probability(value: float) -> str:
    """Write p- and q-values as people do: 0.021, 3e-08."""
    return f"{value:.2g}" if value >= 0.001 else f"{value:.0e}"


def volcano(found: Phenotypes) -> Figure:
    """Effect and -log10 q of each gene; genes without evidence of a phenotype are grey.

    A square root leaves room for the many beside the few: q-values of strong genes are beyond all comparison.
    """
    height = found.log_q.to_numpy()
    hit = found.genes["is_hit"].to_numpy(bool)
    names = np.array([plain(gene) for gene in found.genes.index], dtype=object)
    groups = (
        (~hit, "no evidence of a phenotype", "var(--faint)", "circle-open"),
        (hit, "phenotype", colour(1), "circle"),
    )
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{name} ({int(rows.sum())})",
            "x": found.genes["effect"][rows].round(4).tolist(),
            "y": np.sqrt(height[rows]).round(3).tolist(),
            "hovertext": names[rows].tolist(),
            "customdata": height[rows].round(2).tolist(),
            "hovertemplate": "<b>%{hovertext}</b><br>effect %{x:.2f}, -log10 q %{customdata:.1f}<extra></extra>",
            "marker": {"size": 9, "color": shade, "symbol": symbol},
            "cliponaxis": False,
        }
        for rows, name, shade, symbol in groups
        if rows.any()
    ]
    figure = base_figure(traces, "effect (standard deviations of single cells)", "-log10 q (square-root scale)")
    most = max(height.max(), 2)
    ticks = [tick for tick in (TICKS if most > LOW_TICKS[-1] else LOW_TICKS) if tick <= most]
    figure["layout"]["yaxis"] |= {"tickvals": np.sqrt(ticks).tolist(), "ticktext": [f"{tick:g}" for tick in ticks]}
    figure["layout"]["yaxis"] |= {"rangemode": "tozero"}
    figure["layout"]["xaxis"] |= {"rangemode": "tozero"}
    figure["layout"]["shapes"].append(level_line(float(np.sqrt(-np.log10(found.level))), "var(--muted)"))
    figure["layout"] |= {"hovermode": "closest", "height": 380}
    return figure
