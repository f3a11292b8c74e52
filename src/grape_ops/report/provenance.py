"""What a run was made with, and what it cost: settings, versions, cells, time, arithmetic, size of the networks."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grape_ops.config import Config, flatten
from grape_ops.report.inputs import ReportInputs
from grape_ops.train.estimate import multiply_adds

Rows = list[tuple[str, str]]


def changed_settings(config: Config) -> list[tuple[str, str, str]]:
    """Settings that differ from the defaults, which are the paper's: (name, value, default)."""
    ours, theirs = (flatten(tree.model_dump(mode="json")) for tree in (config, Config()))
    changed = {key: (value, theirs.get(key)) for key, value in ours.items() if value != theirs.get(key)}
    return [(key, _as_yaml(value), _as_yaml(default)) for key, (value, default) in changed.items()]


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _command_without_folders(command: str) -> str:
    """Keep the last part of absolute paths: pages are sent to others, whom our folders say nothing."""
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in shlex.split(command))


def provenance_rows(inputs: ReportInputs) -> Rows:
    """Where everything came from: (what, which)."""
    record = inputs.run.record
    rate = median_rate(inputs.metrics)
    rows = [
        ("training begun", str(record["started"])),
        ("command", _command_without_folders(str(record["command"]))),
        ("commit", str(record["commit"] or "not run from a source tree")),
        ("seed", str(record["seed"])),
        ("known complexes", f"{inputs.truth.name} (sha256 {inputs.truth.sha256[:16]}…)" if inputs.truth else "–"),
        ("store fingerprint", str(record["store_fingerprint"])),
        ("training rate", "–" if rate is None else f"{rate:,.3g} cells per second (median)"),
    ]
    rows += [(name, str(version)) for name, version in record["versions"].items()]
    return rows


def cost_rows(inputs: ReportInputs) -> Rows:
    """How much was computed, and how long it took: (what, how much)."""
    run = inputs.run
    batch, steps, planned = run.config.train.batch_size, inputs.step, run.config.train.steps
    rows = [
        ("steps × cells in a step", f"{steps:,} × {batch:,} = {steps * batch:,} cells"),
        ("cells seen, in rounds over all cells", f"{steps * batch / max(int(run.genes['n_cells'].sum()), 1):,.3g}"),
    ]
    initialised = [line["init_s"] for line in inputs.metrics if "init_s" in line]
    if initialised:
        rows.append(("initialisation of M (the classifier)", duration(sum(initialised))))
    rate = median_rate(inputs.metrics)
    if rate is not None:
        rows.append(("rate (median)", f"{rate:,.3g} cells per second"))
        rows.append(("adversarial training at that rate", duration(steps * batch / rate)))
        if steps < planned:
            rows.append(("still to come", duration((planned - steps) * batch / rate)))
    return rows


def network_rows(inputs: ReportInputs) -> list[tuple[str, str, str]]:
    """Size and arithmetic of each network: (name, weights, millions of multiply-adds for one pass of a cell)."""
    run = inputs.run
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in run.build().named_children()}
    sizes = (len(run.genes), len(run.record["channels"]), run.record["crop_size"])
    work = multiply_adds(run.config, *sizes)
    rows = [
        (name.replace("_", " "), f"{count:,}", f"{1000 * work[name]:,.3g}" if name in work else "–")
        for name, count in counts.items()
        if count
    ]
    return [*rows, ("all", f"{sum(counts.values()):,}", f"{1000 * sum(work.values()):,.3g}")]


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
