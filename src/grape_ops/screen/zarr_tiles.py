"""Tiles in OME-Zarr images: fields of an HCS plate, or stitched wells of any size; windows are read alone.

Axes come from the image's metadata (NGFF 0.4 and 0.5); of time the first point is taken, of z the maximum.
Legend: C channels, H x W tile.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import zarr
from zarr.errors import GroupNotFoundError, NodeNotFoundError

from grape_ops.artifacts.damage import DAMAGE
from grape_ops.artifacts.declared_size import check_declared
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note
from grape_ops.screen.chunks import AbsentChunks, absent_in_image
from grape_ops.screen.pixel_size import zarr_pixel_size
from grape_ops.screen.screen import TileHeader, Window
from grape_ops.screen.tile_pattern import PATH

_AXES = {2: "yx", 3: "cyx", 4: "czyx", 5: "tczyx"}
LARGEST_IMAGE = 1 << 40  # pixels; a stitched well has 1 << 34
COUNTS = 65535  # floats become whole numbers up to this
ROUNDABLE = 1024  # of images that are as bright as this, rounding leaves less than their noise
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
    """

    root: Path
    channels: tuple[int, ...]
    scales: tuple["FloatScale", ...] = ()

    def doubts(self, names: Sequence[str]) -> list[str]:
        """Say how floats are taken that are neither counts nor within 0 and 1, for channels of these names."""
        spread = [
            f"{name} (x - {scale.offset:.4g}) x {scale.gain:.5g}, cut off below {scale.offset:.4g} and above "
            f"{scale.offset + COUNTS / scale.gain:.4g}"
            for name, scale in zip(names, self.scales, strict=False)
            if scale.offset or scale.gain not in (1.0, float(COUNTS))
        ]
        if not spread:
            return []
        return [
            "Pixels are floats that are neither counts nor within 0 and 1; they become whole numbers by "
            f"{'; '.join(spread)}. If they go further, set screen.float_max to their largest value."
        ]

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
        array, axes = self._open(tile)
        wanted = self.channels if channels is None else tuple(self.channels[c] for c in channels)
        try:
            scales = dict(zip(self.channels, self.scales, strict=False))
            planes = ((channel, _plane(array, axes, channel, window)) for channel in wanted)
            return np.stack([_counts(plane, scales.get(channel, FloatScale())) for channel, plane in planes])
        except _DAMAGED as error:
            raise GrapeOpsError(f"The tile {tile[PATH]} cannot be read: {error or type(error).__name__}") from None

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
            return node, _AXES[node.ndim]
        scales = image_metadata(node).get("multiscales")
        if scales:
            array = node[scales[0]["datasets"][0]["path"]]
            axes = [axis["name"] if isinstance(axis, dict) else axis for axis in scales[0].get("axes", [])]
            names = "".join(axes).lower() or _AXES[array.ndim]
            if len(names) != array.ndim or not {"y", "x"} <= set(names):
                raise ValueError(f"it has {array.ndim} axes, and its metadata name {names!r}")
            return array, names
        array = node["0"]
        return array, _AXES[array.ndim]
    except _DAMAGED as error:
        raise GrapeOpsError(f"The image {name or path} cannot be read: {error or type(error).__name__}") from None


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


def numbered_channels(image: Path) -> list[str]:
    """Name the channels of an image whose metadata name none: channel0, channel1 and so on."""
    return [f"channel{index}" for index in range(_count_channels(*open_image(image)))]


def note_unnamed(image: Path, names: Sequence[str]) -> None:
    """Say that an image has more channels than its metadata name; only the first ones, which have names, are read."""
    present = _count_channels(*open_image(image))
    if present > len(names):
        listed = ", ".join(names)
        note(f"{image} has {present} channels, and its metadata name {len(names)} ({listed}); the others are not read.")


class FloatScale(NamedTuple):
    """Pixels that are floats become (pixel - offset) x gain, rounded, within 0 and 65,535."""

    gain: float = 1.0
    offset: float = 0.0


def _count_channels(array: Any, axes: str) -> int:
    return int(array.shape[axes.index("c")]) if "c" in axes else 1


