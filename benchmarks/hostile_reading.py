"""Reading a damaged input in a process that may die, and saying what came of it; see ``hostile.py`` for the kinds."""

import contextlib
import hashlib
import io
import multiprocessing
import os
import re
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from hostile_crafted import CRAFTED
from hostile_damage import BYTES, JSON, TEXT, YAML, Damage
from hostile_inputs import READERS

SECONDS = 30.0  # of the processor that a reader may take; other programs may keep it waiting
WAIT = 900.0  # seconds after which a reader that does not even answer a signal is given up
MEMORY = 3 << 30  # bytes that a reader may ask for
_REMOVED = 0.1  # share of the damages to one of several files
_TEXTS = (".csv", ".tsv", ".txt", ".gmt")
_FORK = multiprocessing.get_context("fork")  # what is imported here is there in every child


@dataclass(frozen=True)
class Case:
    """One damaged input: its reader, and the number that all else is drawn by, or the name of a crafted input."""

    reader: str
    seed: tuple[int, int]
    crafted: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    damage: str
    kind: str
    words: str = ""


def draw_cases(number: int, seed: int, only: str | None) -> list[Case]:
    """Draw as many cases as asked for, all readers in turn, after every crafted input."""
    names = [name for name in READERS if only in (None, name)]
    crafted = [Case(name, (seed, 0), craft) for name in names for craft in CRAFTED.get(name, {})]
    rest = max(number - len(crafted), 0)
    return [*crafted, *(Case(names[i % len(names)], (seed, i)) for i in range(rest))][:number]


def read_damaged(case: Case, template: Path, folder: Path, valid: Any) -> Outcome:
    """Damage a copy of a reader's valid input, read it, and say what came of it."""
    reader, rng = READERS[case.reader], np.random.default_rng(case.seed)
    shutil.copytree(template, folder)
    damage, file, before = _damage(case, folder, rng)
    if not damage:
        return Outcome(case, "none", "none")
    told = io.StringIO()
    try:
        quiet = contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO())
        with quiet[0], quiet[1], _limits(), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = digest(reader.read(folder))
    except GrapeOpsError as error:
        # A description that names other tiles is refused by the tiles' names.
        parents = ["/".join(one.parts[-2:]) for one in file.parents if one.is_relative_to(folder) and one != folder]
        named = any(name in str(error) for name in (file.name, *parents, "There is no tile"))
        return Outcome(case, damage, "refused" if named else "unnamed", f"{file.name}: {error}")
    except MemoryError:
        return Outcome(case, damage, "memory", traceback.format_exc(limit=-4))
    except _Late:
        return Outcome(case, damage, "hang", traceback.format_exc(limit=-4))
    except Exception:  # noqa: BLE001, that is what is looked for
        return Outcome(case, damage, "traceback", f"{file.name}: {traceback.format_exc(limit=-5)}")
    said = "Note:" in told.getvalue() or "arning" in told.getvalue() or any(_heard(one) for one in warned)
    kind = _compared(found, valid, said, Damaged(case, damage, file, before))
    return Outcome(case, damage, kind, f"{file.name}: {found['shape']} for {valid['shape']}")


def _heard(warning: warnings.WarningMessage) -> bool:
    """Whether a warning is the package's own; those of libraries name no file."""
    own = "site-packages" not in warning.filename
    return own and not issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | ResourceWarning)


@dataclass(frozen=True)
class Damaged:
    """What was done to a case: the name of the damage, the file, and its bytes before."""

    case: Case
    damage: str
    file: Path
    before: bytes


def _damage(case: Case, folder: Path, rng: np.random.Generator) -> tuple[str, Path, bytes]:
    """Damage one file of a folder: the damage's name, if it is of a kind that can be damaged so, file and old bytes."""
    files = (folder / "files").read_text().splitlines()
    file = folder / files[rng.integers(len(files))]
    if case.crafted:
        CRAFTED[case.reader][case.crafted](folder)
        return case.crafted, folder / files[0], b""
    data = file.read_bytes()
    if len(files) > 1 and rng.random() < _REMOVED:
        file.unlink()
        return "removed", file, data
    known: tuple[Damage, ...] = BYTES
    if file.suffix in _TEXTS:
        known = (*BYTES, *TEXT, *TEXT)
    elif file.suffix == ".json" or file.name in (".zarray", ".zattrs", ".zgroup"):
        known = (*BYTES, *JSON * 5)
    elif file.suffix == ".yaml":
        known = (*BYTES, *YAML * 5)
    damage = known[rng.integers(len(known))]
    changed = damage(data, rng) if data else None
    if changed is None or changed == data:
        return "", file, data
    file.write_bytes(changed)
    return damage.__name__, file, data


def _compared(found: dict[str, Any], valid: dict[str, Any], said: bool, done: Damaged) -> str:
    """Judge what was read without an error."""
    if found["values"] == valid["values"]:
        return "same"
    if said or found["told"] != valid["told"]:
        return "told"
    name, reader = done.case.reader, READERS[done.case.reader]
    if done.case.crafted or done.file.name.endswith(reader.checked):
        return "wrong"
    if done.file.suffix in _TEXTS:  # a text is what it says
        after = done.file.read_bytes()
        # GMT has rows of any length, and the first line of vectors may say how many there are.
        ragged = "GMT" not in name and _is_ragged(_lines(after)[name == "vectors text" :])
        fewer_lines = max(len(_lines(done.before)) - len(_lines(after)), 0)
        lost = reader.by_line and _items(valid) - _items(found) > fewer_lines
        return "wrong" if ragged or lost else "as written"
    written = found["shape"] == valid["shape"] and done.damage not in ("cut_off", "emptied", "removed")
    return "as written" if written or name in TREES else "wrong"


