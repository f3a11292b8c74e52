"""What the training cost, and what more of it would: time, arithmetic, size of the networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grape_ops.report.material import Material
from grape_ops.train.estimate import multiply_adds

Rows = list[tuple[str, str]]


def cost_rows(material: Material) -> Rows:
    """Time, arithmetic and size: (what, how much)."""
    run = material.run
    batch, steps, planned = run.config.train.batch_size, material.step, run.config.train.steps
    rows = [
        ("steps x cells in a step", f"{steps:,} x {batch:,} = {steps * batch:,} cells"),
        ("cells seen, in rounds over all cells", f"{steps * batch / max(int(run.genes['n_cells'].sum()), 1):,.3g}"),
    ]
    rate = median_rate(material.metrics)
    if rate is not None:
        rows.append(("rate (median)", f"{rate:,.3g} cells per second"))
        rows.append(("training time at that rate", duration(steps * batch / rate)))
        if steps < planned:
            rows.append(("still to come", duration((planned - steps) * batch / rate)))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in run.build().named_children()}
    rows.append(("weights", f"{sum(counts.values()):,}"))
    rows += [(f"of these: {name.replace('_', ' ')}", f"{count:,}") for name, count in counts.items() if count]
    sizes = (len(run.genes), len(run.record["channels"]), run.record["crop_size"])
    work = multiply_adds(run.config.model, *sizes)
    per_cell = ", ".join(f"{name.replace('_', ' ')} {gmac:,.3g}" for name, gmac in work.items())
    rows.append(("one pass of a cell, billions of multiply-adds", per_cell))
    return rows


def median_rate(metrics: Sequence[Mapping[str, Any]]) -> float | None:
    """Cells per second over the intervals that were logged."""
    rates = [line["images_per_s"] for line in metrics if line.get("images_per_s") is not None]
    return float(np.median(rates)) if rates else None


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds:,.3g} seconds"
