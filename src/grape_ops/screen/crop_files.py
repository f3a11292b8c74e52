"""Crops that other software has cut: one file per cell, one large array, an h5sc file, or an LMDB store.

Each reader takes rows of the cell table, whose column ``crop`` says where the crop lies: a path, a row of the
array, or a key. Legend: N cells, C channels, S size of a crop.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from grape_ops.artifacts.damage import DAMAGE, check_npy, check_npz, why
from grape_ops.artifacts.hdf5 import check_hdf5, opened_anndata
from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.cell_table import CellTable
from grape_ops.screen.lmdb_pages import check_pages
from grape_ops.screen.screen import CropReader, Screen, no_tile, no_tiles
from grape_ops.screen.tiff import read_tiff_crop

CROP = "crop"
LMDB_FIELDS = ("gene_symbol", "sgRNA", "plate", "well", "tile", "index")  # of a key, joined by ";"


def crop_screen(
    root: Path, channels: tuple[str, ...], table: CellTable, settings: ScreenSettings, read_crops: CropReader
) -> Screen:
    """Make the screen of ready crops; the column ``crop`` of its table says where each lies."""
    return Screen(
        root=root,
        channels=channels,
        cells=table.cells,
        tiles=no_tiles(),
        read_tile=no_tile,
        quality=table.quality,
        parts=table.parts,
        corrected=True,
        crop_scaling=settings.crop_scaling,
        read_crops=read_crops,
    )


@dataclass(frozen=True)
class FileCrops:
    """One npy or TIFF file per cell, (C, S, S).

    Attributes
    ----------
    root : folder that the paths count from.
    channels : which of a file's channels, in our order.
    of : how many channels a file has.
    """

    root: Path
    channels: tuple[int, ...]
    of: int

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        """Read crops: -> (N, C, S, S) of the files' type.

        Raises
        ------
        GrapeOpsError : a file is missing, damaged or of another shape.
        """
        crops = [self._read(str(path)) for path in cells[CROP]]
        if len({crop.shape for crop in crops}) > 1:
            raise GrapeOpsError(f"The crops of {self.root} differ in shape, among them {cells[CROP].iloc[0]}.")
        return np.stack(crops)

    def _read(self, path: str) -> np.ndarray:
        crop = read_crop(self.root / path, path)
        if crop.ndim != 3 or len(crop) != self.of:
            raise GrapeOpsError(
                f"The crop {path} has the shape {crop.shape}, where ({self.of}, height, width) is wanted."
            )
        return crop[list(self.channels)]


def read_crop(file: Path, name: str) -> np.ndarray:
    """Read one crop: -> (C, S, S); a picture without channels has one."""
    if not file.is_file():
        raise GrapeOpsError(f"There is no crop {name}.")
    if file.suffix != ".npy":
        return read_tiff_crop(file, f"The crop {name}")
    try:
        check_npy(file)
        crop = np.load(file, allow_pickle=False)
    except DAMAGE as error:
        raise GrapeOpsError(f"The crop {name} cannot be read: {why(error)}") from None
    return crop[None] if crop.ndim == 2 else crop


def count_channels(root: Path, names: Sequence[str]) -> int:
    """Count the channels of the first crop that can be read.

    Raises
    ------
    GrapeOpsError : none can.
    """
    failures = []
    for name in names:
        try:
            return len(read_crop(root / name, name))
        except GrapeOpsError as error:
            failures.append(str(error))
    raise GrapeOpsError(
        f"None of the first {len(names)} crops that the cell table names can be read in {root}: {failures[0]} Are "
        "they all there, and does the table, or `crops` in screen.yaml, name them rightly?"
    )


@dataclass(frozen=True)
class ArrayCrops:
    """One array (N, C, S, S) for all cells: npz, npy, zarr or h5sc; only the rows asked for are read, but of npz.

    Attributes
    ----------
    file : path of the array's file.
    name : of the array within the file; "" for npy.
    channels : which of the array's channels, in our order.
    """

    file: Path
    name: str
    channels: tuple[int, ...]

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        """Read crops: -> (N, C, S, S) of the array's type."""
        rows = cells[CROP].to_numpy(np.int64)
        ordered, back = np.unique(rows, return_inverse=True)
        array = open_array(self.file, self.name)
        try:
            # One stretch of rows is read at a time: far-apart rows would be slow in chunked files.
            crops = np.concatenate([array[first : last + 1] for first, last in _unbroken(ordered)])
        except DAMAGE as error:
            raise GrapeOpsError(f"The crops of {self.file} cannot be read: {why(error)}") from None
        return crops[back][:, list(self.channels)]


