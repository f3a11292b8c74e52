"""What a run was made of and with: its settings, versions, cells and complexes."""

import json
import shlex
from pathlib import Path
from typing import Any

from grape_ops.config import Config, flatten
from grape_ops.report.cost import median_rate
from grape_ops.report.inputs import ReportInputs


def changed_settings(config: Config) -> list[tuple[str, str, str]]:
    """Settings that differ from the defaults, which are the paper's: (name, value, default)."""
    ours, theirs = (flatten(tree.model_dump(mode="json")) for tree in (config, Config()))
    changed = {key: (value, theirs.get(key)) for key, value in ours.items() if value != theirs.get(key)}
    return [(key, _as_yaml(value), _as_yaml(default)) for key, (value, default) in changed.items()]


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _without_folders(command: str) -> str:
    """Keep the last part of absolute paths: pages are sent to others, whom our folders say nothing."""
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in shlex.split(command))


def provenance_rows(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Where everything came from: (what, which)."""
    record = inputs.run.record
    rate = median_rate(inputs.metrics)
    rows = [
        ("training begun", str(record["started"])),
        ("command", _without_folders(str(record["command"]))),
        ("commit", str(record["commit"] or "not run from a source tree")),
        ("seed", str(record["seed"])),
        ("known complexes", f"{inputs.truth.name} (sha256 {inputs.truth.sha256[:16]}…)" if inputs.truth else "–"),
        ("store fingerprint", str(record["store_fingerprint"])),
        ("training rate", "–" if rate is None else f"{rate:,.3g} cells per second (median)"),
    ]
    rows += [(name, str(version)) for name, version in record["versions"].items()]
    return rows
