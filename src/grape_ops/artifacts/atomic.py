"""Files and folders that are there as a whole or not at all.

A file is written under a name of its own, forced to the disk, and then renamed. The name of the draft carries host and
process id, so that two processes never write one file, and leftovers of a killed process can be told from drafts that
are still being written. It ends as the file does, for libraries that go by that.
"""

import errno
import itertools
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from grape_ops.artifacts.disk_errors import in_words, output_errors
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note

_DRAFT = re.compile(r"\.draft-(?P<host>[^-]*)-(?P<pid>\d+)-\d+-(?P<name>.+)")
_NUMBERS = itertools.count()
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
            if not file.parent.is_dir():
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
    if forced:
        _look_again(file)
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
            with _kept(draft.parent):
                yield draft
            _put_in_place(draft, folder)
    finally:
        _remove(draft)
    _look_again(folder)


def _look_again(path: Path) -> None:
    """Say that what was written went at the last moment."""
    if not path.exists():
        gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        raise GrapeOpsError(in_words(errno.ENOENT, path, gone))


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Notice that a folder was removed meanwhile: libraries stumble over that, or make it again with half of the files.

    Raises
    ------
    FileNotFoundError : it was removed.
    """
    held = os.open(folder, os.O_RDONLY)  # so that no other folder gets its number

    def check(error: Exception | None = None) -> None:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), folder.stat()):
                return
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from error

    try:
        yield
    except Exception as error:
        check(error)
        raise
    else:
        check()
    finally:
        os.close(held)


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


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove drafts in a folder, or those of one file, whose process, on this machine, no longer runs."""
    end = name and name[-_LONGEST:]
    for path in folder.glob(".draft-*"):
        found = _DRAFT.fullmatch(path.name)
        if found is None or found["host"] != _host() or end not in (None, found["name"]):
            continue
        if not _runs(int(found["pid"])):
            _remove(path)


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
