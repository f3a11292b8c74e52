"""The run folder: the resolved configuration, what it was trained on and with, and the genes.

``config.yaml`` (all settings), ``run.json`` (versions, commit, command, store, truth), ``genes.parquet`` (one row
per perturbation), ``metrics.jsonl`` and ``checkpoints/``.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from grape_ops.artifacts.atomic import draft_of, write_text
from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.genes import gene_table
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config, dump_config, flatten, parse_config, read_yaml
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import Grape, build_grape
from grape_ops.nn.style import MappingNetwork
from grape_ops.schema import OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES, RUN_CONFIG_FILE, RUN_FILE
from grape_ops.train.checkpoint import checkpoints
from grape_ops.train.preflight import GUIDES_FILE, guide_groups

GENES_FILE = "genes.parquet"
_PROCESSES = "devices x train.nodes"
_PARTS = ("train.accumulate", f"train.{_PROCESSES}")
_RECORD = (
    "started",
    "command",
    "versions",
    "commit",
    "seed",
    "store",
    "store_fingerprint",
    "channels",
    "crop_size",
    "truth",
)
_VERSIONS_OF = ("grape-ops", "torch", "lightning-fabric", "numpy", "anndata")


@dataclass(frozen=True)
class Run:
    """A training run as its folder describes it.

    Attributes
    ----------
    path : the folder.
    config : the resolved configuration.
    record : the content of run.json.
    genes : one row per perturbation, in the order of the rows of M.
    """

    path: Path
    config: Config
    record: dict[str, Any]
    genes: pd.DataFrame

    @property
    def simulated(self) -> bool:
        """Whether it was trained on a screen that `grape-ops simulate` made."""
        return bool(self.record.get("simulated", False))

    @property
    def store_path(self) -> Path:
        """Where the crop store lay; relative paths count from the run folder."""
        return Path(os.path.normpath(self.path / self.record["store"]))

    @property
    def truth(self) -> str | None:
        """The complexes training was watched by: a built-in name, or a file; relative paths count from the folder."""
        name: str | None = self.record["truth"]
        beside = self.path / name if name else None
        return os.path.normpath(beside) if beside is not None and beside.is_file() else name

    def check_there(self) -> None:
        """Stop where the folder was removed meanwhile: what is written would make one that is no run."""
        if not (self.path / RUN_FILE).is_file():
            raise GrapeOpsError(f"{self.path} was removed meanwhile, and what lay in it is lost: repeat the call.")

    def build(self, *, checkpointing: bool = False, mapping: MappingNetwork | None = None) -> Grape:
        """The run's networks as they were before the first step; the parameters are those of ``build_grape``."""
        return build_grape(
            self.config.model,
            n_perturbations=len(self.genes),
            channels=len(self.record["channels"]),
            image_size=self.record["crop_size"],
            rng=torch.Generator().manual_seed(self.config.seed),
            classifier=self.config.seen_through,
            shapes=self.config.train.loss.match_shape > 0,
            mapping=mapping,
            checkpointing=checkpointing,
        )

    def latest_checkpoint(self) -> Path | None:
        """The last finished checkpoint, if there is any."""
        found = checkpoints(self.path)
        return found[-1] if found else None


def open_run(path: Path) -> Run:
    """Read a run folder.

    Raises
    ------
    GrapeOpsError : it is no run folder, or a file of it is damaged.
    """
    if not (path / RUN_FILE).is_file():
        inside = f" {path / 'run'} is one." if (path / "run" / RUN_FILE).is_file() else ""
        raise GrapeOpsError(
            f"{path} is not a run folder: it has no {RUN_FILE}.{inside or ' `grape-ops train` makes one.'}"
        )
    try:
        record = json.loads((path / RUN_FILE).read_text())
        genes = pd.read_parquet(path / GENES_FILE)
    except DAMAGE as error:
        raise GrapeOpsError(f"The run folder {path} is damaged: {why(error)}") from None
    missing = [key for key in _RECORD if not isinstance(record, dict) or key not in record]
    missing += [column for column in (OBS_N_CELLS, OBS_N_GUIDES, OBS_IS_CONTROL) if column not in genes]
    if not missing:
        kinds = {"store": str, "truth": str | None}
        missing += [f"{key} as text" for key, kind in kinds.items() if not isinstance(record[key], kind)]
    if missing:
        raise GrapeOpsError(f"{path} is no run of grape-ops, or a damaged one: it does not say {', '.join(missing)}.")
    config = parse_config(read_yaml(path / RUN_CONFIG_FILE), source=str(path / RUN_CONFIG_FILE))
    return Run(path, config, record, genes)


