"""TIFF tiles and crops: pixels of the named file alone, and the axes that a file states, or a refusal in words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from grape_ops.config import FlatFieldSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.flat_field import supplied_field
from grape_ops.screen.crop_files import read_crop
from grape_ops.screen.tiff import Plane, TiffTiles
from grape_ops.screen.tile_pattern import PATH

SHAPE = (16, 20)
STACK = np.arange(3 * 4)[:, None, None].reshape(3, 4, 1, 1) * 100 + np.arange(320).reshape(SHAPE) % 7
STACK = STACK.astype(np.uint16)  # z, c, y, x: every plane has values of its own


def reader(root: Path, channels: int, stacked: bool = False) -> TiffTiles:
    return TiffTiles(root, tuple(Plane(f"c{n}", index=n, of=channels) for n in range(channels)), stacked)


def tile(root: Path, name: str, channels: int, stacked: bool = False) -> np.ndarray:
    return reader(root, channels, stacked)(pd.Series({PATH: name}))


def ome(images: list[str], uuid: str = "") -> str:
    """Write OME metadata of images, each given as the content of its Pixels."""
    own = f' UUID="{uuid}"' if uuid else ""
    head = 'ID="Pixels:0" Type="uint16" SizeX="20" SizeY="16"'
    body = "".join(f'<Image ID="Image:{n}"><Pixels {head} {pixels}</Pixels></Image>' for n, pixels in enumerate(images))
    return f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{own}>{body}</OME>'


def block(uuid: str, name: str, **first: int) -> str:
    places = " ".join(f'{key}="{value}"' for key, value in ({"IFD": 0, "PlaneCount": 2} | first).items())
    return f'<TiffData {places}><UUID FileName="{name}">{uuid}</UUID></TiffData>'


def write_set(root: Path, with_uuid: bool) -> list[np.ndarray]:
    """Write three tiles of two channels as one multi-file OME-TIFF, each file with the metadata of all."""
    sizes = 'DimensionOrder="XYCZT" SizeC="2" SizeZ="1" SizeT="1">'
    uuids = [f"urn:uuid:{n}" for n in range(3)]
    images = [sizes + block(uuids[n], f"t{n}.ome.tif") for n in range(3)]
    pixels = [np.random.default_rng(n).integers(0, 60000, (2, *SHAPE)).astype(np.uint16) for n in range(3)]
    for n, own in enumerate(pixels):
        text = ome(images, uuids[n] if with_uuid else "")
        tifffile.imwrite(root / f"t{n}.ome.tif", own, photometric="minisblack", metadata=None, description=text)
    return pixels


@pytest.mark.parametrize("with_uuid", [True, False])
def test_a_set_of_files_gives_the_pixels_of_the_named_one(tmp_path: Path, with_uuid: bool) -> None:
    pixels = write_set(tmp_path, with_uuid)
    for n, own in enumerate(pixels):
        np.testing.assert_array_equal(tile(tmp_path, f"t{n}.ome.tif", 2), own)
        np.testing.assert_array_equal(read_crop(tmp_path / f"t{n}.ome.tif", "t"), own)
    (tmp_path / "t0.ome.tif").unlink()  # the others do not need it
    np.testing.assert_array_equal(tile(tmp_path, "t2.ome.tif", 2), pixels[2])


def test_a_file_a_channel_of_a_set_is_one_channel(tmp_path: Path) -> None:
    """Each file of one picture holds the z planes of its own channel."""
    sizes = 'DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1">'
    blocks = "".join(block(f"urn:uuid:{c}", f"c{c}.tif", FirstC=c, PlaneCount=3) for c in range(2))
    for c in range(2):
        text = ome([sizes + blocks], f"urn:uuid:{c}")
        tifffile.imwrite(tmp_path / f"c{c}.tif", STACK[:, c], photometric="minisblack", metadata=None, description=text)
    np.testing.assert_array_equal(tile(tmp_path, "c1.tif", 1, stacked=True)[0], STACK[:, 1].max(0))
    with pytest.raises(GrapeOpsError, match="it states 1 channel, 3 z planes"):
        tile(tmp_path, "c1.tif", 3)


def test_binary_only_files_take_their_axes_from_the_companion(tmp_path: Path) -> None:
    sizes = 'DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1">'  # z fastest, against what is usual
    (tmp_path / "set.companion.ome").write_text(ome([sizes + block("urn:uuid:a", "a.tif", PlaneCount=6)]))
    head = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
    text = f'{head}<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:a"/></OME>'
    planes = STACK[:, :2].swapaxes(0, 1).reshape(6, *SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack", metadata=None, description=text)
    np.testing.assert_array_equal(tile(tmp_path, "a.tif", 2, stacked=True), STACK[:, :2].max(0))
    (tmp_path / "set.companion.ome").unlink()
    with pytest.raises(GrapeOpsError, match=r"axes of a.tif are described in set.companion.ome"):
        tile(tmp_path, "a.tif", 2, stacked=True)


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as writer:
        for n in range(2):
            writer.write(STACK[n, :2], photometric="minisblack", metadata={"axes": "CYX"})
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(STACK[0, :2], photometric="minisblack")
        writer.write(STACK[0, :3, :8], photometric="minisblack")
    for name in ("two.ome.tif", "two.tif"):
        with pytest.raises(GrapeOpsError, match=f"{name} holds 2 pictures"):
            tile(tmp_path, name, 2)
        with pytest.raises(GrapeOpsError, match="holds 2 pictures"):
            read_crop(tmp_path / name, name)


def test_a_file_that_states_more_planes_than_it_has_is_refused(tmp_path: Path) -> None:
    text = ome(['DimensionOrder="XYCZT" SizeC="2" SizeZ="1" SizeT="1"><TiffData/>'])
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], photometric="minisblack", metadata=None, description=text)
    with pytest.raises(GrapeOpsError, match="describe 2 pages, and the file has 1"):
        tile(tmp_path, "a.tif", 2)


WRITERS = {
    "imagej": {"imagej": True},
    "ome": {"ome": True},
    "packed ome": {"ome": True, "compression": "zlib"},
    "tifffile": {},
}


@pytest.mark.parametrize("kind", WRITERS)
def test_stated_axes_win_or_are_told(tmp_path: Path, kind: str) -> None:
    def write(stack: np.ndarray, axes: str) -> None:
        options = WRITERS[kind] | {"photometric": "minisblack", "metadata": {"axes": axes}}
        tifffile.imwrite(tmp_path / "a.tif", stack, **options)

    write(STACK, "ZCYX")
    np.testing.assert_array_equal(tile(tmp_path, "a.tif", 4, stacked=True), STACK.max(0))
    for channels in (1, 2, 3, 6, 12):
        with pytest.raises(GrapeOpsError, match="it states 4 channels, 3 z planes"):
            tile(tmp_path, "a.tif", channels, stacked=True)
    with pytest.raises(GrapeOpsError, match="it states 4 channels, 3 z planes"):
        tile(tmp_path, "a.tif", 12)
    if kind != "imagej":  # whose order is fixed
        write(STACK.swapaxes(0, 1), "CZYX")
        np.testing.assert_array_equal(tile(tmp_path, "a.tif", 4, stacked=True), STACK.max(0))
    write(STACK, "TCYX")
    with pytest.raises(GrapeOpsError, match="4 channels, 1 z plane, 3 time points"):
        tile(tmp_path, "a.tif", 4, stacked=True)
    write(STACK[:, 0], "ZYX")
    for stacked in (False, True):
        with pytest.raises(GrapeOpsError, match="it states 1 channel, 3 z planes"):
            tile(tmp_path, "a.tif", 3, stacked=stacked)
    with pytest.raises(GrapeOpsError, match="it states 1 channel, 3 z planes"):
        read_crop(tmp_path / "a.tif", "a.tif")


def imagej(channels: int, slices: int) -> str:
    return f"ImageJ=1.49v\nimages={channels * slices}\nchannels={channels}\nslices={slices}\nhyperstack=true\n"


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize(
    ("of", "planes", "stated"),
    [(1, STACK[:, 0], (3, 1)), (2, STACK[:, :2], (4, 3)), (1, STACK[:, 0], (4, 3)), (2, STACK[:, :2], (2, 2))],
    ids=["planes called channels", "a whole acquisition", "a whole acquisition, one stain", "fewer than there are"],
)
def test_files_that_are_named_by_their_stain_are_read_whatever_imagej_calls_the_planes(
    tmp_path, options, of, planes, stated
) -> None:
    """As in the screen of Funk et al., whose stains lie in files of their own; other files are refused."""
    pages = planes.reshape(-1, *SHAPE)
    described = {"photometric": "minisblack", "metadata": None, "description": imagej(*stated)}
    tifffile.imwrite(tmp_path / "a.tif", pages, **described, **options)
    layout = tuple(Plane(f"c{n}", index=n, of=of) for n in range(of))
    of_stain = TiffTiles(tmp_path, layout, stacked=True, by_name=True)
    expected = planes.reshape(3, of, *SHAPE).max(0)
    np.testing.assert_array_equal(of_stain(pd.Series({PATH: "a.tif"})), expected)
    held = "it states 3 channels, 1 z plane" if stated == (3, 1) else f"states .* planes .* and holds {len(pages)}"
    with pytest.raises(GrapeOpsError, match=held):
        tile(tmp_path, "a.tif", of, stacked=True)
    if stated != (3, 1):
        with pytest.raises(GrapeOpsError, match=held):
            read_crop(tmp_path / "a.tif", "a.tif")


def test_unstated_axes_are_told_by_their_lengths(tmp_path: Path) -> None:
    for stack in (STACK, STACK.swapaxes(0, 1)):
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
        np.testing.assert_array_equal(tile(tmp_path, "a.tif", 4, stacked=True), STACK.max(0))
        for channels in (1, 2, 6):
            with pytest.raises(GrapeOpsError, match=r"has the shape .*where .*channels c0"):
                tile(tmp_path, "a.tif", channels, stacked=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("page", [0, 1])
def test_pictures_to_be_turned_or_mirrored_are_refused_with_what_to_do(tmp_path, orientation, page):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number in range(2):
            tags = [(274, 3, 1, orientation, True)] if number == page else []
            writer.write(STACK[0, number], photometric="minisblack", metadata=None, extratags=tags)
    if orientation == 1:
        np.testing.assert_array_equal(tile(tmp_path, "a.tif", 2), STACK[0, :2])
        return
    words = rf"a.tif is to be shown .* Orientation \({orientation}\).*tiffset -s 274 1"
    for read in (lambda: tile(tmp_path, "a.tif", 2), lambda: read_crop(tmp_path / "a.tif", "a.tif")):
        with pytest.raises(GrapeOpsError, match=words):
            read()
    with pytest.raises(GrapeOpsError, match=words):
        reader(tmp_path, 2).header(pd.Series({PATH: "a.tif"}))
    with pytest.raises(GrapeOpsError, match=words):
        supplied_field(tmp_path, FlatFieldSettings(file="a.tif"), "P1|A1")


def test_pixels_are_taken_as_stored_where_zero_is_white(tmp_path: Path) -> None:
    """Microscopes' programs write this tag beside counts; the docs say that it is not heeded."""
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, :2], photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(tile(tmp_path, "a.tif", 2), STACK[0, :2])


def test_width_before_height_is_refused_by_the_axes(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", STACK[0, :2].swapaxes(1, 2), photometric="minisblack", metadata={"axes": "CXY"}
    )
    with pytest.raises(
        GrapeOpsError, match=r"a.tif has the shape \(2, 20, 16\) \(axes CXY\), where \(2, height, width\)"
    ):
        tile(tmp_path, "a.tif", 2)
