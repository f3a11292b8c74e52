"""Steps that are done once: which are up to date, and where outdated results go.

A step writes its stamp, ``.grape-ops/STEP.json`` in the output folder, before and after its work. A stamp that fits
but is not finished makes the step go on; one that does not fit makes it start afresh. What lay there is set aside
whole, in ``outdated/STEP-HASH/``, and comes back when inputs and settings are those again.
"""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from grape_ops import __version__
from grape_ops.artifacts.atomic import write_json
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.artifacts.identity import identity_of
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
        return identity_of(__version__, self.inputs)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of inputs and goal: what later steps depend on."""
        return identity_of(self.identity, self.goal)


@dataclass(frozen=True)
class _Stamp:
    """What a step has written down about a result; a stamp that cannot be read says nothing.

    Attributes
    ----------
    identity : of the step that began it.
    finished : fingerprint of the step that finished it.
    """

    identity: str = ""
    finished: str | None = None


def run_step(step: Step, out: Path) -> None:
    """Do a step if it is not up to date; what it makes outdated is set aside in ``out``.

    Raises
    ------
    GrapeOpsError : something lies there that no step has made, or ``out`` cannot be written.
    """
    file = out / STAMPS_DIR / f"{step.name}.json"
    stamp = _read(file)
    kept = _kept(step, out)
    if (here := _rank(step, stamp, step.outputs[0])) is None or (kept is not None and kept.rank > here):
        with output_errors(out):
            _set_aside(step, stamp, out)
            file.unlink(missing_ok=True)
            stamp = _bring_back(step, kept, file) if kept is not None else None
    if stamp is not None and stamp.finished == step.fingerprint and all(path.exists() for path in step.outputs):
        typer.echo(f"{step.name}: up to date")
        return
    typer.echo(f"{step.name}: {'going on' if stamp else 'working'}")
    _write(file, _Stamp(step.identity))
    step.act(stamp is not None)
    _write(file, _Stamp(step.identity, step.fingerprint))


def _rank(step: Step, stamp: _Stamp | None, result: Path) -> tuple[bool, int] | None:
    """How much of a step a result is: whether all, and how far; None if it is another's, or beyond the goal."""
    if stamp is None or stamp.identity != step.identity or (reached := step.reached(result)) > step.goal:
        return None
    return stamp.finished == step.fingerprint, reached


@dataclass(frozen=True)
class _Kept:
    """A result that was set aside: its folder, its stamp, and how much of the step it is."""

    folder: Path
    stamp: _Stamp
    rank: tuple[bool, int]


def _kept(step: Step, out: Path) -> _Kept | None:
    """What was set aside and is most of the step, if anything is."""
    main = step.outputs[0].name
    found = []
    for folder in (out / OUTDATED_DIR).glob(f"{step.name}-*"):
        stamp = _read(folder / _STAMP)
        if stamp and (folder / main).exists() and (rank := _rank(step, stamp, folder / main)) is not None:
            found.append(_Kept(folder, stamp, rank))
    return max(found, key=lambda kept: kept.rank, default=None)


def _set_aside(step: Step, stamp: _Stamp | None, out: Path) -> None:
    """Move what an outdated step left, so that nothing computed is lost."""
    there = [path for path in step.outputs if path.exists()]
    if not there:
        return
    if stamp is None:
        raise GrapeOpsError(
            f"{there[0]} is in the way of the step {step.name}, and no step of this pipeline made it. Move it away, "
            "or set another `out` in the pipeline file."
        )
    known = stamp.finished or stamp.identity
    base = out / OUTDATED_DIR / f"{step.name}-{known[:8] or 'unknown'}"
    names = itertools.chain([base], (base.with_name(f"{base.name}-{n}") for n in itertools.count(2)))
    folder = next(name for name in names if not name.exists())
    folder.mkdir(parents=True)
    for path in there:
        shutil.move(path, folder / path.name)
    _write(folder / _STAMP, stamp)
    why = "made with other inputs or settings, and taken again with those" if known else "its stamp is damaged"
    typer.echo(f"  set aside: {folder} ({why})")


def _bring_back(step: Step, kept: _Kept, file: Path) -> _Stamp:
    """Move back what was set aside, and give its stamp."""
    _write(file, _Stamp(step.identity))  # a crash from here on leaves a beginning
    for path in step.outputs:
        if (kept.folder / path.name).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(kept.folder / path.name, path)
    _write(file, kept.stamp)
    shutil.rmtree(kept.folder)
    typer.echo(f"  brought back: {kept.folder}")
    return kept.stamp


def _read(file: Path) -> _Stamp | None:
    """Read a stamp; None if there is none."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return _Stamp()
    match record:
        case {"identity": str(identity), "finished": str() | None as finished}:
            return _Stamp(identity, finished)
        case _:
            return _Stamp()


def _write(file: Path, stamp: _Stamp) -> None:
    write_json(file, vars(stamp))
