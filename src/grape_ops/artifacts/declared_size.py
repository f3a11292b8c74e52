"""Sizes that a file's head declares, compared with what the file and this machine can hold before memory is taken."""

import io
import math
from collections.abc import Collection
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from grape_ops.artifacts.damage import damage_in_words
from grape_ops.errors import GrapeOpsError
from grape_ops.machine import free_memory

_DEFLATED = 1100  # zip's compression makes of a byte no more than this many
_PACKED = 100_000  # no compression of images does


def check_declared(declared: int, held: int | None, what: str, most: int = 1) -> None:
    """Refuse what declares more bytes than it can hold, or than are free.

    Parameters
    ----------
    declared : size of the pixels in bytes that the head of the file gives.
    held : size in bytes of what the file holds; None if unknown.
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
    """Read an array in numpy's format, once its head fits its length; what lies behind it is not read.

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


def check_npz(file: Path, names: Collection[str] | None = None, most: int | None = None) -> None:
    """Refuse arrays of an npz file that declare more than they hold, before memory is taken.

    Parameters
    ----------
    names : the arrays that will be read; all if None.
    most : bytes that they may unpack to together.

    Raises
    ------
    GrapeOpsError : they do.
    BadZipFile, ValueError, and others of ``DAMAGE`` : the file is damaged.
    """
    with ZipFile(file) as archive:
        arrays = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        arrays = {name: member for name, member in arrays.items() if names is None or name in names}
        if most is not None and sum(member.file_size for member in arrays.values()) > most:
            raise GrapeOpsError(f"{file} unpacks to more than {_in_words(most)}.")
        for name, member in arrays.items():
            what = f"The array {name!r} of {file}"
            check_declared(member.file_size, member.compress_size, what, _DEFLATED)
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    check_declared(_size_in_head(stream), member.file_size, what)


def shape_in_npz(file: Path, name: str) -> tuple[int, ...]:
    """Read the shape of an array of an npz file from its head.

    Raises
    ------
    GrapeOpsError : it has none.
    """
    with damage_in_words(f"The array {name!r} of {file}"), ZipFile(file) as archive:
        with archive.open(f"{name}.npy") as stream:
            shape, dtype = _head(stream)
        if dtype.hasobject:
            raise ValueError("Python objects")
        return shape


def _size_in_head(stream: IO[bytes]) -> int:
    shape, dtype = _head(stream)
    return dtype.itemsize * math.prod(shape)


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    if min(shape, default=0) < 0:
        raise ValueError(f"it declares the shape {shape}")
    return shape, dtype


def _in_words(size: int) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,} bytes"
