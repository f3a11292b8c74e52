"""Files that are there as a whole or not at all, and folders that one process writes at a time.

A file is written under a name of its own, forced to the disk, and then renamed. The name of the draft carries host and
process id, so that two processes never write one file, and leftovers of a killed process can be told from drafts that
are still being written. It ends as the file does, for libraries that go by that.
"""

import errno
import fcntl
import itertools
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note

LOCK_FILE = ".grape-ops.lock"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # errors that only writing meets
_DRAFT = re.compile(r"\.draft-(?P<host>[^-]*)-(?P<pid>\d+)-\d+-(?P<name>.+)")
_NUMBERS = itertools.count()
_NUMBER = re.compile(r"os error (\d+)")  # in messages of safetensors
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # in those of numpy
_LONGEST = 120  # letters of a name that a draft's name takes over; file systems allow 255 bytes


@contextmanager
def draft_of(file: Path, *, forced: bool = True, tell: bool = False) -> Iterator[Path]:
    """Give the path of a draft to write; it takes the place of ``file`` once the block ends without an error.

    Drafts of the same file that killed processes have left behind are removed.

    Parameters
    ----------
    file : the file to write; its folder is made if it is not there.
    forced : whether it is forced to the disk first; not for what can be recognised as cut off, and made again.
    tell : whether the user is informed that an earlier result was replaced.

    Raises
    ------
    GrapeOpsError : the disk is full, the folder cannot be written, or was removed; what was there stays whole.
    """
    draft, replaced = _draft_name(file), False
    try:
        with output_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            if forced:  # what is not forced to the disk are many files, in folders that are locked
                clear_leftovers(file.parent, file.name)
            yield draft
            replaced = tell and file.exists()
            if forced:
                settle(draft, file)
            else:
                os.replace(draft, file)
    finally:
        _remove(draft)
    if replaced:
        note(f"an earlier {file} was replaced.")


@contextmanager
def drafts_of(*files: Path) -> Iterator[list[Path]]:
    """Give drafts of several files, which take their places one after the other once all are written."""
    with ExitStack() as stack:  # it ends with what began last
        yield [stack.enter_context(draft_of(file)) for file in reversed(files)][::-1]


@contextmanager
def draft_folder_of(folder: Path) -> Iterator[Path]:
    """Give the path of an empty folder to fill; it takes the place of ``folder`` once the block ends without an error.

    Whether a folder that is there may be replaced is for the caller to check.

    Raises
    ------
    GrapeOpsError : as for ``draft_of``.
    """
    folder = folder.resolve()  # `.` has no name
    draft = _draft_name(folder)
    try:
        with output_errors(folder):
            draft.mkdir(parents=True)
            clear_leftovers(folder.parent, folder.name)
            yield draft
            _put_in_place(draft, folder)
    finally:
        _remove(draft)


def settle(draft: Path, file: Path) -> None:
    """Force a file that is written in full to the disk, and only then give it its final name."""
    with draft.open("r+b") as handle:
        os.fsync(handle.fileno())
    os.replace(draft, file)


def write_text(file: Path, text: str, *, tell: bool = False) -> None:
    """Write a text file as a whole; parameters as for ``draft_of``."""
    with draft_of(file, tell=tell) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any, *, tell: bool = False) -> None:
    """Write JSON as a whole; parameters as for ``draft_of``."""
    write_text(file, json.dumps(content, indent=1) + "\n", tell=tell)


