"""Files that are there as a whole or not at all, and folders that one process writes at a time.

A file is written under a name of its own, forced to the disk, and then renamed. The name of the draft carries host and
process id, so that two processes never write one file, and leftovers of a killed process can be told from drafts that
are still being written.
"""

import errno
import fcntl
import itertools
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from grape_ops.errors import GrapeOpsError

LOCK_FILE = ".grape-ops.lock"
_DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]*)-(?P<pid>\d+)-\d+\.draft")
_NUMBERS = itertools.count()


@contextmanager
def draft_of(file: Path) -> Iterator[Path]:
    """Give the path of a draft to write; it takes the place of ``file`` once the block ends without an error.

    Parameters
    ----------
    file : the file to write; its folder is made if it is not there.

    Raises
    ------
    GrapeOpsError : the disk is full, the folder cannot be written, or was removed; what was there stays whole.
    """
    draft = file.with_name(f".{file.name}.{_host()}-{os.getpid()}-{next(_NUMBERS)}.draft")
    try:
        with output_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            settle(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def settle(draft: Path, file: Path) -> None:
    """Force a file that is written in full to the disk, and only then give it its final name."""
    with draft.open("r+b") as handle:
        os.fsync(handle.fileno())
    os.replace(draft, file)


def write_text(file: Path, text: str) -> None:
    """Write a text file as a whole."""
    with draft_of(file) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any) -> None:
    """Write JSON as a whole."""
    write_text(file, json.dumps(content, indent=1) + "\n")


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes from writing into a folder while the block runs; the folder is made if it is not there.

    Parameters
    ----------
    folder : the folder to lock. A killed process leaves no lock behind: the system gives it back.
    what : what is being written, in words.

    Raises
    ------
    GrapeOpsError : another process holds the lock.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(folder, what)
    with handle:
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {_host()}")
        handle.flush()
        clear_leftovers(folder)
        try:
            yield
        finally:
            (folder / LOCK_FILE).unlink(missing_ok=True)  # while the lock is held: see _lock


def _lock(folder: Path, what: str) -> TextIO:
    """Open the lock file of a folder and lock it."""
    while True:
        handle = (folder / LOCK_FILE).open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with handle:
                handle.seek(0)
                holder = handle.read().strip() or "another process"
            raise GrapeOpsError(
                f"{folder} is being written by {holder}. Wait until it is done, or give another --out for {what}."
            ) from None
        except OSError:  # a file system without locks: drafts of their own still keep files whole
            return handle
        with suppress(FileNotFoundError):
            if os.fstat(handle.fileno()).st_ino == (folder / LOCK_FILE).stat().st_ino:
                return handle
        handle.close()  # its last holder has removed it meanwhile


def clear_leftovers(folder: Path) -> None:
    """Remove drafts in a folder whose process, on this machine, no longer runs."""
    for path in folder.glob(".*.draft"):
        found = _DRAFT.fullmatch(path.name)
        if found and found["host"] == _host() and not _runs(int(found["pid"])):
            path.unlink(missing_ok=True)


@contextmanager
def output_errors(place: Path) -> Iterator[None]:
    """Say errors of the output side in words.

    Raises
    ------
    GrapeOpsError : for an ``OSError`` of the block.
    """
    try:
        yield
    except OSError as error:
        raise GrapeOpsError(_in_words(error, place)) from error


def _in_words(error: OSError, place: Path) -> str:
    match error.errno:
        case errno.ENOSPC:
            return f"The disk is full: {place} could not be written. What was there before is whole; make room."
        case errno.EDQUOT:
            return f"Your quota is used up: {place} could not be written. What was there before is whole; make room."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{place} could not be written: you may not write into {place.parent}. Name another --out."
        case errno.ENOENT | errno.ENOTDIR:
            return f"{place} could not be written: its folder is not there, or was removed meanwhile."
        case _:
            return f"{place} could not be written: {error.strerror or error}."


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "-", platform.node())


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
