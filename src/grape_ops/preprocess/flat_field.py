"""A flat field: what it is, between its nodes and in files.

``illumination.py`` estimates it, ``crops.py`` divides by it.

Legend: C channels, H x W tile, a x b grid, m x n places.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.declared_size import load_npy
from grape_ops.config import FlatFieldSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.tiff import read_tiff_crop

FIELDS_FILE = "flat_fields.npz"  # in a store
PATCH = 64  # places that are interpolated in one go


@dataclass(frozen=True)
class FlatField:
    """How bright each place of a tile is, relative to its darker parts; 1 or more everywhere.

    Attributes
    ----------
    grid : (C, a, b) values at the grid's nodes.
    rows, columns : (a,) and (b,) where the nodes lie, in tile pixels.
    agreement : (C,) share of the field's variance that two halves of the tiles agree on, 0 to 1.
    """

    grid: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    agreement: np.ndarray

    @classmethod
    def none(cls, channels: int) -> "FlatField":
        """Return the field that changes nothing."""
        nodes = np.zeros(1)
        return cls(np.ones((channels, 1, 1), np.float32), nodes, nodes, np.zeros(channels))

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Interpolate at every pair of a row and a column, both ascending: (m,), (n,) -> (C, m, n) float32."""
        down, across = self.along(rows, columns)
        out = np.empty((len(self.grid), len(rows), len(columns)), np.float32)
        # Patch by patch: the fewer nodes a patch spans, the less there is to multiply.
        for top in range(0, len(rows), PATCH):
            for left in range(0, len(columns), PATCH):
                there = slice(top, top + PATCH), slice(left, left + PATCH)
                out[:, *there] = self.patch(down, across, *there)
        return out

    def along(self, rows: np.ndarray, columns: np.ndarray) -> tuple["Weights", "Weights"]:
        """Weights of the nodes along ascending rows and along ascending columns, for ``patch``."""
        return Weights.of(self.rows, rows), Weights.of(self.columns, columns)

    def patch(self, down: "Weights", across: "Weights", rows: slice, columns: slice) -> np.ndarray:
        """Interpolate at some of the rows and columns that the weights were made for: -> (C, m, n) float32."""
        if self.grid.shape[1:] == (1, 1):
            return np.ones((len(self.grid), 1, 1), np.float32)  # broadcasts; dividing by it is exact
        (y, from_y), (x, from_x) = down.some(rows), across.some(columns)
        field = from_y @ self.grid[:, y, x] @ from_x.T
        return np.maximum(field, np.float32(1), out=field)


@dataclass(frozen=True)
class Weights:
    """How much each node counts at each of m ascending places: linear interpolation as a product of matrices.

    Attributes
    ----------
    before : (m,) the node before each place, counted from ``first``.
    matrix : (m, k) weights of the nodes from ``first`` on.
    first : place of the first node that is needed.
    """

    before: np.ndarray
    matrix: np.ndarray
    first: int

    @classmethod
    def of(cls, nodes: np.ndarray, places: np.ndarray) -> "Weights":
        """Weigh nodes for places; outside the outermost nodes the line goes on."""
        if len(nodes) == 1:
            return cls(np.zeros(len(places), np.int64), np.ones((len(places), 1), np.float32), 0)
        before, share = _between(nodes, places)
        first = int(before[0])
        matrix = np.zeros((len(places), int(before[-1]) - first + 2), np.float32)
        lines = np.arange(len(places))
        matrix[lines, before - first] = 1 - share
        matrix[lines, before - first + 1] = share
        return cls(before - first, matrix, first)

    def some(self, places: slice) -> tuple[slice, np.ndarray]:
        """Return the nodes that some of the places need, and their weights there."""
        own = self.before[places]
        nodes = slice(int(own[0]), int(own[-1]) + 2)
        return slice(nodes.start + self.first, nodes.stop + self.first), self.matrix[places, nodes]


def write_fields(folder: Path, fields: Mapping[str, FlatField]) -> None:
    """Keep the flat field of each group with the store."""
    content = {f"{name}:{group}": value for group, field in fields.items() for name, value in vars(field).items()}
    with draft_of(folder / FIELDS_FILE) as draft:
        np.savez(draft, **content)


def read_fields(folder: Path) -> dict[str, FlatField]:
    """Read the flat field of each group from a store's folder."""
    with np.load(folder / FIELDS_FILE) as content:
        parts = [name.removeprefix("grid:") for name in content if name.startswith("grid:")]
        names = list(FlatField.__dataclass_fields__)
        return {group: FlatField(*(content[f"{name}:{group}"] for name in names)) for group in parts}


def supplied_field(root: Path, settings: FlatFieldSettings, group: str) -> FlatField | None:
    """Read the field of a group that was computed elsewhere; None if the settings name none.

    Parameters
    ----------
    root : folder that a relative path counts from.
    group : values of ``settings.columns``, joined by "|", which fill the braces of ``settings.file``.

    Raises
    ------
    GrapeOpsError : the file is missing or is no field.
    """
    if settings.file is None or not settings.enabled:
        return None
    values = dict(zip(settings.columns, group.split("|"), strict=False))
    try:
        file = root / settings.file.format(**values)
    except (KeyError, IndexError, ValueError):
        raise GrapeOpsError(
            f"preprocess.flat_field.file ({settings.file!r}) may have in braces what preprocess.flat_field.columns "
            f"names: {', '.join(settings.columns) or 'nothing'}."
        ) from None
    try:
        field = _read_field(file)
    except DAMAGE as error:
        raise GrapeOpsError(
            f"The flat field {file} of preprocess.flat_field.file cannot be read: {why(error)}"
        ) from None
    field = np.atleast_3d(field.T).T.astype(np.float32)  # one channel may come as (H, W)
    if field.ndim != 3 or not (np.isfinite(field).all() and (field > 0).all()):
        raise GrapeOpsError(f"The flat field {file} must be (channels, height, width), finite and above 0.")
    # Only its shape counts; intensities are rescaled by percentiles afterwards.
    field /= field.min(axis=(1, 2), keepdims=True)
    return FlatField(field, np.arange(field.shape[1]), np.arange(field.shape[2]), np.ones(len(field)))


def _read_field(file: Path) -> np.ndarray:
    name = f"The flat field {file}"
    if file.suffix == ".npy":
        return load_npy(file, name)
    file.stat()  # which says in the system's words that there is none
    return read_tiff_crop(file, name)


def _between(nodes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Outside the outermost nodes the line goes on, which the half-block at a tile's rim needs.
    before = np.clip(np.searchsorted(nodes, places) - 1, 0, len(nodes) - 2)
    share = (places - nodes[before]) / (nodes[before + 1] - nodes[before])
    return before, share.astype(np.float32)
