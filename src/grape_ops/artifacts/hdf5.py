"""HDF5 files on a disk that may be full: the library itself does not survive a write that fails."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

if TYPE_CHECKING:
    from anndata import AnnData


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
