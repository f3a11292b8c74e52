"""Plots of the phenotype check and of gene directions, one function each (section 4.3, Fig. 2).

Letters: C channels, H crop size, R rings.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from grape_ops.plotting.cell_figures import CELL_INCHES, REAL_COLOUR, RESTYLED_COLOUR, SOURCE_COLOUR, show_row
from grape_ops.plotting.figure import new_figure
from grape_ops.plotting.pictures import ChannelView, in_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

SET_COLOURS = {"control": SOURCE_COLOUR, "restyled": RESTYLED_COLOUR, "knock-out": REAL_COLOUR}
SHARES = (-2.0, 1.25)  # shown
MOST_NAMED = 60  # genes whose names still fit beside their marks


def phenotype_figure(
    gene: str,
    values: pd.DataFrame,
    note: str,
    pictures: Sequence[np.ndarray] | None = None,
    views: Sequence[ChannelView] = (),
) -> "Figure":
    """Fig. 2 of one gene: its cells, and the distributions of its top features in control, restyled and real cells.

    Parameters
    ----------
    gene : its symbol.
    values : columns set, feature, value; features in the order they are to have.
    note : beside the title, such as how much restyling covers.
    pictures : control cells, the same restyled to control and to the gene, and knock-out cells (n, C, H, H each), if
        they are to be shown.
    views : of their channels.
    """
    features = list(dict.fromkeys(values["feature"]))
    shown = len(pictures[0]) if pictures else 0
    height = 4 * CELL_INCHES + 0.2 if pictures else 0
    width = max(1.75 * max(len(features), 1), CELL_INCHES * shown + 1.3)
    figure = new_figure(width, height + 2.5, dense=True)
    figure.suptitle(f"{gene}: {note}", fontsize=10, x=0.01, ha="left")
    parts = figure.add_gridspec(2, 1, height_ratios=(max(height, 0.01), 2.2))
    if pictures:
        axes = parts[0].subgridspec(4, 1, hspace=0.04).subplots(squeeze=False)[:, 0]
        labels = ("control", "restyled to control", f"restyled to {gene}", f"{gene} knock-out")
        for axis, part, label in zip(axes, pictures, labels, strict=True):
            show_row(axis, in_colour(part, views), label, shown)
    if features:
        axes = parts[1].subgridspec(1, len(features)).subplots(squeeze=False)[0]
        for axis, feature in zip(axes, features, strict=True):
            _distributions(axis, values[values["feature"] == feature])
            axis.set_title(_folded(feature), fontsize=7)
        axes[0].set_ylabel("standard deviations\nof control cells", fontsize=8)
    return figure


def _distributions(axis: "Axes", values: pd.DataFrame) -> None:
    """One violin per set, with quartiles; cut where a thousandth of all cells lies beyond."""
    low, high = np.quantile(values["value"], [0.001, 0.999])
    for place, (name, colour) in enumerate(SET_COLOURS.items()):
        part = values.loc[values["set"] == name, "value"].to_numpy()
        if len(part) < 2:
            continue
        if np.ptp(part) > 0:
            violin = axis.violinplot(np.clip(part, low, high), [place], widths=0.85, showextrema=False)
            for body in cast("list[PolyCollection]", violin["bodies"]):
                body.set(facecolor=colour, alpha=0.45, edgecolor="none")
        lower, middle, upper = np.quantile(part, [0.25, 0.5, 0.75])
        axis.vlines(place, lower, upper, color=colour, linewidth=3)
        axis.plot(place, middle, "o", color="white", markeredgecolor=colour, markersize=4.5)
    axis.set_xticks(range(len(SET_COLOURS)), list(SET_COLOURS), fontsize=7, rotation=30, ha="right")
    axis.tick_params(axis="y", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _folded(feature: str) -> str:
    """A feature's name over as many lines as it has parts."""
    lines: list[str] = []
    for word in feature.split("_"):
        if lines and len(lines[-1]) + len(word) < 16:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def shares_figure(table: pd.DataFrame) -> "Figure":
    """How far restyling covers the way from control to knock-out, for every gene separable from control."""
    scored = table[table["separable"] & table["share"].notna()].sort_values("share", ascending=False)
    left_out = table[~table["gene_symbol"].isin(scored["gene_symbol"])]
    names = ", ".join(left_out["gene_symbol"][:12]) + (f" and {len(left_out) - 12} more" if len(left_out) > 12 else "")
    footer = (
        f"Not scored ({len(left_out)}): {names}" if len(left_out) else "All genes differ significantly from control."
    )
    if len(scored) <= MOST_NAMED:
        figure = new_figure(6.5, 1.5 + 0.2 * max(len(scored), 1), dense=True)
        axis = figure.subplots()
        places = np.arange(len(scored))
        # Where there is little way to go, shares of it are of any size; what lies outside is marked at the edge.
        left, right = SHARES
        low, high = (scored[name].clip(left, right) for name in ("share_low", "share_high"))
        axis.hlines(places, low, high, color=REAL_COLOUR)
        axis.plot(scored["share"].clip(left, right), places, "o", color=REAL_COLOUR, markersize=5)
        for edge, mark, beyond in ((left, "<", scored["share_low"] < left), (right, ">", scored["share_high"] > right)):
            axis.plot(np.full(int(beyond.sum()), edge), places[beyond], mark, color=REAL_COLOUR, markersize=4)
        axis.set_xlim(left - 0.05, right + 0.05)
        axis.set_yticks(places, scored["gene_symbol"], fontsize=8)
        axis.set(xlabel="share of the control-to-knock-out distance covered", ylim=(max(len(scored), 1) - 0.4, -0.6))
        axis.axvline(0, color="#888888", linewidth=0.8)
        axis.axvline(1, color="#888888", linewidth=0.8, linestyle=":")
    else:
        figure = new_figure(6.5, 4.4, dense=True)
        axis = figure.subplots()
        axis.plot(
            scored["auc"],
            scored["share"].clip(*SHARES),
            "o",
            color=REAL_COLOUR,
            markersize=4,
            alpha=0.6,
            markeredgewidth=0,
            clip_on=False,  # a mark at 1 is whole
        )
        axis.set(xlabel="AUC of knock-out against control cells", ylabel="share of the distance covered")
        axis.set_xlim(right=1.0)
        axis.axhline(0, color="#888888", linewidth=0.8)
        axis.axhline(1, color="#888888", linewidth=0.8, linestyle=":")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title("1: as near as other knock-out cells; 0: no nearer than control cells", fontsize=8, loc="left")
    figure.supxlabel(footer, fontsize=7, color="#555555")
    return figure


