"""What a run logs while it trains: one line of ``metrics.jsonl`` per interval, always."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import METRICS_FILE


class MetricsLog:
    """Appends JSON lines; on resume it first drops those a crash left behind the checkpoint.

    Parameters
    ----------
    run : the run folder.
    step : the run goes on after this step; later lines are dropped.
    tensorboard : write everything for TensorBoard too.
    """

    def __init__(self, run: Path, step: int, tensorboard: bool = False):
        self.file = run / METRICS_FILE
        # From step 0 on, what initialisation took is written down again.
        earlier = read_metrics(self.file) if step and self.file.exists() else ()
        kept = [line for line in earlier if line["step"] <= step]
        write_text(self.file, "".join(json.dumps(line) + "\n" for line in kept))
        self._board = _tensorboard(run / "tensorboard", step) if tensorboard else None

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one line, unless there is nothing to write."""
        if not values:
            return
        with output_errors(self.file), self.file.open("a") as handle:
            handle.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise GrapeOpsError(
            "train.tensorboard needs the extra `tensorboard`: pip install 'grape-ops[tensorboard]'."
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)


def read_metrics(file: Path) -> Iterator[dict[str, Any]]:
    """Lines of a metrics.jsonl, up to one that a crash cut short."""
    for line in file.read_text().splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            return
        if not isinstance(found, dict) or not isinstance(found.get("step"), int):
            return
        yield found


class IntervalMean:
    """Means of loss terms over an interval, kept on the device so that no step waits for the host.

    Attributes
    ----------
    rate : crops per second over the last interval, in words.
    """

    rate = ""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._begin()

    def _begin(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._since = 0, time.monotonic()

    def add(self, terms: dict[str, Tensor]) -> None:
        """Take in one step's terms."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps += 1

    def take(self) -> dict[str, float]:
        """The means and the rate, and start afresh."""
        means = {name: value.item() / self._steps for name, value in self._sums.items()}
        means["images_per_s"] = self._steps * self._batch_size / max(time.monotonic() - self._since, 1e-9)
        self.rate = f"{means['images_per_s']:.0f} images/s"
        self._begin()
        return means


def check_finite(means: dict[str, float], step: int, last_good: Path | None) -> None:
    """Stop a run whose losses are no longer numbers, and name the terms and the checkpoint to go on from."""
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        way_on = f"the last good checkpoint is {last_good.name}" if last_good else "there is no checkpoint yet"
        raise GrapeOpsError(
            f"Training broke down before step {step}: {', '.join(broken)} no longer finite; {way_on}. "
            "A lower train.optimizer.learning_rate, a higher train.loss.r1 or train.precision=32-true may fix it."
        )