# What an edited one holds is what it says; of a run that does not go for what checksums cover.
TREES = ("config YAML", "pipeline YAML", "screen.yaml", "run and checkpoint", "scores.json")


def _items(read: dict[str, Any]) -> int:
    first = read["shape"][0]
    return int(first[0] if isinstance(first, tuple) else first)


def _lines(text: bytes) -> list[bytes]:
    return [line for line in re.split(rb"\r\n|\n|\r", text) if line.strip()]


def _is_ragged(lines: list[bytes]) -> bool:
    """Whether rows have fewer or more fields than the first one."""
    mark = next((mark for mark in (b"\t", b",", b";", b" ") if lines and mark in lines[0]), None)
    return (
        mark is not None and b'"' not in b"".join(lines) and len({line.strip(b" ").count(mark) for line in lines}) > 1
    )


def digest(read: Any) -> dict[str, Any]:
    """Take what was read apart: a hash of its values, its shape, and what it says was left out."""
    shape: list[Any] = []
    values = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, pd.DataFrame):
            shape.append(value.shape)
            values.update(repr(list(value.columns)).encode("utf-8", "surrogatepass"))
            for place in range(value.shape[1]):
                add(value.iloc[:, place].to_numpy())
        elif isinstance(value, Mapping):
            for key in value:
                if key != "told":
                    values.update(str(key).encode("utf-8", "surrogatepass"))
                    add(value[key])
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            shape.append(value.shape)
            values.update(repr(value.shape).encode())
            values.update(np.ascontiguousarray(value, np.float64).tobytes())
        elif isinstance(value, list | tuple | np.ndarray):
            shape.append(len(value))
            values.update(f"{len(value)} of".encode())
            for part in value:
                add(part)
        else:
            values.update(repr(value).encode("utf-8", "surrogatepass"))

    add(read)
    told = read.get("told") if isinstance(read, Mapping) else None
    return {"values": values.hexdigest(), "shape": shape, "told": repr(told)}


class _Late(BaseException):
    """The reader takes too long."""


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise _Late

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# Processes -----------------------------------------------------------------------------------------------------------


def _build(name: str, folder: Path, answer: Connection) -> None:
    _quiet(folder.parent)
    folder.mkdir(parents=True)
    try:
        files = READERS[name].build(folder)
        (folder / "files").write_text("\n".join(files))
        copy = folder.with_name(f"{folder.name}-valid")
        shutil.copytree(folder, copy)
        answer.send(digest(READERS[name].read(copy)))
    except Exception:  # noqa: BLE001, a mistake in this benchmark
        answer.send(traceback.format_exc())


def build_templates(names: list[str], root: Path) -> dict[str, Any]:
    """Write every reader's valid input, and read it once."""
    found = {}
    for place, name in enumerate(names):
        here, there = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=_build, args=(name, root / f"{place:02d}", there))
        process.start()
        there.close()
        found[name] = here.recv()
        process.join()
        if isinstance(found[name], str):
            raise SystemExit(f"The valid input of {name!r} cannot be built or read: {found[name]}")
    return found


def _work(requests: Connection, templates: dict[str, Path], valid: dict[str, Any], root: Path) -> None:
    _quiet(root)
    held = Path("/proc/self/statm")  # of Linux; elsewhere there is no limit
    if held.is_file():
        most = int(held.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    number = 0
    while (case := requests.recv()) is not None:
        folder = root / f"{os.getpid()}-{number}"
        number += 1
        requests.send(read_damaged(case, templates[case.reader], folder, valid[case.reader]))
        shutil.rmtree(folder, ignore_errors=True)


def _quiet(folder: Path) -> None:
    """Let nothing that libraries print reach the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / f"log-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)


class Worker:
    """A process that reads damaged inputs, and is replaced when it dies."""

    def __init__(self, *args: Any):
        self.requests, theirs = _FORK.Pipe()
        self.process = _FORK.Process(target=_work, args=(theirs, *args), daemon=True)
        self.process.start()
        theirs.close()
        self.case: Case | None = None
        self.since = 0.0

    def give(self, case: Case | None) -> None:
        """Hand over the next case; None ends the process."""
        self.case, self.since = case, time.monotonic()
        self.requests.send(case)

    def take(self) -> Outcome | None:
        """Take an outcome, if there is one or will be none; a dead process' outcome is its signal."""
        assert self.case is not None
        late = time.monotonic() - self.since > WAIT
        if not self.requests.poll():
            if not late:
                return None
            self.process.kill()
            return Outcome(self.case, "", "hang", "it answers no signal")
        try:
            outcome: Outcome = self.requests.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return Outcome(self.case, "", "signal", f"exit code {self.process.exitcode}")
        return outcome


def run_cases(cases: list[Case], root: Path, workers: int) -> list[Outcome]:
    """Read all damaged inputs, several processes beside each other."""
    names = sorted({case.reader for case in cases}, key=list(READERS).index)
    valid = build_templates(names, root / "valid")
    templates = {name: root / "valid" / f"{place:02d}" for place, name in enumerate(names)}
    waiting = iter(cases)
    args = (templates, valid, root / "tried")
    busy: list[Worker] = []
    found: list[Outcome] = []
    for _ in range(workers):
        if (case := next(waiting, None)) is not None:
            busy.append(Worker(*args))
            busy[-1].give(case)
    while busy:
        wait([worker.requests for worker in busy], timeout=1)
        for worker in list(busy):
            if (outcome := worker.take()) is None:
                continue
            found.append(outcome)
            died = outcome.damage == ""
            if (case := next(waiting, None)) is None:
                if not died:
                    worker.give(None)
                    worker.process.join()
                busy.remove(worker)
                continue
            if died:
                busy[busy.index(worker)] = worker = Worker(*args)
            worker.give(case)
    return found
