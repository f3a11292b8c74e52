"""HDF5 files on a disk that may be full, or that are damaged: the library itself does not survive all of either."""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.errors import GrapeOpsError

if TYPE_CHECKING:
    from anndata import AnnData

_MOST_PACKED = 100_000  # times that a compression makes zeros smaller
_FILLED = 1 << 26  # bytes of an array that may be left unwritten
_SCANNED = 1 << 28  # bytes of a file whose heaps are looked at; tables of cells and genes are smaller
_HEAP = b"GCOL\x01\x00\x00\x00"


@contextmanager
def new_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open a new HDF5 file whose failing writes are raised once the library is done with it.

    Yields
    ------
    the file, and what raises earlier if a write has failed by now.

    Raises
    ------
    OSError : a write failed.
    """
    with _Forgiving(path, "w+") as raw:
        with h5py.File(raw, "w") as file:
            yield file, raw.check
        raw.check()


@contextmanager
def opened_anndata(path: Path, what: str) -> Iterator[h5py.File]:
    """Open an ``.h5ad`` or ``.h5sc`` to read parts of it by anndata's ``read_elem``.

    Raises
    ------
    GrapeOpsError : it is damaged, or was written by a newer anndata; in the block too.
    """
    from anndata._io.specs.registry import IORegistryError

    try:
        check_hdf5(path)
        with h5py.File(path) as file:
            yield file
    except IORegistryError as error:
        where = " ".join(getattr(error, "__notes__", ()))
        raise GrapeOpsError(
            f"{path} was written by a newer anndata than the installed {version('anndata')}: {where or error} "
            "Install a newer anndata, or remove that part of the file."
        ) from None
    except DAMAGE as error:
        raise GrapeOpsError(f"{path} is not {what}, or it is damaged: {why(error)}") from None


def check_hdf5(path: Path) -> None:
    """Stop at damage that the library would not come back from or not see, and at arrays that announce too much.

    Raises
    ------
    OSError, ValueError, and others of ``DAMAGE`` : the file is damaged.
    """
    _check_heaps(path)

    def check(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(node, h5py.Dataset) or node.shape is None or node.is_virtual:
            return
        if node.size * node.dtype.itemsize > _MOST_PACKED * node.id.get_storage_size() + _FILLED:
            raise ValueError(f"{name} announces an array of {node.dtype} {node.shape}, which it does not hold")
        if node.dtype == bool and node.size and np.asarray(node[()]).view(np.uint8).max() > 1:
            raise ValueError(f"{name} holds a value that is neither true nor false")

    with h5py.File(path) as file:
        file.visititems(check)


def _check_heaps(path: Path) -> None:
    """Walk the heaps that hold texts: at a piece without a length the library would stand still for ever."""
    if path.stat().st_size > _SCANNED:
        return
    data = path.read_bytes()
    place = data.find(_HEAP)
    while place >= 0:
        (size,) = struct.unpack_from("<Q", data, place + 8) if place + 16 <= len(data) else (0,)
        piece, end = place + 16, min(place + size, len(data))
        while piece + 16 <= end:
            number, length = *struct.unpack_from("<H", data, piece), *struct.unpack_from("<Q", data, piece + 8)
            if number == 0 and length < 16:
                raise ValueError("a heap of texts is damaged")
            piece += length if number == 0 else 16 + (length + 7) // 8 * 8
        place = data.find(_HEAP, place + 8)


def write_anndata(adata: "AnnData", path: Path) -> None:
    """Write an AnnData as ``.h5ad``.

    Raises
    ------
    OSError : a write failed.
    """
    from anndata.io import write_elem

    adata.strings_to_categoricals()
    with new_hdf5(path) as (file, _):
        write_elem(file, "/", adata)


class _Forgiving(io.FileIO):
    """A file that takes what is written to it, keeps the first error, and raises it when asked."""

    _error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while self._error is None and done < len(view):
            try:
                done += super().write(view[done:])
            except OSError as error:
                self._error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error
