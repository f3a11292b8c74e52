"""OME-Zarr whose axes come in another order: the same pixels, as a whole and in windows."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from layout_writers import CROP, draw_screen, write_ops_standard

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.crop_files import open_array
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Window
from grape_ops.screen.zarr_tiles import ZarrTiles

IMAGE = np.random.default_rng(0).integers(0, 9000, (2, 3, 20, 30)).astype(np.uint16)  # c, z, y, x
TILE = pd.Series({"path": "image"})


def write(root: Path, axes: str, image: np.ndarray = IMAGE, named: bool = False) -> ZarrTiles:
    """Write (c, z, y, x) in an order of axes that the image's metadata state, or the array itself."""
    order = image.transpose(["czyx".index(axis) for axis in axes])
    group = zarr.open_group(root / "image", mode="w", zarr_format=3)
    group.create_array("0", data=order, dimension_names=list(axes) if named else None)
    scales = {"datasets": [{"path": "0"}]} | ({} if named else {"axes": [{"name": axis} for axis in axes]})
    group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    return ZarrTiles(root, (0, 1))


@pytest.mark.parametrize("axes", ["".join(order) for order in permutations("czyx")])
def test_axes_of_any_order_give_the_same_pixels(tmp_path: Path, axes: str) -> None:
    reader, expected = write(tmp_path, axes), IMAGE.max(axis=1)
    assert reader.header(TILE)[:3] == (2, 20, 30)
    np.testing.assert_array_equal(reader(TILE), expected)
    np.testing.assert_array_equal(reader.read(TILE, (1,), Window(3, 5, 7, 21)), expected[1:, 3:10, 5:26])


def test_an_array_that_names_its_axes_itself_is_believed(tmp_path: Path) -> None:
    reader = write(tmp_path, "xyzc", named=True)
    np.testing.assert_array_equal(reader(TILE), IMAGE.max(axis=1))
    zarr.create_array(tmp_path / "alone", data=IMAGE[:, 0].swapaxes(1, 2), dimension_names=["c", "x", "y"])
    np.testing.assert_array_equal(reader(pd.Series({"path": "alone"})), IMAGE[:, 0])


def test_samples_of_floats_come_from_the_right_axes(tmp_path: Path) -> None:
    """A narrow image: in windows of the wrong axes there is nothing."""
    reader = write(tmp_path, "czxy", IMAGE.astype(np.float32))
    np.testing.assert_array_equal(reader(TILE), IMAGE.max(axis=1))


def test_a_screen_with_x_before_y_gives_the_same_store(tmp_path: Path) -> None:
    drawn = draw_screen()
    settings = PreprocessSettings(crop_size=CROP, workers=1, flat_field=FlatFieldSettings(enabled=False))
    stores = []
    for name in ("yx", "xy"):
        write_ops_standard(tmp_path / name, drawn)
        for field in (tmp_path / name / "screen_1/screen_1.zarr").glob("?/?/?" if name == "xy" else "none"):
            group = zarr.open_group(field, mode="r+")
            image = group["0"][:]
            del group["0"]
            group.create_array("0", data=image.swapaxes(3, 4), chunks=(1, 1, 1, 64, 64))
            ome = group.attrs["ome"]
            axes = ome["multiscales"][0]["axes"]
            ome["multiscales"][0]["axes"] = [*axes[:3], axes[4], axes[3]]
            group.attrs["ome"] = ome
        preprocess(open_screen(tmp_path / name, ScreenSettings()), tmp_path / f"{name}.store", settings)
        stores.append(CropStore.open(tmp_path / f"{name}.store").read(slice(None)))
    np.testing.assert_array_equal(*stores)


def test_crops_whose_array_names_x_before_y_are_refused(tmp_path: Path) -> None:
    crops = np.zeros((4, 2, 8, 8), np.uint16)
    zarr.create_array(tmp_path / "crops.zarr", data=crops, dimension_names=["cell", "c", "x", "y"])
    with pytest.raises(GrapeOpsError, match=r"names the axes of its array cell, c, x, y; .*transpose\(0, 1, 3, 2\)"):
        open_array(tmp_path / "crops.zarr", "")


def relabel(root: Path, names: list[str] | None) -> None:
    """Let the metadata of the last image name its channels otherwise, or not at all."""
    image = zarr.open_group(sorted(path.parent for path in root.glob("**/*.zarr/*/*/*/zarr.json"))[-1], mode="a")
    ome = {key: part for key, part in image.attrs["ome"].items() if key != "omero"}
    image.attrs["ome"] = ome | ({"omero": {"channels": [{"label": name} for name in names]}} if names else {})


def test_images_that_name_their_channels_in_another_order_are_not_mixed(tmp_path: Path) -> None:
    write_ops_standard(tmp_path, draw_screen())
    settings = PreprocessSettings(crop_size=CROP, workers=1, on_problem="stop")
    channels = open_screen(tmp_path, ScreenSettings()).channels
    relabel(tmp_path, None)  # one that names none is read as the others are
    preprocess(open_screen(tmp_path, ScreenSettings()), tmp_path / "store", settings)
    assert CropStore.open(tmp_path / "store").channels == channels
    relabel(tmp_path, [*channels[::-1]])
    with pytest.raises(GrapeOpsError, match=f"names its channels {', '.join(channels[::-1])}, and other tiles"):
        preprocess(open_screen(tmp_path, ScreenSettings()), tmp_path / "other", settings)
