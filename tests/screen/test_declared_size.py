"""A head that declares more than a file or this machine can hold is told in words, before memory is taken."""

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from numpy.lib import format as npy

from grape_ops.errors import GrapeOpsError
from grape_ops.screen.crop_files import ArrayCrops, read_crop
from grape_ops.screen.tiff import Plane, TiffTiles
from grape_ops.screen.tile_pattern import PATH
from grape_ops.screen.zarr_tiles import ZarrTiles

HUGE = 10**6


def huge_head(shape: tuple[int, ...]) -> bytes:
    """Write the head of an npy file of this shape, and a few bytes for its pixels."""
    content = npy.magic(1, 0)
    text = repr({"descr": "<u2", "fortran_order": False, "shape": shape}).encode()
    return content + struct.pack("<H", len(text)) + text + bytes(64)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff(tmp_path: Path, compression: str | None) -> None:
    file = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint16)
    tifffile.imwrite(file, pixels, photometric="minisblack", compression=compression, metadata=None)
    with tifffile.TiffFile(file, mode="r+b") as opened:
        tags = opened.pages.first.tags
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tags[name].overwrite(HUGE, dtype="I")
    for read in (
        lambda: TiffTiles(tmp_path, (Plane("c"),))(pd.Series({PATH: "a.tif"})),
        lambda: TiffTiles(tmp_path, (Plane("c"),)).header(pd.Series({PATH: "a.tif"})),
        lambda: read_crop(file, "a.tif"),
    ):
        with pytest.raises(GrapeOpsError, match=r"a.tif declares 2.0 TB and holds"):
            read()


def test_a_tiff_whose_strips_are_absent(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((64, 64), np.uint16), photometric="minisblack", rowsperstrip=16)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as opened:
        opened.pages.first.tags["StripByteCounts"].overwrite([2048, 0, 2048, 2048])
    with pytest.raises(GrapeOpsError, match="parts of its pixels are absent"):
        read_crop(tmp_path / "a.tif", "a.tif")


def test_npy_and_npz(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(huge_head((4, HUGE, HUGE)))
    with pytest.raises(GrapeOpsError, match=r"crop a.npy declares 8.0 TB and holds"):
        read_crop(tmp_path / "a.npy", "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", huge_head((100, 4, HUGE, HUGE)))
    with pytest.raises(GrapeOpsError, match=r"'images' of .*a.npz declares 800.0 TB and holds"):
        ArrayCrops(tmp_path / "a.npz", "", (0,))(pd.DataFrame({"crop": [0]}))


def test_zarr(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(1, 64, 64), chunks=(1, 64, 64), dtype="uint16")
    description = tmp_path / "a.zarr/zarr.json"
    whole = json.loads(description.read_text())
    whole["shape"], grid = [1, 10 * HUGE, 10 * HUGE], whole["chunk_grid"]["configuration"]
    description.write_text(json.dumps(whole))
    tiles, tile = ZarrTiles(tmp_path, (0,)), pd.Series({PATH: "a.zarr"})
    with pytest.raises(GrapeOpsError, match=r"a.zarr declares .* pixels, more than any image has"):
        tiles.header(tile)
    whole["shape"], grid["chunk_shape"] = [1, HUGE, HUGE], [1, HUGE, HUGE]
    description.write_text(json.dumps(whole))
    with pytest.raises(GrapeOpsError, match=r"chunk of the tile a.zarr declares 2.0 TB"):
        tiles.header(tile)
    whole["shape"], grid["chunk_shape"] = [5, 4, HUGE, HUGE], [1, 1, 64, 64]
    description.write_text(json.dumps(whole))
    with pytest.raises(GrapeOpsError, match=r"A crop of .*a.zarr declares 8.0 TB"):
        ArrayCrops(tmp_path / "a.zarr", "", (0,))(pd.DataFrame({"crop": [0]}))