def change_figure(
    gene: str,
    maps: Sequence[np.ndarray],
    profiles: Sequence[np.ndarray],
    errors: Sequence[np.ndarray],
    edges: np.ndarray,
    channels: Sequence[str],
) -> "Figure":
    """What restyling changes on average and what the knock-out changes, channel by channel: maps and rings.

    Parameters
    ----------
    gene : its symbol.
    maps : mean differences from control by restyling and by the knock-out, (C, H, H) each, in sd of control pixels.
    profiles, errors : the same over rings around the centre, (C, R) each, and their standard errors.
    edges : (R + 1,) radii between the rings in px.
    channels : their names.
    """
    figure = new_figure(1.75 * len(channels) + 0.8, 5.6, dense=True)
    axes = figure.subplots(3, len(channels), squeeze=False, gridspec_kw={"height_ratios": (1, 1, 1.05)})
    middles = (edges[1:] + edges[:-1]) / 2
    for column, channel in enumerate(channels):
        # A scale for each: what restyling changes may be far less than what the knock-out changes.
        for axis, change in zip(axes[:2, column], maps, strict=True):
            most = max(float(np.abs(change[column]).max()), 1e-6)
            image = axis.imshow(change[column], cmap="RdBu_r", vmin=-most, vmax=most)
            axis.set(xticks=[], yticks=[])
            figure.colorbar(image, ax=axis, shrink=0.75, pad=0.02).ax.tick_params(labelsize=6)
        axis = axes[2, column]
        drawn = zip(profiles, errors, (RESTYLED_COLOUR, REAL_COLOUR), ("restyling", "knock-out"), strict=True)
        for profile, error, colour, label in drawn:
            axis.plot(middles, profile[column], color=colour, label=label, linewidth=1.5)
            low, high = (profile[column] + sign * 1.96 * error[column] for sign in (-1, 1))
            axis.fill_between(middles, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.axhline(0, color="#888888", linewidth=0.7)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("radius, px", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axes[0, column].set_title(channel, fontsize=9, fontweight="bold")
    labels = (f"restyled to {gene}\nless control", f"{gene} cells\nless control cells", "sd of control")
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=8)
    axes[2, 0].legend(fontsize=7, frameon=False)
    return figure