def scales_of_floats(paths: Iterable[Path], channels: Sequence[int], largest: float | None) -> tuple[FloatScale, ...]:
    """Choose how pixels that are floats become whole numbers, channel by channel, from samples of some images.

    Camera counts stay what they are: whole numbers up to 65,535, or fractions that are large enough to be rounded.
    Others are spread over 16 bits: those within 0 and 1 over all of them; those that go somewhat further so that the
    brightest sample lies in the middle, since brighter pixels may lie where nobody looked. Channels with negative
    values are spread around their samples, with as much room on either side as half of their range.

    Parameters
    ----------
    channels : which of the images' channels.
    largest : what is known to be the largest value; sampled if None.
    """
    samples: list[list[tuple[float, float, bool]]] = [[] for _ in channels]
    for path in paths:
        array, axes = open_image(path)
        if array.dtype.kind == "f":
            present = _count_channels(array, axes)
            with suppress(*_DAMAGED):  # whoever reads its pixels reports it
                for found, channel in zip(samples, channels, strict=True):
                    found += [_sampled(array, axes, channel)] if channel < present else []
    return tuple(_scale(found, largest) for found in samples)


def _scale(samples: list[tuple[float, float, bool]], largest: float | None) -> FloatScale:
    lowest = min((low for low, _, _ in samples), default=0.0)
    highest = max((high for _, high, _ in samples), default=0.0)
    if lowest < 0:
        if largest:
            return FloatScale(COUNTS / (2 * largest), -largest)
        reach = highest - lowest
        return FloatScale(COUNTS / (2 * reach), lowest - reach / 2)
    if not highest:
        return FloatScale()  # no floats, or nothing but background
    known = largest or highest
    if known > COUNTS:
        return FloatScale(COUNTS / known)
    if (all(whole for _, _, whole in samples) and known > 1) or known >= ROUNDABLE:
        return FloatScale()
    if largest or known <= 1:
        return FloatScale(COUNTS / max(known, 1.0))
    return FloatScale(COUNTS / (2 * known))


def _sampled(array: Any, axes: str, channel: int) -> tuple[float, float, bool]:
    """Lowest and largest value of some windows of a channel, and whether all of their pixels are whole numbers."""
    height, width = array.shape[axes.index("y")], array.shape[axes.index("x")]
    lowest, highest, whole = 0.0, 0.0, True
    for share in (0.25, 0.5, 0.75):
        top, left = int(share * height), int(share * width)
        window = Window(top, left, min(_SAMPLE, height - top), min(_SAMPLE, width - left))
        pixels = np.nan_to_num(_plane(array, axes, channel, window))
        lowest = min(lowest, float(pixels.min(initial=0)))
        highest = max(highest, float(pixels.max(initial=0)))
        whole = whole and bool((pixels == np.rint(pixels)).all())
    return lowest, highest, whole


def _plane(array: Any, axes: str, channel: int, window: Window | None) -> np.ndarray:
    """Read one channel: -> (h, w); further axes but z are taken at their first place."""
    height, width = array.shape[axes.index("y")], array.shape[axes.index("x")]
    top, left, h, w = window or (0, 0, height, width)
    places = {"c": channel, "z": slice(None), "y": slice(top, top + h), "x": slice(left, left + w)}
    image = np.asarray(array[tuple(places.get(axis, 0) for axis in axes)])
    if "z" in axes:
        image = image.max(axis=[axis for axis in axes if axis in "zyx"].index("z"))
    return image


def _counts(image: np.ndarray, scale: FloatScale) -> np.ndarray:
    if image.dtype.kind == "u" and image.dtype.itemsize <= 2:
        return image
    if image.dtype.kind == "f":
        image = np.nan_to_num(image)
        if scale.offset:
            image = image - np.float32(scale.offset)
        return np.clip(np.rint(image * np.float32(scale.gain)), 0, COUNTS).astype(np.uint16)
    low, high = image.min(initial=0), image.max(initial=0)
    if low < 0 or high > COUNTS:
        raise ValueError(
            f"it holds {image.dtype} pixels from {low} to {high}, where whole numbers go from 0 to {COUNTS}; store "
            "them as uint16, or as floats"
        )
    return image.astype(np.uint16)
