"""Where results go: a command replaces what it made itself there, and nothing else."""

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note
from grape_ops.schema import QUALITY_FILE, RUN_FILE, SCORES_JSON, SCREEN_FILE, STAMPS_DIR, STORE_FILE

# What a folder of ours is, by the file that only it has.
_KINDS = {
    STORE_FILE: "a crop store",
    QUALITY_FILE: "a crop store that is not finished",
    RUN_FILE: "a run folder",
    SCORES_JSON: "an evaluation",
    SCREEN_FILE: "a screen",
}
_SHOWN = 3  # names of files in a message


def what_lies_at(path: Path) -> str:
    """Say in a few words what there is at a path, for messages about what is not there."""
    if not path.exists():
        return "nothing"
    if path.is_file():
        return "a file"
    kind = next((kind for name, kind in _KINDS.items() if (path / name).is_file()), None)
    return kind or ("a folder" if any(path.iterdir()) else "an empty folder")


def check_folder(
    folder: Path, what: str, *, ours: Collection[str] = (), marker: str | None = None, in_pipeline: bool = False
) -> None:
    """Stop before writing into somebody's folder.

    Parameters
    ----------
    folder : where the result is to go.
    what : the result, in words.
    ours : names of files and folders that may lie there, since they are ours.
    marker : name of the file that makes a folder an earlier result of the same kind, which is replaced.
    in_pipeline : whether it may be the folder of a pipeline, whose results are not to be replaced one by one.

    Raises
    ------
    GrapeOpsError : it is a file, holds something else, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise GrapeOpsError(f"{folder} is a file; name a folder for {what} with --out.")
    _check_writable(folder)
    if not folder.is_dir():
        return
    if (folder / STAMPS_DIR).is_dir() and not in_pipeline:
        raise GrapeOpsError(f"{folder} belongs to a pipeline. Name another folder for {what} with --out.")
    if marker is not None and (folder / marker).is_file():
        return
    others = sorted(p.name for p in folder.iterdir() if p.name not in ours and not p.name.startswith("."))
    if others:
        shown = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
        raise GrapeOpsError(
            f"The folder {folder} holds other things than {what} ({shown}), so nothing was written. "
            "Name a new or an empty folder with --out."
        )


def check_file(file: Path, what: str, *, example: str, is_ours: Callable[[Path], bool]) -> None:
    """Stop before replacing somebody's file.

    Parameters
    ----------
    file : where the result is to go.
    what : the result, in words.
    example : a name such a file may have.
    is_ours : whether a file that lies there is an earlier result of the same kind, which is replaced.

    Raises
    ------
    GrapeOpsError : it is a folder, or a file of somebody else, or its folder cannot be written.
    """
    if file.is_dir():
        raise GrapeOpsError(f"{file} is a folder; name a file for {what}, for example {file / example}.")
    _check_writable(file.parent)
    if not file.exists():
        return
    if not is_ours(file):
        raise GrapeOpsError(
            f"{file} exists and is not {what} of grape-ops, so nothing was written. Name another file with --out."
        )


def check_table(file: Path, columns: Sequence[str]) -> None:
    """Stop before replacing a file that is no tab-separated table of these columns."""
    header = "\t".join(columns)

    def is_ours(there: Path) -> bool:
        with there.open("rb") as lines:
            return lines.readline().rstrip(b"\r\n") == header.encode()

    check_file(file, f"a table of {', '.join(columns)}", example="table.tsv", is_ours=is_ours)


def warn_replaced(result: Path) -> None:
    """Say that an earlier result gives way, if there is one."""
    if result.exists():
        note(f"an earlier {result} was replaced.")


def _check_writable(folder: Path) -> None:
    """Stop before hours of work whose result could not be written."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), folder)
    if not os.access(there, os.W_OK | os.X_OK):
        raise GrapeOpsError(f"You may not write into {there}. Name another place with --out.")
