"""Jobs, each a method with a seed in a folder of its own: which are done, and what they cost.

Costs are wall time, CPU time with that of the processes a job starts, peak memory, and the same of a GPU; ``gpu_s`` is
the wall time for which a job held a GPU, busy or not.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grape_ops import __version__
from grape_ops.artifacts.identity import identity_of
from grape_ops.config import Config
from grape_ops.methods import Method, find_method

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Job:
    """A method with a seed on the cells of a store.

    Attributes
    ----------
    spec : what the method is asked for by: its name, or ``module:function``.
    method : the method.
    seed, config : what decides the result, beside the cells.
    store : the crop store; it has to be there only while the job is done.
    identity : SHA-256 of what decides the result.
    folder : where everything about it lies.
    """

    spec: str
    method: Method
    seed: int
    config: Config
    store: Path
    identity: str
    folder: Path

    @classmethod
    def of(cls, spec: str, seed: int, config: Config, store: Path, cells: str, work: Path) -> "Job":
        """Describe a job.

        Parameters
        ----------
        spec, seed, config, store : as the attributes.
        cells : what tells the store's cells from any others, such as ``store_fingerprint``.
        work : the folder of all jobs.
        """
        method = find_method(spec)
        identity = identity_of(__version__, cells, method.name, seed, method.decisive(config))
        return cls(spec, method, seed, config, store, identity, work / f"{method.name}-seed{seed}-{identity[:10]}")

    @property
    def name(self) -> str:
        """What messages call it: several may differ by their settings only, so that the folder's name it is."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether all of it is done."""
        return self.done.get("identity") == self.identity

    @property
    def to_train(self) -> bool:
        """Whether networks of GRAPE's have yet to be trained for it."""
        return self.method.trains and not self.finished

    @property
    def done(self) -> dict[str, Any]:
        """What the worker wrote last, or nothing."""
        try:
            found = json.loads((self.folder / "done.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def maps(self) -> "dict[str, AnnData]":
        """Gene vectors, by their name in the tables."""
        from grape_ops.evaluate.evaluate_files import read_map

        return {name: read_map(self.folder / file) for name, file in self.done["maps"].items()}

    def maps_asked_for(self) -> "dict[str, AnnData]":
        """Gene vectors that the settings ask for, the main ones first, by their name in the tables."""
        return self.method.asked_for(self.config, self.maps())

    def cost(self) -> dict[str, float]:
        """Add up all attempts, and what an earlier call spent on features that this one found measured."""
        cost = total_cost(self.folder / "costs.jsonl")
        return cost | {"reused_cpu_s": round(max(self.done["measuring_cpu_s"] - cost["cpu_s"], 0.0), 3)}


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
