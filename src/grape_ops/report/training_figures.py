"""The page's figures of training: losses, logits and mAP over steps, as Plotly's JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grape_ops.plotting.map_figures import MAP_NAMES
from grape_ops.report.report_figures import Figure, base_figure, colour, level_line

LOSS_NAMES = {
    "d_adversarial": "D, adversarial",
    "g_adversarial": "G, adversarial",
    "d_r1": "R1 penalty",
    "cycle": "cycle (Eq. 2)",
    "style": "style (Eq. 3)",
}


def adversarial_losses(metrics: Sequence[Mapping[str, float]]) -> Figure | None:
    """Adversarial losses of D and G over steps, with the level of a discriminator that cannot distinguish."""
    keys = {"d_adversarial": 0, "g_adversarial": 1}
    figure = _curves(metrics, {key: (LOSS_NAMES[key], index, "solid") for key, index in keys.items()}, "loss")
    if figure is not None:
        for level, index in ((2 * np.log(2), 0), (np.log(2), 1)):
            figure["layout"]["shapes"].append(level_line(level, colour(index)))
    return figure


def reconstruction_losses(metrics: Sequence[Mapping[str, float]]) -> Figure | None:
    """Cycle and style losses and the R1 penalty over steps, on a logarithmic axis."""
    keys = {"cycle": 2, "style": 3, "d_r1": 4}
    figure = _curves(metrics, {key: (LOSS_NAMES[key], index, "solid") for key, index in keys.items()}, "loss")
    if figure is not None:
        figure["layout"]["yaxis"] |= {"type": "log", "dtick": "D2", "tickformat": "~g"}
    return figure


def discriminator_logits(metrics: Sequence[Mapping[str, float]]) -> Figure | None:
    """Mean logits of D over steps: for real and restyled cells, and for cells it has and has not trained on."""
    series = {
        "d_real_logit": ("real cells", 0, "solid"),
        "d_fake_logit": ("restyled cells", 1, "solid"),
        "d_seen_logit": ("real, seen", 2, "dot"),
        "d_unseen_logit": ("real, never seen", 3, "dot"),
    }
    figure = _curves(metrics, series, "mean logit")
    if figure is not None:
        figure["layout"]["shapes"].append(level_line(0.0, "var(--muted)"))
    return figure


def map_along_training(metrics: Sequence[Mapping[str, float]]) -> Figure | None:
    """MAP of positions 1 and 2 over steps, with and without EMA, beside its chance level (as in Fig. 5)."""
    series = {
        key: (name, 0 if not key.startswith("map_style") else 1, "solid" if key.endswith("ema") else "dot")
        for key, name in MAP_NAMES.items()
    }
    figure = _curves(metrics, series | {"map_chance": ("chance", None, "dash")}, "mAP")
    if figure is not None:
        figure["layout"]["yaxis"] |= {"rangemode": "tozero"}
    return figure


def _curves(
    metrics: Sequence[Mapping[str, float]], series: Mapping[str, tuple[str, int | None, str]], y_title: str
) -> Figure | None:
    """Lines over steps for the series that were logged: key -> (name, colour or None for muted, dash)."""
    traces: list[dict[str, Any]] = []
    logged = False
    for key, (name, index, dash) in series.items():
        points = [(line["step"], line[key]) for line in metrics if line.get(key) is not None]
        if not points:
            continue
        logged |= index is not None  # a chance level alone is no figure
        steps, values = zip(*points, strict=True)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines" if len(points) >= 25 or (index is None and len(points) > 1) else "lines+markers",
                "name": name,
                "x": list(steps),
                "y": list(values),
                "line": {"color": "var(--muted)" if index is None else colour(index), "dash": dash, "width": 2},
                "marker": {"size": 5},
                "hovertemplate": "%{y:.3f}",
            }
        )
    return base_figure(traces, "training step", y_title) if logged else None
