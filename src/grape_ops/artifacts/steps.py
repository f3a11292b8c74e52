"""Steps that are done once: which are up to date, and where outdated results go.

A step writes its stamp, ``.grape-ops/STEP.json`` in the output folder, before and after its work. A stamp that fits
but is not finished makes the step go on; one that does not fit makes it start afresh. What lay there is set aside
whole, in ``outdated/STEP-HASH/``, and comes back when inputs and settings are those again.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from grape_ops import __version__
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import STAMPS_DIR

OUTDATED_DIR = "outdated"
_STAMP = "stamp.json"  # beside the results in a folder of outdated/


@dataclass(frozen=True)
class Step:
    """One step of a pipeline.

    Attributes
    ----------
    name : of the step and of its stamp.
    inputs : what decides the result; JSON-able.
    outputs : files or folders it makes.
    act : does it; ``act(resume)`` goes on with a half-done result of the same inputs.
    goal : how far it goes; a farther goal makes a finished step go on.
    reached : how far the result at a path, that of the first output, is.
    """

    name: str
    inputs: Any
    outputs: tuple[Path, ...]
    act: Callable[[bool], None]
    goal: int = 0
    reached: Callable[[Path], int] = lambda _: 0

    @property
    def identity(self) -> str:
        """SHA-256 of the inputs: results of equal identity can be gone on with."""
        return sha256([__version__, self.inputs])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of inputs and goal: what later steps depend on."""
        return sha256([self.identity, self.goal])


def do(step: Step, out: Path) -> None:
    """Do a step if it is not up to date; what it makes outdated is set aside in ``out``.

    Raises
    ------
    GrapeOpsError : something lies there that no step has made.
    """
    stamp = out / STAMPS_DIR / f"{step.name}.json"
    record = _read(stamp)
    kept = _kept(step, out)
    if (here := _rank(step, record, step.outputs[0])) is None or (kept is not None and kept.rank > here):
        _set_aside(step, record, out)
        stamp.unlink(missing_ok=True)
        record = _bring_back(step, kept, stamp) if kept is not None else {}
    if record.get("finished") == step.fingerprint and all(path.exists() for path in step.outputs):
        typer.echo(f"{step.name}: up to date")
        return
    typer.echo(f"{step.name}: {'going on' if record else 'working'}")
    _write(stamp, {"identity": step.identity, "finished": None})
    step.act(bool(record))
    _write(stamp, {"identity": step.identity, "finished": step.fingerprint})


def _rank(step: Step, record: dict[str, Any], result: Path) -> tuple[bool, int] | None:
    """How much of a step a result is: whether all, and how far; None if it is another's, or beyond the goal."""
    if record.get("identity") != step.identity or (reached := step.reached(result)) > step.goal:
        return None
    return record["finished"] == step.fingerprint, reached


@dataclass(frozen=True)
class _Kept:
    """A result that was set aside: its folder, its stamp, and how much of the step it is."""

    folder: Path
    record: dict[str, Any]
    rank: tuple[bool, int]


def _kept(step: Step, out: Path) -> _Kept | None:
    """What was set aside and is most of the step, if anything is."""
    main = step.outputs[0].name
    found = []
    for folder in (out / OUTDATED_DIR).glob(f"{step.name}-*"):
        record = _read(folder / _STAMP)
        if (folder / main).exists() and (rank := _rank(step, record, folder / main)) is not None:
            found.append(_Kept(folder, record, rank))
    return max(found, key=lambda kept: kept.rank, default=None)


def _set_aside(step: Step, record: dict[str, Any], out: Path) -> None:
    """Move what an outdated step left, so that nothing computed is lost."""
    there = [path for path in step.outputs if path.exists()]
    if not there:
        return
    if not record:
        raise GrapeOpsError(
            f"{there[0]} is in the way of the step {step.name}, and no step of this pipeline made it. Move it away, "
            "or set another `out` in the pipeline file."
        )
    base = out / OUTDATED_DIR / f"{step.name}-{(record['finished'] or record['identity'])[:8]}"
    names = itertools.chain([base], (base.with_name(f"{base.name}-{n}") for n in itertools.count(2)))
    folder = next(name for name in names if not name.exists())
    folder.mkdir(parents=True)
    for path in there:
        shutil.move(path, folder / path.name)
    _write(folder / _STAMP, record)
    typer.echo(f"  set aside: {folder} (made with other inputs or settings, and taken again with those)")


def _bring_back(step: Step, kept: _Kept, stamp: Path) -> dict[str, Any]:
    """Move back what was set aside, and give its stamp."""
    _write(stamp, {"identity": step.identity, "finished": None})  # a crash from here on leaves a beginning
    for path in step.outputs:
        if (kept.folder / path.name).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(kept.folder / path.name, path)
    _write(stamp, kept.record)
    shutil.rmtree(kept.folder)
    typer.echo(f"  brought back: {kept.folder}")
    return kept.record


def sha256(facts: Any) -> str:
    """Hash of something that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}


def _write(file: Path, record: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record))
