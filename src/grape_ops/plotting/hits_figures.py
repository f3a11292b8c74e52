"""Figures of hits: the volcano, the calibration of the test, and the channels that carry a phenotype."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.plotting.figure import name_points, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIT, OTHER = "#D55E00", "#9a9a9a"
NAMED = 12  # genes named in the volcano
BRIGHTEST = 30  # -log10 q of the brightest colour in the heat map
SHOWN = 40  # genes of the channels' heat map


def volcano_figure(genes: pd.DataFrame, q_value: float) -> "Figure":
    """Effect and -log10 p of each gene; hits are coloured, the most significant named."""
    figure = new_figure(5, 4)
    axis = figure.subplots()
    height = -np.log10(genes["p_value"])
    hit = genes["is_hit"].to_numpy(bool)
    axis.scatter(genes["effect"][~hit], height[~hit], s=12, color=OTHER, label=f"no phenotype shown ({(~hit).sum()})")
    axis.scatter(genes["effect"][hit], height[hit], s=14, color=HIT, label=f"hits, q < {q_value:g} ({hit.sum()})")
    # A square root leaves room for the many beside the few: p-values of strong genes are beyond all comparison.
    axis.set_yscale("function", functions=(np.sqrt, np.square))
    axis.set(xlabel="effect (standard deviations of single cells)", ylabel="-log10 p (square-root scale)")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    named = np.flatnonzero(hit)[:NAMED]
    name_points(figure, genes["gene_symbol"].iloc[named], genes["effect"].iloc[named], height.iloc[named])
    return figure


def calibration_figure(p_values: np.ndarray) -> "Figure":
    """P-values of pseudo-genes beside those a calibrated test gives, with the band of 95 % of such tests."""
    from scipy import stats

    figure = new_figure(4, 4)
    axis = figure.subplots()
    found = np.sort(p_values)
    rank = np.arange(1, len(found) + 1)
    expected = rank / (len(found) + 1)
    low, high = (stats.beta.ppf(q, rank, len(found) + 1 - rank) for q in (0.025, 0.975))
    axis.fill_between(-np.log10(expected), -np.log10(high), -np.log10(low), color="#dddddd", label="95 % by chance")
    axis.plot([0, -np.log10(expected[0])], [0, -np.log10(expected[0])], color="#555555", lw=0.8)
    label = f"{len(found)} pseudo-genes of non-targeting guides"
    axis.scatter(-np.log10(expected), -np.log10(found), s=10, color="#0072B2", label=label)
    axis.set(xlabel="expected -log10 p", ylabel="found -log10 p")
    axis.set_title(f"{np.mean(p_values < 0.05):.1%} have p < 0.05", fontsize=9)
    axis.legend(fontsize=7, frameon=False, loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def channels_figure(genes: pd.DataFrame, channels: pd.DataFrame) -> "Figure | None":
    """-log10 q of the most significant genes by channel and compartment; None where there are neither, or no hits."""
    hits = genes.loc[genes["is_hit"].to_numpy(bool), "gene_symbol"].head(SHOWN)
    if channels.empty or hits.empty:
        return None
    names = channels[["kind", "name"]].drop_duplicates()
    columns = [tuple(row) for row in names.itertuples(index=False)]
    table = channels.pivot(index="gene_symbol", columns=["kind", "name"], values="q_value").loc[hits, columns]
    values = -np.log10(np.maximum(table.to_numpy(float), 1e-300))
    figure = new_figure(2 + 0.5 * len(columns), 1.4 + 0.18 * len(hits))
    axis = figure.subplots()
    image = axis.imshow(values, aspect="auto", cmap="viridis", vmin=0, vmax=min(values.max(), BRIGHTEST))
    axis.set_xticks(range(len(columns)), names["name"], rotation=45, ha="right", fontsize=7)
    axis.set_yticks(range(len(hits)), hits, fontsize=6)
    for place in np.flatnonzero(names["kind"].to_numpy()[1:] != names["kind"].to_numpy()[:-1]):
        axis.axvline(place + 0.5, color="white", lw=2)  # compartments stand apart from channels
    figure.colorbar(image, label="-log10 q", extend="max" if values.max() > BRIGHTEST else "neither")
    return figure
