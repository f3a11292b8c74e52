"""What a TIFF file says of its planes: which channel and which z each is of. Pixels come from the named file alone.

OME metadata may describe a whole set of files; only what it says of this file counts, and no other file's pixels are
opened. ImageJ and tifffile name their axes; other files state nothing but how many planes there are.
Legend: P planes of a file, C channels, Z planes of a stack.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from grape_ops.errors import GrapeOpsError

_AXES = "CZT"
_ORIENTATION = 274
_TURNED = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "upside down",
    5: "with rows as columns",
    6: "turned by 90 degrees",
    7: "turned by 90 degrees and mirrored",
    8: "turned by 270 degrees",
}


@dataclass(frozen=True)
class Planes:
    """Where the planes of a file stand.

    Attributes
    ----------
    places : (P, 3) place along C, Z and T of each plane if the file states it, else None.
    shape : lengths of the axes before height and width; of unstated ones those longer than 1 count.
    said : the file's statement in words, "" if it makes none.
    by_imagej : whether ImageJ's metadata state it, which some software writes with every plane called a channel.
    """

    places: np.ndarray | None
    shape: tuple[int, ...]
    said: str = ""
    by_imagej: bool = False

    def of_channels(self, of: int | None, stacked: bool, by_name: bool = False) -> np.ndarray | None:
        """Number the planes of each channel: (C, Z); None if what is wanted contradicts the file.

        Parameters
        ----------
        of : channels that the file is to hold; None takes what the file says.
        stacked : whether there may be several z planes, of which the maximum is to be taken.
        by_name : whether the file's name tells its channels, so that planes that ImageJ calls channels may be z.
        """
        if self.places is None:
            return self._by_count(of, stacked)
        channels, stack, times = (np.unique(axis) for axis in self.places.T)
        if by_name and self.by_imagej and of == len(stack) == len(times) == 1:
            return self._by_count(of, stacked)
        fits = len(times) == 1 and (stacked or len(stack) == 1) and of in (None, len(channels))
        if not fits or len(channels) * len(stack) != len(self.places):
            return None
        order = np.lexsort((self.places[:, 1], self.places[:, 0]))
        return order.reshape(len(channels), len(stack))

    def _by_count(self, of: int | None, stacked: bool) -> np.ndarray | None:
        long = [length for length in self.shape if length > 1]
        count = int(np.prod(self.shape))
        numbers = np.arange(count)
        if of is None:
            return numbers[:, None] if len(long) < 2 else None
        if not stacked:
            return numbers[:, None] if count == of else None
        if len(long) > 1:  # one axis is channels, the other z; where both fit, channels vary fastest
            if len(long) > 2 or of not in long or of == 1:
                return None
            return numbers.reshape(long).T if long[1] == of else numbers.reshape(long)
        return numbers.reshape(-1, of).T if count % of == 0 else None


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a file so that its series are of its own pages, whatever other files its metadata name."""
    return tifffile.TiffFile(path, is_ome=False, is_mmstack=False, is_ndtiff=False)


def check_upright(page: tifffile.TiffPage | tifffile.TiffFrame, name: str) -> None:
    """Refuse a page that says that it is to be turned or mirrored, which some programs do and others do not."""
    tag = page.tags.get(_ORIENTATION) if isinstance(page, tifffile.TiffPage) else None
    if tag is not None and tag.value in _TURNED:
        raise GrapeOpsError(
            f"{name} is to be shown {_TURNED[tag.value]}, by its TIFF tag Orientation ({tag.value}), which some "
            "programs heed and others do not. If the cells' centres count in the pixels as they are stored, as "
            f"tifffile and scikit-image read them, set the tag to 1 (tiffset -s {_ORIENTATION} 1 FILE); if not, save "
            "the picture as it is shown."
        )