def reserve(file: Path, size: int) -> None:
    """Take the space of a file that is to be written through a memory map, where a full disk would kill the process.

    Raises
    ------
    OSError : there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, max(size, 1))


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
        raise GrapeOpsError(f"{folder} is a file; name a folder for {what} with --out.")
    made, lost = not folder.exists(), f"{folder} was removed meanwhile, and what lay in it is lost: repeat the call."
    with output_errors(folder):
        handle = _lock(folder, what, wait)
    with handle:
        try:
            with output_errors(folder):
                handle.truncate(0)
                handle.write(f"process {os.getpid()} on {platform.node()}")
                handle.flush()
                clear_leftovers(folder)
            yield
            if temporary and _holds(handle, folder):
                made = True
                for part in folder.iterdir():
                    if part.name != LOCK_FILE:
                        shutil.rmtree(part) if part.is_dir() else part.unlink()
        except BaseException as error:
            there = True
            with suppress(OSError):
                there = _unlock(handle, folder, remove=made)
            if not there and isinstance(error, Exception) and not isinstance(error, GrapeOpsError):
                raise GrapeOpsError(lost) from error
            raise
        if not _unlock(handle, folder, remove=made):
            raise GrapeOpsError(lost)


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


def _unlock(handle: TextIO, folder: Path, *, remove: bool) -> bool:
    """Remove the lock file while the lock is held (see ``_lock``); False if it was removed before."""
    if not _holds(handle, folder):
        return False
    try:
        (folder / LOCK_FILE).unlink()
    except FileNotFoundError:
        return False
    except OSError:  # the folder may be written no more: the system gives the lock back all the same
        return True
    if remove:
        with suppress(OSError):
            folder.rmdir()  # unless something was written
    return True


def _holds(handle: TextIO, folder: Path) -> bool:
    """Whether this is the lock file that lies in the folder."""
    try:
        return os.fstat(handle.fileno()).st_ino == (folder / LOCK_FILE).stat().st_ino
    except FileNotFoundError:
        return False


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove drafts in a folder, or those of one file, whose process, on this machine, no longer runs."""
    end = name and name[-_LONGEST:]
    for path in folder.glob(".draft-*"):
        found = _DRAFT.fullmatch(path.name)
        if found is None or found["host"] != _host() or end not in (None, found["name"]):
            continue
        if not _runs(int(found["pid"])):
            _remove(path)


@contextmanager
def output_errors(place: Path) -> Iterator[None]:
    """Say errors of the output side in words.

    Raises
    ------
    GrapeOpsError : for an error of the system in the block, unless it names a file elsewhere, which was to be read.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number is None and not isinstance(error, OSError):
            raise
        if isinstance(error, OSError) and isinstance(error.filename, str | Path):
            named = Path(error.filename)
            if not named.is_relative_to(place.parent) and not place.is_relative_to(named):
                raise
        raise GrapeOpsError(in_words(number, place, error)) from error


def in_words(number: int | None, place: Path | str, error: Exception) -> str:
    """Say what an error of the output side, by its number in the system, means, and what fixes it."""
    match number:
        case errno.ENOSPC:
            return f"The disk is full: {place} could not be written. What was there before is whole; make room."
        case errno.EDQUOT:
            return f"Your quota is used up: {place} could not be written. What was there before is whole; make room."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{place} could not be written: you may not write there. Name another --out."
        case errno.ENOENT | errno.ENOTDIR:
            return f"{place} could not be written: its folder is not there, or was removed meanwhile."
        case _:
            return f"{place} could not be written: {getattr(error, 'strerror', None) or error}."


def _system_error(error: Exception) -> int | None:
    """What the system said, which some libraries only tell in their messages."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, GrapeOpsError):
        return None
    if _CUT_SHORT.search(str(error)):
        return errno.ENOSPC
    before = error.__context__  # what a library met before it stumbled over its own half-written file
    if isinstance(before, OSError) and before.errno in DISK_FULL:
        return before.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _draft_name(path: Path) -> Path:
    return path.with_name(f".draft-{_host()}-{os.getpid()}-{next(_NUMBERS)}-{path.name[-_LONGEST:]}")


def _put_in_place(draft: Path, folder: Path) -> None:
    """Give a filled folder its name; one that is there is moved aside first, and removed last."""
    aside = _draft_name(folder)
    while True:
        try:
            os.rename(draft, folder)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with suppress(FileNotFoundError):  # another process was as far as here
            os.rename(folder, aside)
    _remove(aside)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", platform.node())


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
