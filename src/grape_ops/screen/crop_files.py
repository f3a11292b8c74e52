"""Crops that other software has cut: one file per cell, one large array, or an h5sc file.

Each reader takes rows of the cell table, whose column ``crop`` says where the crop lies: a path, a row of the
array. Legend: N cells, C channels, S size of a crop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.declared_size import check_declared, check_npz, load_npy, shape_in_npz
from grape_ops.artifacts.hdf5 import check_hdf5, opened_anndata
from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.cell_table import CellTable
from grape_ops.screen.chunks import absent_chunks, named_dimensions, stored_chunks
from grape_ops.screen.pixel_types import kind_of, mixed_types
from grape_ops.screen.screen import CropReader, Screen, no_tile, no_tiles
from grape_ops.screen.tiff import read_tiff_crop

CROP = "crop"


def crop_screen(
    root: Path, channels: tuple[str, ...], table: CellTable, settings: ScreenSettings, read_crops: CropReader
) -> Screen:
    """Make the screen of ready crops; the column ``crop`` of its table says where each lies."""
    return Screen(
        root=root,
        channels=channels,
        cells=table,
        tiles=no_tiles(),
        read_tile=no_tile,
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
        names = cells[CROP].astype(str).tolist()
        crops = [checked_shape(read_crop(self.root / name, name), self.of, f"The crop {name}") for name in names]
        return stacked(crops, names, str(self.root))[:, list(self.channels)]


def stacked(crops: Sequence[np.ndarray], names: Sequence[str], home: str) -> np.ndarray:
    """Put crops that lie in files or entries of their own into one array, if they are of one shape and type.

    Raises
    ------
    MixedPixelTypes : they are of several types.
    GrapeOpsError : they are of several shapes.
    """
    types: dict[str, str] = {}
    for crop, name in zip(crops, names, strict=True):
        types.setdefault(kind_of(crop.dtype), name)
    if len(types) > 1:
        raise mixed_types(f"The crops of {home}", types)
    if len({crop.shape for crop in crops}) > 1:
        raise GrapeOpsError(f"The crops of {home} differ in shape, among them {names[0]}.")
    return np.stack(crops)


def checked_shape(crop: np.ndarray, of: int | None, what: str) -> np.ndarray:
    """Return a crop of (channels, height, width).

    Parameters
    ----------
    of : how many channels it is to have; None takes any number.

    Raises
    ------
    GrapeOpsError : it has another shape.
    """
    if crop.ndim == 3 and crop.shape[0] == crop.shape[1] != crop.shape[2]:
        raise GrapeOpsError(
            f"{what} has the shape {crop.shape}, which looks like (height, width, channels); write it as (channels, "
            "height, width), by crop.transpose(2, 0, 1)."
        )
    if crop.ndim != 3 or of not in (None, len(crop)):
        raise GrapeOpsError(f"{what} has the shape {crop.shape}, where ({of or 'channels'}, height, width) is wanted.")
    return crop


def read_crop(file: Path, name: str) -> np.ndarray:
    """Read one crop: -> (C, S, S); a picture without channels has one."""
    if not file.is_file():
        raise GrapeOpsError(f"There is no crop {name}.")
    if file.suffix != ".npy":
        return read_tiff_crop(file, f"The crop {name}")
    try:
        crop = load_npy(file, f"The crop {name}")
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
            return len(checked_shape(read_crop(root / name, name), None, f"The crop {name}"))
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
        self._check_chunks(array, ordered)
        try:
            # One stretch of rows is read at a time: far-apart rows would be slow in chunked files.
            crops = np.concatenate([array[first : last + 1] for first, last in _unbroken(ordered)])
        except DAMAGE as error:
            raise GrapeOpsError(f"The crops of {self.file} cannot be read: {why(error)}") from None
        return crops[back][:, list(self.channels)]

    def _check_chunks(self, array: Any, rows: np.ndarray) -> None:
        if getattr(array, "chunks", None):  # zarr, or HDF5
            sides = stored_chunks(array)
            numbers = [range(-(-length // side)) for length, side in zip(array.shape, sides, strict=True)]
            of_rows, of_channels = (
                sorted({n // side for n in some})
                for some, side in zip((rows.tolist(), self.channels), sides, strict=False)
            )
            absent = absent_chunks(array, [of_rows, of_channels, *numbers[2:]]).any(axis=(1, 2, 3))
            if absent.any():
                lost = rows[np.isin(rows // sides[0], np.array(of_rows)[absent])]
                raise GrapeOpsError(
                    f"The crop {lost[0]} of {self.file} lies in a chunk that is absent, and would be read as black."
                )


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
    once = max([int(np.prod(part, dtype=object)) for part in (array.shape[1:], getattr(array, "chunks", None) or ())])
    check_declared(once * array.dtype.itemsize, None, f"A crop of {file}")
    if array.shape[1] == array.shape[2] != array.shape[3]:
        raise GrapeOpsError(
            f"{file} holds an array of the shape {array.shape}, which looks like (cells, height, width, channels); "
            "write it as (cells, channels, height, width), by array.transpose(0, 3, 1, 2)."
        )
    if named_dimensions(array)[-2:] == ["x", "y"]:
        raise GrapeOpsError(
            f"{file} names the axes of its array {', '.join(named_dimensions(array))}; write it as (cells, channels, "
            "height, width), by array.transpose(0, 1, 3, 2)."
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
    try:
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
    except EOFError:
        raise GrapeOpsError(f"{file} is empty.") from None
    if isinstance(loaded, np.ndarray):
        return loaded
    if not name:
        name = _only(file, [key for key in loaded.files if len(shape_in_npz(file, key)) == 4])
    return npz_array(file, loaded, name)


def npz_array(file: Path, loaded: Any, name: str) -> np.ndarray:
    """Read one array of an npz file that numpy has opened.

    Raises
    ------
    GrapeOpsError : it is damaged, or holds Python objects.
    """
    if name not in loaded.files:
        raise KeyError(name)
    try:
        check_npz(file, [name])
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
