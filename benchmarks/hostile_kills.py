"""Commands that are killed, stopped, meet a full disk, a read-only or removed folder, or run twice on one folder.

A command is done in a child, which counts what it does to files (opens to write, renames, removals, new folders,
fsync) and dies, gets SIGTERM, finds the disk full or its folder gone, at one of these events. The same command then
goes on, and must give what it gives undisturbed.
"""

import errno
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from grape_ops.cli import main
from grape_ops.errors import GrapeOpsError
from grape_ops.report.projection import projections
from hostile_commands import COMMANDS, Command, draw_screen

_FORK = multiprocessing.get_context("fork")
# How a command is disturbed.
MODES = ("kill", "terminate", "full disk", "no permission", "folder removed", "file too large", "two at once")
_IMPORTED = ("umap", "igraph", "lightning_fabric", "matplotlib.backends.backend_pdf", "sklearn.ensemble")
_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}
_DENIED = {"full disk": errno.ENOSPC, "no permission": errno.EACCES}
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_SECONDS = 600  # that a command may take


def prepare(root: Path, names: list[str]) -> dict[str, Any]:
    """Make what the commands read, and what each gives undisturbed."""
    root.mkdir()
    _warm_up()
    drawing = _FORK.Process(target=draw_screen, args=(root,))
    drawing.start()
    drawing.join()
    found = {}
    for name in names:
        command = COMMANDS[name]
        folder = root / "pipeline" if command.pipeline else root
        words = command.words_in(folder)
        code, log = _done(root, words)
        if code not in (0, 3):
            raise SystemExit(f"grape-ops {' '.join(words)} fails undisturbed: {log}")
        found[name] = command.essence(folder / command.out)
    return found


def _warm_up() -> None:
    """Import and compile once what every child would on its own."""
    for name in _IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    if "umap" in sys.modules:
        projections(np.eye(6, dtype=np.float32), seed=0, fewest=4)


def draw_trials(number: int, seed: int) -> list[tuple[str, str, float]]:
    """Draw how each command in turn is disturbed, and when: at which share of its events, or of 20,000 bytes.

    A command meets every mode before it meets one again.
    """
    rng = np.random.default_rng([seed, 1])
    modes = [rng.permutation(MODES).tolist() for _ in COMMANDS]
    turns = [divmod(i, len(COMMANDS)) for i in range(number)]
    return [(list(COMMANDS)[i], modes[i][turn % len(MODES)], float(rng.random())) for turn, i in turns]


def try_all(root: Path, trials: list[tuple[str, str, float]], workers: int) -> dict[str, Any]:
    """Disturb all commands, several beside each other, and count what came of it."""
    found: list[dict[str, Any]] = []
    if trials:
        drawn = {name for name, _, _ in trials}
        needed = [name for place, name in enumerate(COMMANDS) if drawn & set(list(COMMANDS)[place:])]
        reference = prepare(root, needed)
        events = {name: _count_events(root, name) for name in needed}
        ends = [_FORK.Pipe(duplex=False) for _ in range(workers)]
        for start, (_, answer) in enumerate(ends):
            _FORK.Process(target=_try_some, args=(root, trials[start::workers], events, reference, answer)).start()
            answer.close()
        for end, _ in ends:
            found += end.recv()
    kinds = {mode: Counter(one["kind"] for one in found if one["mode"] == mode) for mode in MODES}
    return {
        "tried": len(found),
        "by_kind": {mode: dict(counts) for mode, counts in kinds.items() if counts},
        "failures": [one for one in found if one["kind"] != "same"],
    }


def _try_some(
    root: Path,
    trials: list[tuple[str, str, float]],
    events: dict[str, int],
    reference: dict[str, Any],
    answer: Connection,
) -> None:
    found = []
    for name, mode, share in trials:
        at = int(share * 20_000) if mode == "file too large" else 1 + int(share * events[name])
        found.append(try_one(root, name, mode, at, reference[name]))
        sys.stderr.write(f"{name}, {mode} at {at}: {found[-1]['kind']}\n")
    answer.send(found)


def _count_events(root: Path, name: str) -> int:
    """Count the events of a command that nothing disturbs."""
    count = root / "count"
    _done(root, COMMANDS[name].words_in(root / f"{name} counted"), count)
    return int(count.read_text())


