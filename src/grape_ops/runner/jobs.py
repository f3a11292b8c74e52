"""Jobs, each a method with a seed in a folder of its own, and which of them are done.

    WORK/{method}-seed{seed}-{identity}/
      job.json  config.yaml   what is asked for; the identity is a hash of all that decides the result
      log.txt                 what the method printed
      costs.jsonl             one line per attempt
      maps/{n}.h5ad           gene vectors
      done.json               written last
      run/                    for methods that train: the run folder, from which an interrupted job goes on

Other settings or cells have a folder of their own, so that nothing is ever overwritten.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grape_ops import __version__
from grape_ops.artifacts.identity import identity_of
from grape_ops.config import Config
from grape_ops.methods import Method, find_method
from grape_ops.runner.cost import total_cost

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
