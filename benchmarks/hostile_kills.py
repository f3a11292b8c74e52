"""Commands that are killed, stopped, meet a full disk, a read-only or removed folder, or run twice on one folder.

A command is done in a child, which counts what it does to files (opens to write, renames, removals, new folders,
fsync) and dies at one of these events or soon after it, gets SIGTERM, finds the disk full or its folder gone. What lies
there then must be whole: in every second trial an earlier result lies there before, which must not be lost either. The
same command then goes on, and must give what it gives undisturbed.
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
from typing import Any, NamedTuple

import numpy as np

from grape_ops.cli import main
from grape_ops.report.projection import projections
from hostile_commands import COMMANDS, Command, content_of, draw_screen

_FORK = multiprocessing.get_context("fork")
# How a command is disturbed.
_DYING = ("kill", "kill soon", "terminate")
MODES = (*_DYING, "full disk", "no permission", "folder removed", "file too large", "two at once")
_IMPORTED = ("umap", "igraph", "lightning_fabric", "matplotlib.backends.backend_pdf", "sklearn.ensemble")
_SIGNALS = dict(zip(_DYING, (signal.SIGKILL, signal.SIGVTALRM, signal.SIGTERM), strict=True))
_SOON = 0.03  # seconds of the processor after an event, within which "kill soon" kills
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


class Trial(NamedTuple):
    """How a command is disturbed.

    Attributes
    ----------
    command, mode : which, and how.
    share : when: of its events; of the bytes of its largest file.
    later : seconds of the processor after the event, for "kill soon".
    over : whether an earlier result lies there.
    """

    command: str
    mode: str
    share: float
    later: float
    over: bool


def draw_trials(number: int, seed: int) -> list[Trial]:
    """Draw how each command in turn is disturbed, and when.

    A command meets every mode before it meets one again.
    """
    rng = np.random.default_rng([seed, 1])
    modes = [rng.permutation(MODES).tolist() for _ in COMMANDS]
    turns = [divmod(i, len(COMMANDS)) for i in range(number)]
    drawn = []
    for turn, i in turns:
        name = list(COMMANDS)[i]
        share, later, coin = rng.random(3).tolist()
        command = COMMANDS[name]
        over = coin < 0.5 and command.replaces and not (command.way_on or command.pipeline)  # they have nothing to do
        drawn.append(Trial(name, modes[i][turn % len(MODES)], share, later * _SOON, over))
    return drawn


def try_all(root: Path, trials: list[Trial], workers: int) -> dict[str, Any]:
    """Disturb all commands, several beside each other, and count what came of it."""
    found: list[dict[str, Any]] = []
    if trials:
        drawn = {trial.command for trial in trials}
        needed = [name for place, name in enumerate(COMMANDS) if drawn & set(list(COMMANDS)[place:])]
        reference = prepare(root, needed)
        events = {name: _count_events(root, name, reference[name]) for name in needed}
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
    trials: list[Trial],
    events: dict[str, int],
    reference: dict[str, Any],
    answer: Connection,
) -> None:
    found = []
    for trial in trials:
        name, mode = trial.command, trial.mode
        # The log of a command is a file too: results smaller than that are cut short by other modes.
        most = max(_largest(root / COMMANDS[name].out), 20_000)
        at = int(trial.share * most) if mode == "file too large" else 1 + int(trial.share * events[name])
        found.append(try_one(root, trial, at, reference[name]))
        over = " over an earlier result" if trial.over else ""
        sys.stderr.write(f"{name}{over}, {mode} at {at}: {found[-1]['kind']}\n")
    answer.send(found)


def _largest(path: Path) -> int:
    return max((one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file()), default=0)


def _count_events(root: Path, name: str, reference: Any) -> int:
    """Count the events of a command that nothing disturbs."""
    command, count, folder = COMMANDS[name], root / "count", root / f"{name} counted"
    _done(root, command.words_in(folder), Disturbance(counted=count))
    if command.essence(folder / command.out) != reference:
        raise SystemExit(f"Two calls of {name} that nothing disturbs give different results.")
    return int(count.read_text())


def try_one(root: Path, trial: Trial, at: int, reference: Any) -> dict[str, Any]:
    """Disturb one command at an event, let it go on, and say what came of it.

    Parameters
    ----------
    trial : of its modes, "kill" and "terminate" come at that event, "kill soon" after it, "full disk" and "no
        permission" from that event on; "folder removed" at that event, "file too large" for longer than ``at`` bytes.
    """
    command, mode = COMMANDS[trial.command], trial.mode
    folder = root / f"{trial.command} {mode} {at} {os.getpid()}-{time.monotonic_ns()}"
    words, out = command.words_in(folder), folder / command.out
    found = {"command": trial.command, "mode": mode, "at": at, "over": trial.over}
    if trial.over:
        folder.mkdir(exist_ok=True)
        earlier = root / command.out
        (shutil.copytree if earlier.is_dir() else shutil.copy2)(earlier, out)
    if mode == "two at once":
        logs = [folder.with_name(f"{folder.name} log {i}") for i in range(2)]
        both = [_start(root, words, log, _UNDISTURBED) for log in logs]
        ends = [(_ended(process), log.read_text(errors="replace")) for process, log in zip(both, logs, strict=True)]
    else:
        removed = out if command.pipeline else folder
        ends = [_done(root, words, Disturbance(mode, at, trial.later, removed))]
    for code, log in ends:
        if "Traceback" in log or (code < 0 and -code != _SIGNALS.get(mode)):
            return found | {"kind": "traceback" if code >= 0 else "signal", "words": log[-1500:]}
        if mode not in _SIGNALS and code not in (0, 3) and "Error: " not in log:
            return found | {"kind": "no words", "words": log[-1500:]}
    if any(code == 0 for code, _ in ends):
        return found | _result(command, folder, reference, ends[-1][1])
    if mode != "folder removed" and (trouble := _lies_there(out, command, reference, trial.over)):
        return found | trouble
    code, log = _done(root, (*words, *(command.way_on if (folder / command.out).exists() else ())))
    if code not in (0, 3):
        kind = "signal" if code < 0 else "traceback" if "Traceback" in log else "stuck"
        return found | {"kind": kind, "words": log[-1500:]}
    return found | _result(command, folder, reference, log)


def _lies_there(out: Path, command: Command, reference: Any, over: bool) -> dict[str, Any] | None:
    """Look for what a command that ended early has lost or left half written; None if there is nothing."""
    if over and not out.exists():
        return {"kind": "lost", "words": f"the earlier {out} is gone"}
    try:
        if out.is_file():
            torn = [str(out)] if command.essence(out) != reference else []
        elif isinstance(reference, dict):
            there = {name: out / name for name in reference if (out / name).is_file()}
            torn = [name for name, file in there.items() if content_of(file) != reference[name]]
        else:
            torn = []
    except Exception as error:  # noqa: BLE001, a file of which half is there raises anything
        return {"kind": "torn", "words": repr(error)}
    return {"kind": "torn", "words": ", ".join(torn)} if torn else None


def _result(command: Command, folder: Path, reference: Any, log: str) -> dict[str, Any]:
    try:
        found = command.essence(folder / command.out)
    except Exception as error:  # noqa: BLE001, as above
        return {"kind": "lost", "words": f"{error!r}\n{log[-1500:]}"}
    if found != reference:
        return {"kind": "wrong", "words": log[-1500:]}
    left = [str(path.relative_to(folder)) for kind in (".*draft-*", "*.work-*") for path in folder.rglob(kind)]
    shutil.rmtree(folder)
    return {"kind": "leftovers", "words": ", ".join(left)} if left else {"kind": "same"}


class Disturbance(NamedTuple):
    """What happens to a command, and where its events are counted.

    Attributes
    ----------
    mode, at, later : as in a trial; no mode disturbs nothing.
    removed : the folder that is removed.
    counted : file that gets the number of events.
    """

    mode: str = ""
    at: int = 0
    later: float = 0.0
    removed: Path | None = None
    counted: Path | None = None


_UNDISTURBED = Disturbance()


def _done(root: Path, words: tuple[str, ...], disturbance: Disturbance = _UNDISTURBED) -> tuple[int, str]:
    log = root / "logs" / f"{os.getpid()}-{time.monotonic_ns()}"
    return _ended(_start(root, words, log, disturbance)), log.read_text(errors="replace")


def _start(root: Path, words: tuple[str, ...], log: Path, disturbance: Disturbance) -> Any:
    log.parent.mkdir(exist_ok=True)
    log.touch()
    process = _FORK.Process(target=_command, args=(root, words, log, disturbance))
    process.start()
    return process


def _ended(process: Any) -> int:
    process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return -signal.SIGALRM
    return int(process.exitcode)


def _command(root: Path, words: tuple[str, ...], log: Path, disturbance: Disturbance) -> None:
    """Do a command in this process, a child of the trial, and end it."""
    output = os.open(log, os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(root)
    sys.argv = ["grape-ops", *words]
    seen = _watch(disturbance)
    if disturbance.mode == "file too large":
        resource.setrlimit(resource.RLIMIT_FSIZE, (disturbance.at, disturbance.at))
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001, as Python itself would print it
        traceback.print_exc()
        code = 70
    if disturbance.counted is not None:
        disturbance.counted.write_text(str(seen[0]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _watch(disturbance: Disturbance) -> list[int]:
    """Count the events from now on, and let the one numbered ``at`` go wrong."""
    mode, at, later, removed, _ = disturbance
    seen = [0]
    fsync = os.fsync

    def happened(writes: bool, path: Any = None) -> None:
        seen[0] += 1
        if mode == "kill soon" and seen[0] == at:
            signal.setitimer(signal.ITIMER_VIRTUAL, max(later, 1e-6))
        elif mode in _SIGNALS and seen[0] == at:
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
