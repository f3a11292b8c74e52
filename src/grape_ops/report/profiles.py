"""Heat map of genes by image statistics: what changes in the cells of each gene that has a phenotype.

Letters: G genes, V image statistics.
"""

from typing import Any

import numpy as np

from grape_ops.cells.averages import robust_sd
from grape_ops.cells.store import CropStore
from grape_ops.methods.statistics import crop_statistics, statistic_names
from grape_ops.randomness import ReportStream, generator
from grape_ops.report.inputs import ReportInputs
from grape_ops.report.report_figures import Figure, base_figure, plain

MOST_GENES = 60  # the most significant ones
MOST_CELLS, MOST_CONTROLS = 150, 1_000  # of a gene, and in all
LEAST_CELLS = 10  # of a gene, or of the control; medians of fewer say nothing
BETWEEN = "between channels"
GROUPS = {"mean": "intensity", "quantile": "intensity", "ring": "radial", "correlation": BETWEEN}  # others: texture
GROUP_ORDER = ("intensity", "texture", "radial", BETWEEN)


def profiles(inputs: ReportInputs) -> Figure | None:
    """The heat map; None without a store, a result of `grape-ops hits`, or two genes with a phenotype."""
    store, found = inputs.store, inputs.phenotypes
    if store is None or found is None:
        return None
    hits = [str(gene) for gene in found.genes.index[found.genes["is_hit"].astype(bool)]]
    label = {str(name): row for row, name in enumerate(store.perturbations)}
    genes, deviations = gene_deviations(
        store, {gene: label[gene] for gene in hits[:MOST_GENES] if gene in label}, inputs.run.config.seed
    )
    if len(genes) < 2:
        return None
    order = clustered(deviations)
    return heat_map([genes[row] for row in order], deviations[order], tuple(store.channels))


def gene_deviations(store: CropStore, labels: dict[str, int], seed: int) -> tuple[list[str], np.ndarray]:
    """Median statistics of genes in robust standard deviations from control cells: names, and (G, V).

    Cells are drawn at random. Genes of fewer than ``LEAST_CELLS`` cells are left out, all of them without controls.
    """
    rng = generator(seed, ReportStream.PROFILES)

    def drawn(row: int, most: int) -> np.ndarray:
        cells = np.sort(rng.permutation(np.flatnonzero(store.labels == row))[:most])
        return crop_statistics(store.standardized(cells)) if len(cells) >= LEAST_CELLS else np.empty((0, 0))

    control = drawn(store.control_label, MOST_CONTROLS)
    if not len(control):
        return [], np.empty((0, 0))
    middle = np.median(control, axis=0)
    # Over all batches: crops are standardised within theirs, and the cells drawn are too few for a median of each.
    spread = np.maximum(robust_sd(control - middle), 1e-6)
    rows = {gene: values for gene, label in labels.items() if len(values := drawn(label, MOST_CELLS))}
    deviations = [(np.median(values, axis=0) - middle) / spread for values in rows.values()]
    return list(rows), np.array(deviations)


def clustered(deviations: np.ndarray) -> np.ndarray:
    """Order of the genes in which alike ones are neighbours: (G, V) -> (G,)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    return np.asarray(leaves_list(linkage(deviations, "average", optimal_ordering=True)))


def by_channel(channels: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Channel, group and place of each statistic, ordered by channel and group."""
    found = []
    for place, name in enumerate(statistic_names(channels)):
        group = GROUPS.get(name.split("_")[0], "texture")
        channel = next((part for part in channels if name.endswith(f"_{part}")), "") if group != BETWEEN else ""
        found.append((channel, group, place))
    rank = {channel: row for row, channel in enumerate((*channels, ""))}
    return sorted(found, key=lambda part: (rank[part[0]], GROUP_ORDER.index(part[1]), part[2]))


def heat_map(genes: list[str], deviations: np.ndarray, channels: tuple[str, ...]) -> Figure:
    """Draw genes (rows, in their order) by statistics."""
    names, columns = statistic_names(channels), by_channel(channels)
    places = [place for _, _, place in columns]
    shown = deviations[:, places]
    limit = max(1.0, float(np.quantile(np.abs(shown), 0.98)))
    blocks: dict[tuple[str, str], list[int]] = {}
    for column, (channel, group, _) in enumerate(columns):
        blocks.setdefault((channel, group), []).append(column)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": shown.round(3).tolist(),
        "x": list(range(len(places))),
        "y": [plain(gene) for gene in genes],
        "text": [[plain(names[place].replace("_", " ")) for place in places]] * len(genes),
        "hovertemplate": "<b>%{y}</b><br>%{text}: %{z:.2f}<extra></extra>",
        "colorscale": [[0, "#2166ac"], [0.5, "#f7f7f7"], [1, "#b2182b"]],  # less is blue, more is red
        "zmid": 0,
        "zmin": -limit,
        "zmax": limit,
        "colorbar": {"title": {"text": "robust<br>deviations"}, "thickness": 12, "len": 0.9},
    }
    figure = base_figure([trace], "", "")
    edge = {"type": "line", "yref": "paper", "y0": 0, "y1": 1}
    for (channel, _), (_, last) in zip(blocks, ((part[0], part[-1]) for part in blocks.values()), strict=True):
        if last + 1 < len(columns):
            thick = columns[last + 1][0] != channel
            line = {"color": "var(--ink)" if thick else "var(--line)", "width": 1.5 if thick else 1}
            figure["layout"]["shapes"].append(edge | {"x0": last + 0.5, "x1": last + 0.5, "line": line})
    figure["layout"]["xaxis"] |= {
        "tickvals": [sum(part) / len(part) for part in blocks.values()],
        "ticktext": [plain(f"{channel} {group}".strip()) for channel, group in blocks],
        "tickangle": -45,
        "automargin": True,
        "showgrid": False,
    }
    figure["layout"]["yaxis"] |= {"type": "category", "automargin": True, "dtick": 1, "tickfont": {"size": 11}}
    # A narrow screen has room for the channels only; its groups are told by pointing.
    by: dict[str, list[int]] = {}
    for (channel, _), part in blocks.items():
        by.setdefault(channel or BETWEEN, []).extend(part)
    narrow = {"tickvals": [sum(part) / len(part) for part in by.values()], "ticktext": [plain(name) for name in by]}
    figure["layout"]["meta"] = {"narrow": narrow}
    figure["layout"] |= {"height": 190 + 16 * len(genes), "hovermode": "closest", "showlegend": False}
    return figure