def _unbroken(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Group sorted rows into runs without a gap: first and last of each."""
    breaks = np.flatnonzero(np.diff(rows) > 1)
    firsts, lasts = [0, *(breaks + 1)], [*breaks, len(rows) - 1]
    yield from zip(rows[firsts].tolist(), rows[lasts].tolist(), strict=True)


@lru_cache(maxsize=2)
def open_array(file: Path, name: str) -> Any:
    """Open an array of crops: something that slices like numpy, (N, C, S, S).

    Raises
    ------
    GrapeOpsError : there is no file, it is damaged, or has no such array.
    """
    if not file.exists():
        raise GrapeOpsError(f"There is no file of crops {file}.")
    try:
        array = _open(file, name)
    except KeyError:
        raise GrapeOpsError(f"{file} has no array {name!r}; name another as crops_array in screen.yaml.") from None
    except DAMAGE as error:
        raise GrapeOpsError(f"{file} cannot be read: {why(error)}") from None
    if len(array.shape) != 4:
        raise GrapeOpsError(
            f"{file} holds an array of the shape {array.shape}, where (cells, channels, height, width) is wanted."
        )
    if array.shape[1] == array.shape[2] != array.shape[3]:
        raise GrapeOpsError(
            f"{file} holds an array of the shape {array.shape}, which looks like (cells, height, width, channels); "
            "write it as (cells, channels, height, width), by array.transpose(0, 3, 1, 2)."
        )
    return array


def _open(file: Path, name: str) -> Any:
    if file.suffix == ".h5sc":
        import h5py

        check_hdf5(file)
        return h5py.File(file)[name or "obsm/single_cell_images"]
    if file.suffix == ".zarr":
        node: Any = zarr.open(str(file), mode="r")
        return (
            node
            if isinstance(node, zarr.Array)
            else node[name or _only(file, [k for k, a in node.arrays() if a.ndim == 4])]
        )
    if not file.stat().st_size:
        raise GrapeOpsError(f"{file} is empty.")
    (check_npz if file.suffix == ".npz" else check_npy)(file)
    loaded = np.load(file, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    if not name:
        name = _only(file, [key for key in loaded.files if npz_array(file, loaded, key).ndim == 4])
    return npz_array(file, loaded, name)


def npz_array(file: Path, loaded: Any, name: str) -> np.ndarray:
    """Read one array of an npz file that numpy has opened.

    Raises
    ------
    GrapeOpsError : it is damaged, or holds Python objects.
    """
    try:
        return loaded[name]
    except DAMAGE as error:
        raise GrapeOpsError(f"The array {name!r} of {file} cannot be read: {why(error)}") from None


def _only(file: Path, names: list[str]) -> str:
    if len(names) != 1:
        raise GrapeOpsError(
            f"{file} has {len(names)} arrays of four axes ({', '.join(names) or 'none'}); "
            "name one as crops_array in screen.yaml."
        )
    return names[0]


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
        return np.stack(crops)[:, list(self.channels)]

    def _unpacked(self, value: bytes, key: str) -> np.ndarray:
        if value[:6] == b"\x93NUMPY":
            return np.load(io.BytesIO(value), allow_pickle=False)
        pixels = np.frombuffer(value, np.float32)
        size = round((len(pixels) / self.of) ** 0.5)
        if self.of * size * size != len(pixels):
            raise GrapeOpsError(f"The crop {key} has {len(pixels)} values, which are no {self.of} squares.")
        return pixels.reshape(self.of, size, size)


def lmdb_table(file: Path) -> pd.DataFrame:
    """Read the cells of an LMDB store from its keys: one row per cell, and the key as ``crop``."""
    rows = []
    with _reading(file) as transaction:
        for key in transaction.cursor().iternext(keys=True, values=False):
            name = key.decode(errors="replace")
            parts = name.split(";")
            if len(parts) == len(LMDB_FIELDS):
                rows.append((*parts, name))
    if not rows:
        raise GrapeOpsError(f"{file} has no keys of the form {';'.join(LMDB_FIELDS)}.")
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


def h5sc_channels(file: Path) -> tuple[list[str], list[int]]:
    """Read the names of the image channels of an h5sc file, and their places behind the masks."""
    from anndata.io import read_elem

    with opened_anndata(file, "an AnnData file of crops") as handle:
        var = read_elem(handle["var"]) if "var" in handle else pd.DataFrame()
        if not {"channels", "channel_mapping"} <= set(var):
            uns = read_elem(handle["uns/single_cell_images"]) if "uns/single_cell_images" in handle else {}
            var = pd.DataFrame(
                {"channels": uns.get("channel_names", []), "channel_mapping": uns.get("channel_mapping", [])}
            )
        places = [place for place, kind in enumerate(var["channel_mapping"]) if str(kind) != "mask"]
        return [str(var["channels"].iloc[place]) for place in places], places
