"""What a run writes down while it trains: one line of ``metrics.jsonl`` per interval, always."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from grape_ops.errors import GrapeOpsError


class MetricsLog:
    """Appends JSON lines; on resume it first drops those a crash left behind the checkpoint.

    Parameters
    ----------
    file : the run's metrics.jsonl.
    step : the run goes on after this step; later lines are dropped.
    """

    def __init__(self, file: Path, step: int):
        self.file = file
        kept = [line for line in read_metrics(file) if line["step"] <= step] if file.exists() else []
        file.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one line."""
        with self.file.open("a") as handle:
            handle.write(json.dumps({"step": step, **values}) + "\n")


def read_metrics(file: Path) -> Iterator[dict[str, Any]]:
    """Lines of a metrics.jsonl; a last line that a crash cut short is left out."""
    for line in file.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


class IntervalMean:
    """Means of loss terms over an interval, kept on the device so that no step waits for the host."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self.steps = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Take in one step's terms."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self.steps += 1

    def take(self) -> dict[str, float]:
        """The means, and start afresh."""
        means = {name: value.item() / self.steps for name, value in self._sums.items()}
        self._sums, self.steps = {}, 0
        return means


def check_finite(means: dict[str, float], step: int, last_good: Path | None) -> None:
    """Stop a run whose losses are no longer numbers, naming the terms and where it can go on from."""
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        way_on = f"the last good checkpoint is {last_good.name}" if last_good else "there is no checkpoint yet"
        raise GrapeOpsError(
            f"Training broke down before step {step}: {', '.join(broken)} no longer finite; {way_on}. "
            "A lower train.optimizer.learning_rate, a higher train.loss.r1 or train.precision=32-true may mend it."
        )
