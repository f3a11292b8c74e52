"""Sizes that a file's head declares, compared with what the file and this machine can hold before memory is taken."""

import io
import zlib
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from grape_ops.errors import GrapeOpsError
from grape_ops.machine import free_memory

OBJECTS = "it holds Python objects. Save labels as text (labels.astype(str)), and crops as one array of numbers."
_DEFLATED = 1100  # zip's compression makes of a byte no more than this many
_PACKED = 100_000  # no compression of images does


def check_declared(declared: int, held: int | None, what: str, most: int = 1) -> None:
    """Refuse what declares more bytes than it can hold, or than are free.

    Parameters
    ----------
    declared, held : bytes of the pixels as declared, and as they lie in the file; None if that is not known.
    what : the file, as messages name it.
    most : how many bytes one in the file may stand for.

    Raises
    ------
    GrapeOpsError : it does.
    """
    if held is not None and declared > (held + 1024) * most:
        raise GrapeOpsError(f"{what} declares {_in_words(declared)} and holds {_in_words(held)}: it is damaged.")
    if declared > free_memory():
        raise GrapeOpsError(
            f"{what} declares {_in_words(declared)}, and {_in_words(free_memory())} of memory are free."
        )


def check_packed(declared: int, held: int, packed: bool, what: str) -> None:
    """Refuse pixels, compressed or not, that declare more bytes than they can hold."""
    check_declared(declared, held, what, _PACKED if packed else 1)


def load_npy(source: Path | bytes, what: str) -> np.ndarray:
    """Read an array in numpy's format, once its head fits its length.

    Raises
    ------
    GrapeOpsError : it declares more than it holds.
    ValueError : it is damaged, or holds Python objects.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        held = len(source) if isinstance(source, bytes) else source.stat().st_size
        check_declared(_size_in_head(stream), held, what)
        stream.seek(0)
        return np.asarray(npy.read_array(stream, allow_pickle=False))


def check_npz(file: Path, name: str) -> None:
    """Refuse an array of an npz file that declares more than its member holds."""
    with ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        check_declared(member.file_size, member.compress_size, f"The array {name!r} of {file}", _DEFLATED)
        with archive.open(member) as stream:
            check_declared(_size_in_head(stream), member.file_size, f"The array {name!r} of {file}")


def shape_in_npz(file: Path, name: str) -> tuple[int, ...]:
    """Read the shape of an array of an npz file from its head.

    Raises
    ------
    GrapeOpsError : it has none.
    """
    try:
        with ZipFile(file) as archive, archive.open(f"{name}.npy") as stream:
            shape, dtype = _head(stream)
        if dtype.hasobject:
            raise ValueError(OBJECTS)
        return shape
    except (BadZipFile, KeyError, ValueError, EOFError, RuntimeError, OSError, zlib.error) as error:
        raise GrapeOpsError(f"The array {name!r} of {file} cannot be read: {error or type(error).__name__}") from None


def _size_in_head(stream: IO[bytes]) -> int:
    shape, dtype = _head(stream)
    return dtype.itemsize * int(np.prod([int(length) for length in shape], dtype=object))


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    return shape, dtype


def _in_words(size: int) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,} bytes"