def read_planes(file: tifffile.TiffFile, name: str, by_name: bool = False) -> tuple[tifffile.TiffPageSeries, Planes]:
    """Return the one picture of a file, and what the file says of its planes.

    Parameters
    ----------
    by_name : whether the file's name tells its channels; then ImageJ's metadata may state a whole acquisition.

    Raises
    ------
    GrapeOpsError : it holds several pictures, or states other planes than it holds.
    """
    if contradiction := _imagej_contradiction(file):
        if not by_name or len(file.pages) == 1:
            raise GrapeOpsError(f"{name} {contradiction}.")
        file.is_imagej = False  # type: ignore[attr-defined]  # one of its flags, which it makes of its tags
    series = file.series[0]
    beside = [other for other in file.series[1:] if not other.keyframe.is_reduced]
    if beside:
        listed = ", ".join(" x ".join(map(str, one.shape)) for one in (series, *beside))
        raise GrapeOpsError(
            f"{name} holds {1 + len(beside)} pictures (series {listed}), where one tile is wanted; save each to a file "
            "of its own."
        )
    if series.axes[-2:] != "YX":
        return series, Planes(None, tuple(series.shape[:-2]))
    if file.pages.first.is_ome:
        return series, _of_ome(file, series, name)
    return series, _of_axes(series)


def _imagej_contradiction(file: tifffile.TiffFile) -> str:
    """Say what ImageJ's metadata state if the file holds another number of planes; "" if it does not."""
    stated, page = file.imagej_metadata or {}, file.pages.first
    sizes = [int(stated.get(axis, 1)) for axis in ("channels", "slices", "frames")]
    planes = int(np.prod(sizes))
    if page.samplesperpixel > 1 or planes == 1 or file.pages.first.is_ome:
        return ""
    held = len(file.pages)
    if held == 1 and page.is_final and page.dataoffsets[0] + planes * page.nbytes <= file.filehandle.size:
        return ""  # one page stands for planes that lie behind one another
    said = f"{sizes[0]} channels x {sizes[1]} z planes x {sizes[2]} time points"
    return "" if held == planes else f"states {planes} planes ({said}) in its ImageJ metadata, and holds {held}"


def _of_axes(series: tifffile.TiffPageSeries) -> Planes:
    """Take the axes that ImageJ or tifffile wrote; the samples of a pixel, one plane each, are channels."""
    leading, axes = tuple(series.shape[:-2]), series.axes[:-2]
    axes = axes if "C" in axes else axes.replace("S", "C")
    known = [letter for letter, length in zip(axes, leading, strict=True) if length > 1]
    stated = len(set(known)) == len(known) and set(known) <= set(_AXES) and (bool(known) or series.kind == "imagej")
    if not stated:
        return Planes(None, leading)
    numbers = np.indices(leading).reshape(len(leading), -1)
    places = np.zeros((numbers.shape[1], len(_AXES)), int)
    for letter in known:
        places[:, _AXES.index(letter)] = numbers[axes.index(letter)]
    return Planes(places, leading, _in_words(places), series.kind == "imagej")


def _of_ome(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str) -> Planes:
    """Take what OME metadata say of the planes of this file, whatever else they describe."""
    count = int(np.prod(series.shape[:-2]))
    pages = len(file.pages)
    try:
        root = ElementTree.fromstring(file.pages.first.description)
        own, companion = root.get("UUID"), _child(root, "BinaryOnly")
        if companion is not None:
            own = companion.get("UUID", own)
            root = _companion(file, companion, name)
        found = _listed(root, own, file.filename, pages)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise GrapeOpsError(f"The OME metadata of {name} cannot be read: {error or type(error).__name__}") from None
    if not found:
        if count > 1:
            raise GrapeOpsError(
                f"{name} is part of a set of files, and its OME metadata say nothing of its own {count} planes."
            )
        return Planes(None, tuple(series.shape[:-2]))
    if pictures := len({plane[0] for plane in found.values()}) - 1:
        raise GrapeOpsError(
            f"{name} holds {pictures + 1} pictures (series of its OME metadata), where one tile is wanted; save each "
            "to a file of its own."
        )
    samples = count // pages
    if samples * pages != count or sorted(found) != list(range(pages)):
        raise GrapeOpsError(f"{name} has {pages} pages, and its OME metadata describe {len(found)} other ones.")
    places = np.array([found[page][1:] for page in range(pages)]).reshape(pages, len(_AXES))
    places = np.repeat(places, samples, axis=0)
    places[:, 0] = places[:, 0] * samples + np.tile(np.arange(samples), pages)
    return Planes(places, tuple(series.shape[:-2]), _in_words(places))


