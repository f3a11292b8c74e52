"""Micrometres of a pixel, as images say it themselves; None where they say nothing that can be true.

TIFF files tell it by OME metadata, by ImageJ's, or by their resolution; OME-Zarr by the scale of its first level.
"""

from pathlib import Path
from typing import Any

import tifffile
import zarr
from zarr.errors import GroupNotFoundError, NodeNotFoundError

from grape_ops.artifacts.damage import DAMAGE

# Microscopes lie within; beyond it are the 72 dots an inch that programs write which know nothing.
SMALLEST, LARGEST = 0.005, 20.0
_MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "nm": 1e-3, "mm": 1e3} | dict.fromkeys(
    ("um", "µm", "\u03bcm", "\\u00B5m", "micron", "microns"), 1.0
)
_INCH, _CENTIMETRE = 2, 3  # values of a TIFF's resolution unit


def tiff_pixel_size(file: Path) -> float | None:
    """Read the width of a pixel out of a TIFF file's head."""
    try:
        with tifffile.TiffFile(file) as tiff:
            return _sensible(_of_ome(tiff) or _of_resolution(tiff))
    except (tifffile.TiffFileError, *DAMAGE):
        return None  # whoever reads its pixels reports it


def zarr_pixel_size(image: Path) -> float | None:
    """Read the width of a pixel out of an OME-Zarr image's metadata; without a unit nobody knows what it is."""
    try:
        attributes: dict[str, Any] = dict(zarr.open(str(image), mode="r").attrs)
        scales = attributes.get("ome", attributes)["multiscales"][0]
        names = [axis["name"].lower() for axis in scales["axes"]]
        across = names.index("x")
        size = _MICROMETRES[scales["axes"][across]["unit"]]
        for part in (scales["datasets"][0], scales):
            for transform in part.get("coordinateTransformations", []):
                size *= transform["scale"][across] if transform["type"] == "scale" else 1
    except (*DAMAGE, NodeNotFoundError, GroupNotFoundError):
        return None
    return _sensible(float(size))


def _of_ome(tiff: tifffile.TiffFile) -> float | None:
    if not tiff.ome_metadata:
        return None
    image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    if "PhysicalSizeX" not in pixels:
        return None
    return float(pixels["PhysicalSizeX"]) * _MICROMETRES[pixels.get("PhysicalSizeXUnit", "µm")]


def _of_resolution(tiff: tifffile.TiffFile) -> float | None:
    tags = tiff.pages.first.tags
    if "XResolution" not in tags:
        return None
    number, of = tags["XResolution"].value
    if not number:
        return None
    unit = str((tiff.imagej_metadata or {}).get("unit", ""))
    if unit in _MICROMETRES:
        return of / number * _MICROMETRES[unit]
    lengths = {_INCH: 25_400.0, _CENTIMETRE: 10_000.0}
    kind = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else _INCH
    return of / number * lengths[kind] if kind in lengths else None


def _sensible(size: float | None) -> float | None:
    return size if size is not None and SMALLEST <= size <= LARGEST else None
