"""Jobs, each a method with a seed in a folder of its own: which are done, and doing the rest some at a time.

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
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from grape_ops import __version__
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, dump_config
from grape_ops.contest.cost import total_cost
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.machine import core_count
from grape_ops.progress import progress
from grape_ops.train.run import decisive_settings, store_fingerprint
from grape_ops.train.stop import stop_signals

if TYPE_CHECKING:
    from anndata import AnnData

_LINES_OF_LOG = 6


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
    def done(self) -> dict[str, Any]:
        """What the worker wrote last, or nothing."""
        file = self.folder / "done.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def maps(self) -> "dict[str, AnnData]":
        """Gene vectors, by their name in the tables."""
        from grape_ops.evaluate.command import read_map

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
        "classifier": own["classifier"],
        "contrasts": {"start": config.train.start.model_dump(mode="json"), "holdout": config.train.holdout},
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


def do_jobs(jobs: Sequence[Job], store: CropStore, label: str, at_a_time: int = 0) -> None:
    """Do the jobs that are not done, some at a time.

    Parameters
    ----------
    jobs : all of them.
    store : the cells.
    label : what the progress is called.
    at_a_time : processes; 0 takes one per core, or per GPU where there is one. They share the cores evenly.

    Raises
    ------
    GrapeOpsError : some failed; the others are done, and the same call does not do them again.
    Interrupted : a signal; jobs that train have written a checkpoint.
    """
    todo = [job for job in jobs if job.done.get("identity") != job.identity]
    count = min(at_a_time or _room(), max(len(todo), 1))
    threads = max(core_count() // count, 1)
    failed: dict[str, str] = {}
    running: dict[str, subprocess.Popen[bytes]] = {}
    stopped = threading.Event()
    for job in todo:
        _prepare(job, store, threads)

    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(count):
        slots.put(slot)
    gpus = visible_gpus()

    def do(job: Job) -> None:
        if not stopped.is_set():
            slot = slots.get()  # of those that are free, so that no GPU has two jobs while another has none
            try:
                words = _run(job, threads, one_gpu(slot, gpus), running)
            finally:
                slots.put(slot)
            if words and not stopped.is_set():
                failed[job.name] = words

    with (
        stop_signals() as stop,
        progress(label, len(jobs), "job", done=len(jobs) - len(todo)) as advance,
        ThreadPoolExecutor(count) as pool,
    ):
        futures = {pool.submit(do, job): job for job in todo}
        while futures:
            try:
                for future in as_completed(list(futures), timeout=0.5):
                    future.result()
                    job = futures.pop(future)
                    advance(note=job.name + (" failed" if job.name in failed else ""))
            except TimeoutError:
                pass
            if stop.number and not stopped.is_set():
                stopped.set()
                for process in list(running.values()):
                    process.send_signal(stop.number)
    if stop.number:
        raise Interrupted("Stopped; what the jobs have done so far is saved.", stop.number)
    if failed:
        lines = "\n".join(f"  {name}: {words}" for name, words in failed.items())
        raise GrapeOpsError(f"{len(failed)} of {len(jobs)} jobs failed; the others are done and kept:\n{lines}")


def _room() -> int:
    """How many jobs fit beside each other."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else core_count()


def _prepare(job: Job, store: CropStore, threads: int) -> None:
    """Write down what is asked for."""
    job.folder.mkdir(parents=True, exist_ok=True)
    config = job.config.model_copy(
        update={
            "seed": job.seed,
            "train": job.config.train.model_copy(update={"threads": threads, "evaluate_every": 0}),
            "features": job.config.features.model_copy(update={"workers": threads}),
        }
    )
    (job.folder / "config.yaml").write_text(dump_config(config))
    facts = {"identity": job.identity, "method": job.method, "seed": job.seed, "store": str(store.path.resolve())}
    (job.folder / "job.json").write_text(json.dumps(facts, indent=1))


def _run(job: Job, threads: int, gpu: dict[str, str], running: dict[str, "subprocess.Popen[bytes]"]) -> str:
    """Do a job in a process of its own; what went wrong in words, or nothing."""
    numbers = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    # Workers do not hear the terminal's Ctrl-C: the parent passes it on, once.
    command = [sys.executable, "-m", "grape_ops.contest.worker", str(job.folder)]
    environment = {**os.environ, **numbers, **gpu}
    with (job.folder / "log.txt").open("a") as log:
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        with started as process:
            running[job.name] = process
            code = process.wait()
            running.pop(job.name)
    if code == 0:
        return ""
    lines = (job.folder / "log.txt").read_text(errors="replace").rstrip().splitlines()
    error = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith("Error: ")), None)
    if error is not None:
        return " ".join(lines[error:]).removeprefix("Error: ")
    ended = f"exit code {code}" if code > 0 else f"ended from outside by signal {-code}, often for want of memory"
    return f"{ended}; {job.folder / 'log.txt'} ends with:\n    " + "\n    ".join(lines[-_LINES_OF_LOG:])


def visible_gpus() -> list[str]:
    """Name the GPUs this process may use, as their driver does."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [name.strip() for name in named.split(",")][:count] if named else [str(n) for n in range(count)]


def one_gpu(slot: int, gpus: Sequence[str]) -> dict[str, str]:
    """Environment that shows a job one GPU of several; more jobs than GPUs take them in turns."""
    return {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if len(gpus) > 1 else {}