def _companion(file: tifffile.TiffFile, pointer: ElementTree.Element, name: str) -> ElementTree.Element:
    """Read the metadata that a file of a set has elsewhere, in a companion or in another TIFF's head."""
    path = Path(file.filehandle.dirname) / Path(pointer.get("MetadataFile", "")).name
    if not path.is_file():
        if len(file.pages) == 1:
            return ElementTree.Element("OME")
        raise GrapeOpsError(f"The axes of {name} are described in {path.name}, which is not beside it.")
    if path.suffix.lower() in (".tif", ".tiff"):
        with open_tiff(path) as other:
            return ElementTree.fromstring(other.pages.first.description)
    return ElementTree.fromstring(path.read_bytes())


def _listed(root: ElementTree.Element, own: str | None, name: str, pages: int) -> dict[int, tuple[int, int, int, int]]:
    """List the pages of this file: page -> picture and place along C, Z and T."""
    blocks = []
    for picture, pixels in enumerate(_children(root, "Image/Pixels")):
        order = pixels.attrib["DimensionOrder"][2:]
        samples = max([int(channel.get("SamplesPerPixel", 1)) for channel in _children(pixels, "Channel")] or [1])
        sizes = {axis: int(pixels.attrib[f"Size{axis}"]) // (samples if axis == "C" else 1) for axis in order}
        shape = [sizes[axis] for axis in order]
        for data in list(_children(pixels, "TiffData")) or [ElementTree.Element("TiffData")]:
            first = int(np.ravel_multi_index([int(data.get(f"First{axis}", 0)) for axis in order], shape, order="F"))
            uuid, page = _child(data, "UUID"), int(data.get("IFD", 0))
            rest = pages - page if uuid is not None else np.prod(shape) - first
            count = int(data.get("PlaneCount", 1 if "IFD" in data.attrib else rest))
            blocks.append((picture, uuid, page, first, count, order, shape))
    elsewhere = {_file_of(uuid) for _, uuid, *_ in blocks if uuid is not None}
    renamed = len(elsewhere) == 1 and own is None  # all in one file, which this is under another name
    is_own: Callable[[ElementTree.Element], bool] = (
        (lambda uuid: uuid.text == own) if own else (lambda uuid: renamed or _file_of(uuid) == name.lower())
    )
    found: dict[int, tuple[int, int, int, int]] = {}
    for picture, uuid, page, first, count, order, shape in blocks:
        if uuid is not None and not is_own(uuid):
            continue
        if first + count > np.prod(shape) or page + count > pages:
            raise ValueError(f"they describe {page + count} pages, and the file has {pages}")
        for nth in range(count):
            place = dict(zip(order, map(int, np.unravel_index(first + nth, shape, order="F")), strict=True))
            found[page + nth] = (picture, place["C"], place["Z"], place["T"])
    return found


def _file_of(uuid: ElementTree.Element) -> str:
    return Path(uuid.get("FileName", uuid.text or "")).name.lower()


def _children(element: ElementTree.Element, path: str) -> list[ElementTree.Element]:
    return element.findall("/".join(f"{{*}}{tag}" for tag in path.split("/")))


def _child(element: ElementTree.Element, tag: str) -> ElementTree.Element | None:
    return next(iter(_children(element, tag)), None)


def _in_words(places: np.ndarray) -> str:
    channels, stack, times = (len(np.unique(axis)) for axis in places.T)
    words = [f"{channels} channel{'s' * (channels != 1)}", f"{stack} z plane{'s' * (stack != 1)}"]
    return ", ".join(words + [f"{times} time points"] * (times > 1))
