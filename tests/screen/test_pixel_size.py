"""The size of a pixel: from OME, ImageJ and resolution tags, from OME-Zarr, or from the setting; into the store."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from layout_writers import CROP, draw_screen, write_ops_standard

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.pixel_size import tiff_pixel_size, zarr_pixel_size

IMAGE = np.zeros((2, 16, 16), np.uint16)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"ome": True, "metadata": {"axes": "CYX", "PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm"}}, 0.325),
        ({"ome": True, "metadata": {"axes": "CYX", "PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm"}}, 0.65),
        ({"ome": True, "metadata": {"axes": "CYX"}}, None),
        ({"imagej": True, "resolution": (2.0, 2.0), "metadata": {"axes": "CYX", "unit": "um"}}, 0.5),
        ({"resolution": (20_000.0, 20_000.0), "resolutionunit": "CENTIMETER"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # programs write it that know nothing
        ({}, None),
    ],
)
def test_tiff_files_tell_or_do_not(tmp_path: Path, options: dict, size: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="minisblack", **options)
    found = tiff_pixel_size(tmp_path / "a.tif")
    assert found is None if size is None else found == pytest.approx(size, rel=1e-5)


def test_what_is_no_image_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"no image")
    assert tiff_pixel_size(tmp_path / "a.tif") is None and tiff_pixel_size(tmp_path / "none.tif") is None
    assert zarr_pixel_size(tmp_path / "a.tif") is None and zarr_pixel_size(tmp_path / "none.zarr") is None


@pytest.mark.parametrize(
    ("unit", "scale", "size"), [("micrometer", 0.65, 0.65), ("nanometer", 650, 0.65), (None, 0.65, None)]
)
def test_ome_zarr_tells_by_its_scale_and_the_setting_wins(tmp_path, unit, scale, size):
    write_ops_standard(tmp_path / "screen", draw_screen())
    for field in (tmp_path / "screen/screen_1/screen_1.zarr").glob("?/?/?"):
        group = zarr.open_group(field, mode="r+")
        ome = dict(group.attrs["ome"])
        ome["multiscales"][0]["axes"][-1] |= {"unit": unit} if unit else {}
        scales = [{"type": "scale", "scale": [1, 1, 1, scale, scale]}]
        ome["multiscales"][0]["datasets"][0]["coordinateTransformations"] = scales
        group.attrs["ome"] = ome
    settings = PreprocessSettings(crop_size=CROP, workers=1, flat_field=FlatFieldSettings(enabled=False))
    for chosen, expected in ((None, size), (0.5, 0.5)):
        screen = open_screen(tmp_path / "screen", ScreenSettings(pixel_size=chosen))
        preprocess(screen, tmp_path / "store", settings, overwrite=True)
        assert CropStore.open(tmp_path / "store").meta["provenance"].get("pixel_size") == pytest.approx(expected)
