"""Crops in an LMDB store, under keys that say whose they are. Legend: N cells, C channels, S size of a crop."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import damage_in_words
from grape_ops.artifacts.declared_size import load_npy
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note
from grape_ops.screen.crop_files import CROP, checked_shape, stacked
from grape_ops.screen.lmdb_pages import check_pages
from grape_ops.words import counted

LMDB_FIELDS = ("gene_symbol", "sgRNA", "plate", "well", "tile", "index")  # of a key, joined by ";"


@dataclass(frozen=True)
class LmdbCrops:
    """The authors' crop store: float32 of (C, S, S) under the key gene;guide;plate;well;tile;index."""

    file: Path
    channels: tuple[int, ...]
    of: int

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        """Read crops: -> (N, C, S, S) float32.

        Raises
        ------
        GrapeOpsError : a key is missing, or a value is not of C squares.
        """
        crops = []
        with _reading(self.file) as transaction:
            for key in cells[CROP]:
                value = transaction.get(str(key).encode())
                if value is None:
                    raise GrapeOpsError(f"{self.file} has no crop {key}.")
                crops.append(self._unpacked(value, str(key)))
        return stacked(crops, cells[CROP].astype(str).tolist(), str(self.file))[:, list(self.channels)]

    def _unpacked(self, value: bytes, key: str) -> np.ndarray:
        if value[:6] == b"\x93NUMPY":
            with damage_in_words(f"{self.file}: the crop {key}"):
                crop = load_npy(value, f"{self.file}: the crop {key}")
            return checked_shape(crop[None] if crop.ndim == 2 else crop, self.of, f"{self.file}: the crop {key}")
        pixels = np.frombuffer(value, np.float32)
        size = round((len(pixels) / self.of) ** 0.5)
        if self.of * size * size != len(pixels):
            raise GrapeOpsError(
                f"{self.file}: the crop {key} has {len(pixels)} values, which are no {self.of} squares."
            )
        return pixels.reshape(self.of, size, size)


def lmdb_table(file: Path) -> pd.DataFrame:
    """Read the cells of an LMDB store from its keys: one row per cell, and the key as ``crop``.

    Raises
    ------
    GrapeOpsError : it has fewer keys than it says, or none that names a cell.
    """
    rows, count = [], 0
    with _reading(file) as transaction:
        for key in transaction.cursor().iternext(keys=True, values=False):
            count += 1
            name = key.decode(errors="replace")
            parts = name.split(";")
            if len(parts) == len(LMDB_FIELDS):
                rows.append((*parts, name))
        stated = transaction.stat()["entries"]
    if count != stated:
        raise GrapeOpsError(f"{file} is damaged: it says that it holds {stated} crops, and {count} are found.")
    if not rows:
        raise GrapeOpsError(f"{file} has no keys of the form {';'.join(LMDB_FIELDS)}.")
    if strange := count - len(rows):
        note(f"{file}: {strange} of {counted(count, 'keys')} left out, not of the form {';'.join(LMDB_FIELDS)}.")
    return pd.DataFrame(rows, columns=[*LMDB_FIELDS, CROP])


@contextmanager
def _reading(file: Path) -> Iterator[Any]:
    """Begin to read a store, and say in words what is wrong with a damaged one."""
    try:
        import lmdb
    except ImportError:
        raise GrapeOpsError(
            'Reading an LMDB crop store needs the package lmdb: pip install "grape-ops[lmdb]".'
        ) from None
    try:
        with _environment(file).begin() as transaction:
            yield transaction
    except lmdb.Error as error:
        raise GrapeOpsError(f"{file} is no LMDB store, or it is damaged: {error}") from None


@lru_cache(maxsize=2)
def _environment(file: Path) -> Any:
    import lmdb

    check_pages(file / "data.mdb" if file.is_dir() else file)
    return lmdb.open(str(file), readonly=True, lock=False, subdir=file.is_dir())
