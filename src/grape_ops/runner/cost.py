"""What a job costs: wall time, CPU time with that of the processes it starts, peak memory, and the same of a GPU.

``gpu_s`` is the wall time for which a job held a GPU, busy or not.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 2**20
_NONE = {"wall_s": 0.0, "cpu_s": 0.0, "gpu_s": 0.0, "peak_mib": 0.0, "gpu_peak_mib": 0.0}


@contextmanager
def measured(log: Path) -> Iterator[None]:
    """Append what the block costs to a file, however it ends: a job may take several attempts."""
    start, cpu = time.monotonic(), cpu_seconds()
    try:
        yield
    finally:
        wall = time.monotonic() - start
        line = _NONE | {"wall_s": wall, "cpu_s": cpu_seconds() - cpu, "peak_mib": peak_mib()} | _gpu(wall)
        with log.open("a") as file:
            file.write(json.dumps({key: round(value, 3) for key, value in line.items()}) + "\n")


def total_cost(log: Path) -> dict[str, float]:
    """Add up the attempts of a job: sums of times, the largest of peaks."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return mean_cost([_added(lines)])


def mean_cost(costs: list[dict[str, float]]) -> dict[str, float]:
    """Cost of one run of a method: mean times, the largest peak of all runs."""
    return {
        key: round(max((c.get(key, 0.0) for c in costs), default=0.0), 3)
        if key.endswith("mib")
        else round(sum(c.get(key, 0.0) for c in costs) / max(len(costs), 1), 3)
        for key in dict.fromkeys([*_NONE, *(key for c in costs for key in c)])
    }


def _added(lines: list[dict[str, float]]) -> dict[str, float]:
    return {key: (max if key.endswith("mib") else sum)([line[key] for line in lines] or [0.0]) for key in _NONE}


def cpu_seconds() -> float:
    """CPU time of this process and of those it has started and waited for."""
    import os

    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_mib() -> float:
    """Largest memory of this process, or of a process it has started if that is more."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    each = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(each) * unit / MIB


def _gpu(wall: float) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu_s": wall, "gpu_peak_mib": torch.cuda.max_memory_allocated() / MIB}