def prepare_run(out: Path, store: CropStore, config: Config, truth: str | None, resume: bool) -> Run:
    """Make a run folder, or open it to go on; refuses to mix two runs in one folder.

    Raises
    ------
    GrapeOpsError : the folder holds a run and ``resume`` is off, it was begun with other settings or cells, or it
        holds something that is no run.
    """
    if not (out / RUN_FILE).exists():
        return _create(out, store, config, truth)
    if not resume:
        raise GrapeOpsError(f"{out} holds a run already. Give --resume to go on with it, or another --out.")
    run = open_run(out)
    _check_unchanged(run, config, store)
    reached = steps_done(out)
    if reached > config.train.steps:
        raise GrapeOpsError(
            f"{out} has been trained for {reached} steps already, more than train.steps={config.train.steps}. "
            f"Set train.steps to {reached} or more, or give another --out."
        )
    if run.config != config:  # a longer run, or other bookkeeping
        write_text(out / RUN_CONFIG_FILE, dump_config(config))
    return Run(out, config, run.record, run.genes)


def steps_done(out: Path) -> int:
    """Steps behind the last checkpoint in a run folder; 0 if there is none."""
    return max((int(path.name[5:]) for path in checkpoints(out)), default=0)


def _create(out: Path, store: CropStore, config: Config, truth: str | None) -> Run:
    check_folder(out, "a run", ours=(GENES_FILE, GUIDES_FILE, RUN_CONFIG_FILE))  # what a crash in here leaves
    genes = gene_table(store)
    if store.unit == "guide":
        write_text(out / GUIDES_FILE, spreadsheet_safe(guide_groups(store)).to_csv(sep="\t", index=False))
    with draft_of(out / GENES_FILE) as draft:
        genes.to_parquet(draft)
    write_text(out / RUN_CONFIG_FILE, dump_config(config))
    record = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["grape-ops", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS_OF}},
        "commit": source_commit(),
        "seed": config.seed,
        "store": os.path.relpath(store.path, out),
        "store_fingerprint": store_fingerprint(store),
        "channels": list(store.channels),
        "crop_size": store.crop_size,
        "truth": os.path.relpath(truth, out) if truth and Path(truth).is_file() else truth,
    }
    record |= ({"simulated": True} if store.simulated else {}) | ({"where": store.where} if store.where else {})
    write_text(out / RUN_FILE, json.dumps(record, indent=2))  # last: it makes the folder a run
    return Run(out, config, record, genes)


def decisive_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what a run learns, by dotted name; the others may change when it goes on."""
    train, model = config.train.decisive(), config.model.decisive()
    if not config.train.optimizer.falling:
        del train["steps"]  # where rates fall towards the end, the end is part of what is learnt
    if config.model.discriminator.judges == "pixels":
        del model["discriminator"]["head_width"]  # nothing has these heads
    if config.train.init.kind == "noise":  # whatever a classifier would have been, unless D or a loss looks through it
        seen = {"classifier": train["init"]["classifier"]} if config.seen_through is not None else {}
        train["init"] = {"kind": "noise"} | seen
    if config.train.loss.matches_means:  # it compares the cells of a part of the batch
        train |= {"accumulate": config.train.accumulate, _PROCESSES: config.train.devices * config.train.nodes}
    return flatten({"seed": config.seed, "model": model, "train": train})


def _check_unchanged(run: Run, config: Config, store: CropStore) -> None:
    if run.record["store_fingerprint"] != store_fingerprint(store):
        begun, now = (where or "not given" for where in (run.record.get("where"), store.where))
        chosen = f" (--where was {begun}, is {now})" if begun != now else ""
        raise GrapeOpsError(
            f"{run.path} was begun on other cells than {store.path} holds{chosen}. Give the store it was begun on, "
            "or another --out."
        )
    before, now = decisive_settings(run.config), decisive_settings(config)
    changed = [key for key in now if now[key] != before.get(key)]
    if changed:
        lines = "\n".join(f"  {key}: was {before.get(key)}, is {now[key]}" for key in changed)
        why = "Matching losses compare the cells of one part of a batch, and these settings decide which they are.\n"
        raise GrapeOpsError(
            f"{run.path} was begun with other settings:\n{lines}\n{why if {*changed} & {*_PARTS} else ''}"
            "Set them back, or give another --out."
        )


def source_commit() -> str | None:
    """The commit of the source tree the package runs from, if it is one."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == tracked.returncode == 0 else None
