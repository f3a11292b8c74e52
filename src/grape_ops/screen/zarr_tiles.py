"""Tiles in OME-Zarr images: fields of an HCS plate, or stitched wells of any size; windows are read alone.

Axes come from the image's metadata (NGFF 0.4 and 0.5); of time the first point is taken, of z the maximum.
Legend: C channels, H x W tile.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from zarr.errors import GroupNotFoundError, NodeNotFoundError

from grape_ops.artifacts.damage import DAMAGE
from grape_ops.artifacts.declared_size import check_declared
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note
from grape_ops.screen.chunks import AbsentChunks, absent_in_image, named_dimensions
from grape_ops.screen.float_scale import COUNTS, FloatScale, choose_scale, doubts_of_scales, to_counts
from grape_ops.screen.pixel_size import zarr_pixel_size
from grape_ops.screen.screen import TileHeader, Window
from grape_ops.screen.tile_pattern import PATH

_AXES = {2: "yx", 3: "cyx", 4: "czyx", 5: "tczyx"}
LARGEST_IMAGE = 1 << 40  # pixels; a stitched well has 1 << 34
_DAMAGED = (*DAMAGE, NodeNotFoundError, GroupNotFoundError)
_SAMPLE = 256  # pixels of the side of a sampled window


@dataclass(frozen=True)
class ZarrTiles:
    """Reads tiles of a folder. It pickles, so that worker processes can read by themselves.

    Attributes
    ----------
    root : folder that the paths of the tile table count from.
    channels : which of an image's channels, in our order.
    scales : what floats of each of these channels become whole numbers by; of no account for integers.
    names : of all channels of an image; one whose metadata name others, or in another order, is refused.
    """

    root: Path
    channels: tuple[int, ...]
    scales: tuple[FloatScale, ...] = ()
    names: tuple[str, ...] = ()

    def doubts(self, names: Sequence[str]) -> list[str]:
        """Say how floats are taken that are neither counts nor within 0 and 1, for channels of these names."""
        return doubts_of_scales(names, self.scales)

    def __call__(self, tile: pd.Series) -> np.ndarray:
        """Read a whole tile: -> (C, H, W) unsigned integers; wells of gigabytes are better read in windows."""
        return self.read(tile, None, None)

    def header(self, tile: pd.Series) -> TileHeader:
        """Read the size of a tile."""
        array, axes = self._open(tile)
        height, width = array.shape[axes.index("y")], array.shape[axes.index("x")]
        dtype = str(array.dtype) if array.dtype.kind == "u" and array.dtype.itemsize <= 2 else "uint16"
        return TileHeader(len(self.channels), height, width, dtype)

    def pixel_size(self, tile: pd.Series) -> float | None:
        """Micrometres of a pixel, if the image's metadata tell."""
        return zarr_pixel_size(self.root / str(tile[PATH]))

    def read(self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None) -> np.ndarray:
        """Read some channels (None: all) of a window (None: the whole tile): -> (c, h, w)."""
        return self.read_known(tile, channels, window)[0]

    def read_known(
        self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read as ``read`` does, and tell where the pixels of all channels are numbers: (h, w) bool; None: all are."""
        array, axes = self._open(tile)
        wanted = self.channels if channels is None else tuple(self.channels[c] for c in channels)
        scales = dict(zip(self.channels, self.scales, strict=False))
        images, known = [], None
        try:
            for channel in wanted:
                plane = _plane(array, axes, channel, window)
                if plane.dtype.kind == "f" and not (finite := np.isfinite(plane)).all():
                    known = finite if known is None else known & finite
                images.append(_counts(plane, scales.get(channel, FloatScale())))
        except _DAMAGED as error:
            raise GrapeOpsError(f"The tile {tile[PATH]} cannot be read: {error or type(error).__name__}") from None
        return np.stack(images), known

    def absent(self, tile: pd.Series) -> AbsentChunks | None:
        """Find the chunks of our channels that are absent; None if all are there."""
        return absent_in_image(*self._open(tile), self.channels)

    def _open(self, tile: pd.Series) -> tuple[Any, str]:
        path = str(tile[PATH])
        if not (self.root / path).exists():
            raise GrapeOpsError(f"There is no tile {path}.")
        array, axes = open_image(self.root / path, path)
        present = array.shape[axes.index("c")] if "c" in axes else 1
        check_declared(
            int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize, None, f"A chunk of the tile {path}"
        )
        if array.shape[axes.index("y")] * array.shape[axes.index("x")] > LARGEST_IMAGE:
            raise GrapeOpsError(f"The tile {path} declares {array.shape} pixels, more than any image has.")
        if max(self.channels) >= present:
            raise GrapeOpsError(
                f"The tile {path} has {present} channels, where the screen's metadata name {max(self.channels) + 1}."
            )
        stated = channel_names(self.root / path)
        if self.names and stated and tuple(stated) != self.names:
            raise GrapeOpsError(
                f"The tile {path} names its channels {', '.join(stated)}, and other tiles {', '.join(self.names)}: "
                "channels would be mixed. Write them in one order, and under the same names."
            )
        return array, axes


def open_image(path: Path, name: str | None = None) -> tuple[Any, str]:
    """Open an image at its full resolution: -> array and its axes, such as "tczyx".

    Raises
    ------
    GrapeOpsError : there is no image, or it is damaged.
    """
    try:
        node: Any = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Array):
            return node, stated_axes(node) or _AXES[node.ndim]
        scales = image_metadata(node).get("multiscales")
        if scales:
            array = node[scales[0]["datasets"][0]["path"]]
            axes = [axis["name"] if isinstance(axis, dict) else axis for axis in scales[0].get("axes", [])]
            names = "".join(axes).lower() or stated_axes(array) or _AXES[array.ndim]
            if len(names) != array.ndim or not {"y", "x"} <= set(names):
                raise ValueError(f"it has {array.ndim} axes, and its metadata name {names!r}")
            return array, names
        array = node["0"]
        return array, stated_axes(array) or _AXES[array.ndim]
    except _DAMAGED as error:
        raise GrapeOpsError(f"The image {name or path} cannot be read: {error or type(error).__name__}") from None


def stated_axes(array: Any) -> str:
    """Return the axes that an array itself names (zarr v3, or xarray's attribute), such as "cyx"; "" if it does not."""
    axes = named_dimensions(array)
    return "".join(axes) if len(axes) == len(set(axes)) and {"y", "x"} <= set(axes) <= set("tczyx") else ""


def image_metadata(node: Any) -> dict[str, Any]:
    """Return the OME part of a zarr node's attributes, of NGFF 0.5 or 0.4."""
    attributes = dict(node.attrs)
    return dict(attributes.get("ome", attributes))


def channel_names(path: Path) -> list[str]:
    """Read the names of an image's channels from its metadata; empty if it tells none."""
    metadata: dict[str, Any]
    try:
        node: Any = zarr.open(str(path), mode="r")
        for metadata in (image_metadata(node), dict(node.attrs)):
            omero: Any = metadata.get("omero", {})
            listed: Any = metadata.get("channels_metadata") or omero.get("channels") or []
            if isinstance(listed, dict):
                listed = listed.get("channels_metadata", listed.get("channels", []))
            names = [channel.get("name") or channel.get("label") for channel in listed]
            if names and all(names):
                return [str(name) for name in names]
    except _DAMAGED as error:
        raise GrapeOpsError(f"The image {path} cannot be read: {error or type(error).__name__}") from None
    return []


def names_of_channels(images: Sequence[Path]) -> tuple[str, ...]:
    """Name the channels as the first of the images does that names any; channel0, channel1 and so on if none does."""
    for image in images:
        if names := channel_names(image):
            return tuple(names)
    return tuple(f"channel{index}" for index in range(_count_channels(*open_image(images[0]))))


def note_unnamed(image: Path, names: Sequence[str]) -> None:
    """Say that an image has more channels than its metadata name; only the first ones, which have names, are read."""
    present = _count_channels(*open_image(image))
    if present > len(names):
        listed = ", ".join(names)
        note(f"{image} has {present} channels, and its metadata name {len(names)} ({listed}); the others are not read.")


def _count_channels(array: Any, axes: str) -> int:
    return int(array.shape[axes.index("c")]) if "c" in axes else 1


def scales_of_floats(paths: Iterable[Path], channels: Sequence[int], largest: float | None) -> tuple[FloatScale, ...]:
    """Choose how pixels that are floats become whole numbers, channel by channel, from samples of some images.

    Parameters
    ----------
    channels : which of the images' channels.
    largest : what is known to be the largest value; sampled if None.
    """
    samples: list[list[np.ndarray]] = [[] for _ in channels]
    for path in paths:
        array, axes = open_image(path)
        if array.dtype.kind == "f":
            present = _count_channels(array, axes)
            with suppress(*_DAMAGED):  # whoever reads its pixels reports it
                for found, channel in zip(samples, channels, strict=True):
                    found += [_sampled(array, axes, channel)] if channel < present else []
    return tuple(choose_scale(np.concatenate([np.zeros(0), *found]), largest) for found in samples)


def _sampled(array: Any, axes: str, channel: int) -> np.ndarray:
    """Read some windows of a channel: (n,) pixels that are numbers."""
    height, width = array.shape[axes.index("y")], array.shape[axes.index("x")]
    found = []
    for share in (0.25, 0.5, 0.75):
        top, left = int(share * height), int(share * width)
        window = Window(top, left, min(_SAMPLE, height - top), min(_SAMPLE, width - left))
        pixels = _plane(array, axes, channel, window)
        found.append(pixels[np.isfinite(pixels)])
    return np.concatenate(found)


def _plane(array: Any, axes: str, channel: int, window: Window | None) -> np.ndarray:
    """Read one channel: -> (h, w); further axes but z are taken at their first place."""
    height, width = array.shape[axes.index("y")], array.shape[axes.index("x")]
    top, left, h, w = window or (0, 0, height, width)
    places = {"c": channel, "z": slice(None), "y": slice(top, top + h), "x": slice(left, left + w)}
    image = np.asarray(array[tuple(places.get(axis, 0) for axis in axes)])
    if "z" in axes:
        image = image.max(axis=[axis for axis in axes if axis in "zyx"].index("z"))
    return image.T if axes.index("x") < axes.index("y") else image


def _counts(image: np.ndarray, scale: FloatScale) -> np.ndarray:
    if image.dtype.kind == "u" and image.dtype.itemsize <= 2:
        return image
    if image.dtype.kind == "f":
        return to_counts(image, scale)
    low, high = image.min(initial=0), image.max(initial=0)
    if low < 0 or high > COUNTS:
        raise ValueError(
            f"it holds {image.dtype} pixels from {low} to {high}, where whole numbers go from 0 to {COUNTS}; store "
            "them as uint16, or as floats"
        )
    return image.astype(np.uint16)