def try_one(root: Path, name: str, mode: str, at: int, reference: Any) -> dict[str, Any]:
    """Disturb one command at an event, let it go on, and say what came of it.

    Parameters
    ----------
    mode : "kill" and "terminate" (at that event), "full disk" or "no permission" (from that event on), "folder
        removed" (at that event), "file too large" (longer than ``at`` bytes), or "two at once".
    """
    command = COMMANDS[name]
    folder = root / f"{name} {mode} {at} {os.getpid()}-{time.monotonic_ns()}"
    words = command.words_in(folder)
    found = {"command": name, "mode": mode, "at": at}
    if mode == "two at once":
        logs = [folder.with_name(f"{folder.name} log {i}") for i in range(2)]
        both = [_start(root, words, log, None, "", 0) for log in logs]
        ends = [(_ended(process), log.read_text(errors="replace")) for process, log in zip(both, logs, strict=True)]
    else:
        ends = [_done(root, words, None, mode, at, folder / command.out if command.pipeline else folder)]
    for code, log in ends:
        if "Traceback" in log or (code < 0 and -code != _SIGNALS.get(mode)):
            return found | {"kind": "traceback" if code >= 0 else "signal", "words": log[-1500:]}
        if mode not in _SIGNALS and code not in (0, 3) and "Error: " not in log:
            return found | {"kind": "no words", "words": log[-1500:]}
    if mode not in _SIGNALS and any(code == 0 for code, _ in ends):
        return found | _result(command, folder, reference, ends[-1][1])
    code, log = _done(root, (*words, *(command.way_on if (folder / command.out).exists() else ())))
    if code not in (0, 3):
        kind = "signal" if code < 0 else "traceback" if "Traceback" in log else "stuck"
        return found | {"kind": kind, "words": log[-1500:]}
    return found | _result(command, folder, reference, log)


def _result(command: Command, folder: Path, reference: Any, log: str) -> dict[str, Any]:
    try:
        found = command.essence(folder / command.out)
    except (GrapeOpsError, OSError) as error:
        return {"kind": "lost", "words": f"{error}\n{log[-1500:]}"}
    if found != reference:
        return {"kind": "wrong", "words": log[-1500:]}
    left = [str(path.relative_to(folder)) for kind in (".*draft-*", "*.work-*") for path in folder.rglob(kind)]
    shutil.rmtree(folder)
    return {"kind": "leftovers", "words": ", ".join(left)} if left else {"kind": "same"}


def _done(
    root: Path,
    words: tuple[str, ...],
    count: Path | None = None,
    mode: str = "",
    at: int = 0,
    removed: Path | None = None,
) -> tuple[int, str]:
    log = root / "logs" / f"{os.getpid()}-{time.monotonic_ns()}"
    return _ended(_start(root, words, log, count, mode, at, removed)), log.read_text(errors="replace")


def _start(
    root: Path, words: tuple[str, ...], log: Path, count: Path | None, mode: str, at: int, removed: Path | None = None
) -> Any:
    log.parent.mkdir(exist_ok=True)
    log.touch()
    process = _FORK.Process(target=_command, args=(root, words, log, count, mode, at, removed))
    process.start()
    return process


def _ended(process: Any) -> int:
    process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return -signal.SIGALRM
    return int(process.exitcode)


def _command(
    root: Path, words: tuple[str, ...], log: Path, count: Path | None, mode: str, at: int, removed: Path | None
) -> None:
    """Do a command in this process, a child of the trial, and end it."""
    output = os.open(log, os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(root)
    sys.argv = ["grape-ops", *words]
    seen = _watch(mode, at, removed)
    if mode == "file too large":
        resource.setrlimit(resource.RLIMIT_FSIZE, (at, at))
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001, as Python itself would print it
        traceback.print_exc()
        code = 70
    if count is not None:
        count.write_text(str(seen[0]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _watch(mode: str, at: int, removed: Path | None) -> list[int]:
    """Count the events from now on, and let the one numbered ``at`` go wrong."""
    seen = [0]
    fsync = os.fsync

    def happened(writes: bool, path: Any = None) -> None:
        seen[0] += 1
        if mode in _SIGNALS and seen[0] == at:
            os.kill(os.getpid(), _SIGNALS[mode])
        if mode == "folder removed" and seen[0] == at and removed is not None:
            shutil.rmtree(removed, ignore_errors=True)
        if mode in _DENIED and seen[0] >= at and writes:
            raise OSError(_DENIED[mode], os.strerror(_DENIED[mode]), path)

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            named = isinstance(path, str | Path) and not str(path).startswith("/dev/")
            if named and isinstance(flags, int) and flags & _WRITING:
                happened(bool(flags & os.O_CREAT), str(path))
        elif event in _EVENTS:
            happened(event == "os.mkdir", str(args[0]))

    def counted(fd: Any) -> None:
        happened(writes=True)
        fsync(fd)

    os.fsync = counted
    sys.addaudithook(audit)
    return seen
