"""Doing several jobs at a time, each in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from queue import SimpleQueue

from grape_ops.artifacts.atomic import write_json, write_text
from grape_ops.config import dump_config
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.machine import core_count
from grape_ops.progress import progress
from grape_ops.runner.jobs import Job
from grape_ops.stopping import stop_signals
from grape_ops.words import counted

_LINES_OF_LOG = 6


def do_jobs(jobs: Sequence[Job], label: str, at_a_time: int = 0) -> None:
    """Do the jobs that are not done, several at a time.

    Parameters
    ----------
    jobs : all of them; the stores of those that are not done have to be there.
    label : what the progress is called.
    at_a_time : processes; 0 takes one per core, or per GPU where there is one. They share the cores evenly.

    Raises
    ------
    GrapeOpsError : some failed; the others are done, and the same call does not do them again.
    Interrupted : a signal; jobs that train have written a checkpoint.
    """
    todo = [job for job in jobs if not job.finished]
    processes = _Processes(min(at_a_time or room(), max(len(todo), 1)))
    for job in todo:
        _prepare(job, processes.threads)
    with (
        stop_signals() as stop,
        progress(label, len(jobs), "job", done=len(jobs) - len(todo)) as advance,
        ThreadPoolExecutor(processes.count) as pool,
    ):
        futures: dict[Future[None], Job] = {pool.submit(processes.do, job): job for job in todo}
        while futures:
            try:
                for future in as_completed(list(futures), timeout=0.5):
                    future.result()
                    job = futures.pop(future)
                    advance(note=job.name + (" failed" if job.name in processes.failed else ""))
            except TimeoutError:
                pass
            if stop.number:
                processes.stop(stop.number)
    if stop.number:
        raise Interrupted("Stopped; what the jobs have done so far is saved.", stop.number)
    if processes.failed:
        lines = "\n".join(f"  {name}: {words}" for name, words in processes.failed.items())
        raise GrapeOpsError(
            f"{len(processes.failed)} of {counted(len(jobs), 'jobs')} failed; the others are done and kept:\n{lines}"
        )


class _Processes:
    """Processes that run at the same time, each with its share of the cores, and its own GPU if there are several."""

    def __init__(self, count: int):
        self.count, self.threads = count, max(core_count() // count, 1)
        self.failed: dict[str, str] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = 0  # the signal that was passed on
        self._starting = threading.Lock()
        self._gpus = visible_gpus()
        self._slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(count):
            self._slots.put(slot)

    def do(self, job: Job) -> None:
        """Do a job, and note what went wrong."""
        slot = self._slots.get()  # of those that are free, so that no GPU has two jobs while another has none
        try:
            words = self._run(job, one_gpu(slot, self._gpus))
        finally:
            self._slots.put(slot)
        if words and not self._stopped:
            self.failed[job.name] = words

    def stop(self, number: int) -> None:
        """Pass a signal on, once: workers do not hear the terminal's Ctrl-C."""
        with self._starting:  # a worker is either running by now, or will not be started
            if self._stopped:
                return
            self._stopped = number
            running = list(self._running.values())
        for process in running:
            process.send_signal(number)

    def _run(self, job: Job, gpu: dict[str, str]) -> str:
        """Do a job in a process of its own; what went wrong in words, or nothing."""
        threads = {f"{library}_NUM_THREADS": str(self.threads) for library in ("OMP", "OPENBLAS", "MKL")}
        # -P: a user's file beside the command must not stand in for a library of the same name.
        command = [sys.executable, "-P", "-m", "grape_ops.runner.worker", str(job.folder)]
        environment = {**os.environ, **threads, **gpu}
        with (job.folder / "log.txt").open("a") as log:
            with self._starting:
                if self._stopped:
                    return ""
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
                )
                self._running[job.name] = process
            with process:
                code = process.wait()
                self._running.pop(job.name)
            with suppress(ProcessLookupError):  # whatever the method has started and left behind
                os.killpg(process.pid, signal.SIGKILL)
        return "" if code == 0 else _what_went_wrong(job, code)


def room() -> int:
    """How many jobs can run at the same time."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else core_count()


def _prepare(job: Job, threads: int) -> None:
    """Write the job's description into its folder."""
    config = job.config.model_copy(
        update={
            "seed": job.seed,
            "train": job.config.train.model_copy(update={"threads": threads, "evaluate_every": 0}),
            "features": job.config.features.model_copy(update={"workers": threads}),
        }
    )
    write_text(job.folder / "config.yaml", dump_config(config))
    facts = {"identity": job.identity, "method": job.spec, "seed": job.seed, "store": str(job.store.resolve())}
    write_json(job.folder / "job.json", facts)


def _what_went_wrong(job: Job, code: int) -> str:
    """Say why a worker ended with an exit code, by the end of its log."""
    lines = (job.folder / "log.txt").read_text(errors="replace").rstrip().splitlines()
    error = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith("Error: ")), None)
    if error is not None:
        return " ".join(lines[error:]).removeprefix("Error: ")
    ended = f"exit code {code}" if code > 0 else f"ended from outside by signal {-code}, often because memory ran out"
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
