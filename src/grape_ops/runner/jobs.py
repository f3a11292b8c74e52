"""Jobs, each a method with a seed in a folder of its own, and which of them are done.

    WORK/{method}-seed{seed}-{identity}/
      job.json  config.yaml   what is asked for; the identity is a hash of all that decides the result
      log.txt                 what the method printed
      costs.jsonl             a line an attempt
      maps/{n}.h5ad           gene vectors
      done.json               written last
      run/                    for methods that train: the run folder, from which an interrupted job goes on

Other settings or cells have a folder of their own, so that nothing is ever overwritten.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grape_ops import __version__
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.runner.cost import total_cost
from grape_ops.train.run import decisive_settings, store_fingerprint

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Job:
    """A method with a seed.

    Attributes
    ----------
    method : a name the worker knows.
    seed, config : what decides the result, beside the store.
    identity : SHA-256 of what decides the result.
    folder : where everything about it lies.
    """

    method: str
    seed: int
    config: Config
    identity: str
    folder: Path

    @classmethod
    def of(cls, method: str, seed: int, config: Config, store: CropStore, work: Path) -> "Job":
        """Describe a job; ``work`` is the folder of all jobs."""
        facts = [__version__, store_fingerprint(store), method, seed, what_decides(method, config)]
        identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return cls(method, seed, config, identity, work / f"{method}-seed{seed}-{identity[:10]}")

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
        return self.method in ("grape", "impa") and not self.finished

    @property
    def done(self) -> dict[str, Any]:
        """What the worker wrote last, or nothing."""
        file = self.folder / "done.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def maps(self) -> "dict[str, AnnData]":
        """Gene vectors, by their name in the tables."""
        from grape_ops.evaluate.evaluate_files import read_map

        return {name: read_map(self.folder / file) for name, file in self.done["maps"].items()}

    def cost(self) -> dict[str, float]:
        """Add up all attempts, and what an earlier call spent on features that this one found measured."""
        cost = total_cost(self.folder / "costs.jsonl")
        return cost | {"reused_cpu_s": round(max(self.done["measuring_cpu_s"] - cost["cpu_s"], 0.0), 3)}


def what_decides(method: str, config: Config) -> dict[str, Any]:
    """Return the settings that decide a method's vectors; files count by size and time of change."""
    own = config.baselines.model_dump(mode="json")
    features = config.features.decisive()
    trained = {**decisive_settings(config), "steps": config.train.steps}
    trained.pop("seed", None)
    read_outs = config.embed.model_dump(mode="json", include={"cells_per_gene"})
    parts: dict[str, Any] = {
        "random": {},
        "statistics": {},
        "gene2vec": own["gene2vec"],
        "engineered": [own["engineered"], features],
        "profiles": [own["engineered"], own["profiles"], config.screen.control_pattern],
        "classifier": [config.train.init.classifier.model_dump(mode="json"), config.train.precision],
        "contrasts": config.train.model_dump(mode="json", include={"init", "holdout", "precision"}),
        "impa": [own["impa"], own["gene2vec"]["aliases"], trained],
        "grape": [trained, read_outs],
    }
    decisive = parts.get(method, own)  # a method we do not know may read any of the baselines' settings
    return {"settings": decisive, "files": _files_in(decisive)}


def _files_in(settings: Any) -> list[Any]:
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list):
        return [fact for part in settings for fact in _files_in(part)]
    if isinstance(settings, str) and Path(settings).is_file():
        facts = Path(settings).stat()
        return [[settings, facts.st_size, facts.st_mtime_ns]]
    return []
