"""Folders that one process writes at a time."""

import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from grape_ops.artifacts.atomic import clear_leftovers
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note

LOCK_FILE = ".grape-ops.lock"


@contextmanager
def locked(folder: Path, what: str, *, wait: bool = False, temporary: bool = False) -> Iterator[None]:
    """Keep other processes from writing into a folder while the block runs; the folder is made if it is not there.

    Parameters
    ----------
    folder : the folder to lock. A killed process leaves no lock behind: the system gives it back.
    what : what is being written, in words.
    wait : wait for the other process instead of stopping.
    temporary : remove the folder, with all that lies in it, once the block ends without an error.

    Raises
    ------
    GrapeOpsError : another process holds the lock, the folder is a file, cannot be written, or was removed meanwhile.
    """
    if folder.exists() and not folder.is_dir():
        raise GrapeOpsError(f"{folder} is a file, and {what} needs a folder: name another one.")
    made, lost = not folder.exists(), f"{folder} was removed meanwhile, and what lay in it is lost: repeat the call."
    with output_errors(folder):
        handle = _lock(folder, what, wait)
    with handle, _descriptor(folder) as opened:
        try:
            with output_errors(folder):
                handle.truncate(0)
                handle.write(f"process {os.getpid()} on {platform.node()}")
                handle.flush()
                clear_leftovers(folder)
            yield
            if temporary and _is(opened, folder):
                made = True
                for part in folder.iterdir():
                    if part.name != LOCK_FILE:
                        shutil.rmtree(part) if part.is_dir() else part.unlink()
        except BaseException as error:
            there = _unlock(handle, opened, folder, remove=made)
            if not there and isinstance(error, Exception) and not isinstance(error, GrapeOpsError):
                raise GrapeOpsError(lost) from error
            raise
        if not _unlock(handle, opened, folder, remove=made):
            raise GrapeOpsError(lost)


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    """Keep a folder open: while it is, no other folder can be mistaken for it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield opened
    finally:
        os.close(opened)


def _lock(folder: Path, what: str, wait: bool) -> TextIO:
    """Open the lock file of a folder and lock it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = (folder / LOCK_FILE).open("a+")
        except FileNotFoundError:  # its last holder has removed the folder meanwhile
            if folder.is_dir():
                raise
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            if not wait:
                handle.close()
                raise GrapeOpsError(
                    f"{folder} is being written by {holder}. Wait until it is done, or give another --out for {what}."
                ) from None
            note(f"waiting for {holder}, which writes {folder}.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: drafts of their own still keep files whole
            return handle
        if _holds(handle, folder):
            return handle
        handle.close()  # its last holder has removed it meanwhile


def _unlock(handle: TextIO, opened: int, folder: Path, *, remove: bool) -> bool:
    """Remove the lock file while the lock is held (see ``_lock``); False if the folder was removed, or replaced."""
    with suppress(OSError):  # if the folder may be written no more, the system gives the lock back all the same
        if _holds(handle, folder):
            (folder / LOCK_FILE).unlink()
        if remove and _is(opened, folder):
            folder.rmdir()  # unless something was written
            return True
    return _is(opened, folder)


def _is(opened: int, folder: Path) -> bool:
    """Whether the folder that was opened still lies there."""
    try:
        return os.path.samestat(os.fstat(opened), folder.stat())
    except OSError:
        return False


def _holds(handle: TextIO, folder: Path) -> bool:
    """Whether this is the lock file that lies in the folder."""
    try:
        return os.fstat(handle.fileno()).st_ino == (folder / LOCK_FILE).stat().st_ino
    except FileNotFoundError:
        return False
