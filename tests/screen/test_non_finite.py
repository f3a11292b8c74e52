"""Pixels that are NaN or infinite are no pixels, and single ones far beyond all others do not make the rest black."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from layout_writers import CROP, Plain, draw_screen, write_ops_standard

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess import first_pass, selection
from grape_ops.preprocess.flat_field import read_fields
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.preprocess.sample import sample_wells
from grape_ops.screen.dead_channels import doubts_of_channels
from grape_ops.screen.float_scale import FloatScale, choose_scale
from grape_ops.screen.inspect import inspect_screen
from grape_ops.screen.layouts import open_screen

PLAIN = ScreenSettings()
SETTINGS = PreprocessSettings(crop_size=CROP, workers=1, most_lost=1, flat_field=FlatFieldSettings(enabled=False))


def in_floats(root: Path, drawn: Plain, change: Callable[[np.ndarray], None]) -> None:
    """Write a screen of the OPS Data Standard in floats, its tiles (C, H, W) changed."""
    write_ops_standard(root, drawn)
    for field in (root / "screen_1/screen_1.zarr").glob("?/?/?"):
        image = drawn.tiles["P1", "".join(field.parts[-3:-1]), field.name].astype(np.float32)
        change(image)
        group = zarr.open_group(field, mode="r+")
        del group["0"]
        group.create_array("0", data=image[None, :, None], chunks=(1, 1, 1, 64, 64))


def corners(cells: pd.DataFrame) -> np.ndarray:
    return np.floor(cells[["y", "x"]].to_numpy() + 0.5).astype(int) - CROP // 2


def nan_in_a_channel(image: np.ndarray) -> None:
    image[2, :50] = np.nan


def one_infinite_pixel(image: np.ndarray) -> None:
    image[0, 60, 60] = np.inf


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize(
    ("change", "needed"),
    [
        (nan_in_a_channel, lambda first: first[:, 0] < 50),
        (one_infinite_pixel, lambda first: ((first <= 60) & (first + CROP > 60)).all(axis=1)),
    ],
)
def test_cells_that_need_such_a_pixel_are_left_out_and_nothing_else_changes(tmp_path, change, needed, enabled):
    drawn = draw_screen()
    in_floats(tmp_path / "floats", drawn, change)
    settings = SETTINGS.model_copy(update={"flat_field": FlatFieldSettings(enabled=enabled, min_agreement=0)})
    report = preprocess(open_screen(tmp_path / "floats", PLAIN), tmp_path / "store", settings)
    lost = int(needed(corners(drawn.cells)).sum())
    assert 0 < lost < len(drawn.cells)
    assert report.cells_dropped == {"on pixels that are NaN or infinite": lost} and report.exit_code == 3
    quality = (tmp_path / "store/quality.tsv").read_text()
    assert f"cells on pixels that are NaN or infinite\t{lost}\tdropped\tpreprocess.on_problem" in quality
    store = CropStore.open(tmp_path / "store")
    raw = np.stack([drawn.tiles["P1", "A1", str(tile)].astype(np.float32) for tile in range(4)])
    for image in raw:
        change(image)
    there = np.isfinite(raw).all(axis=1)
    if enabled:
        field = read_fields(store.path)["P1|A1"].at(np.arange(128), np.arange(128))
        assert np.isfinite(field).all()
        raw /= field
    exact = np.percentile(raw.swapaxes(0, 1)[:, there], (0.1, 99.9), axis=1)
    found = store.meta["scaling"]["groups"]["P1|A1"]
    np.testing.assert_allclose([found["low"], found["high"]], exact, atol=0.1)
    own = store.cells.index[store.cells["well"] == "A1"]
    for row, (top, left) in zip(own, corners(store.cells.loc[own]), strict=True):
        window = raw[int(store.cells["tile"][row]), :, top : top + CROP, left : left + CROP]
        low, high = (np.array(found[key])[:, None, None] for key in ("low", "high"))
        np.testing.assert_allclose(
            store.read([row])[0] / 65535, np.clip((window - low) / (high - low), 0, 1), atol=1e-4
        )


def test_windows_of_large_tiles_lose_the_same_cells(tmp_path, monkeypatch):
    drawn = draw_screen()

    def change(image: np.ndarray) -> None:
        image[0, 60, 60] = image[1, :10] = image[3, 100:104, 40] = np.nan

    in_floats(tmp_path / "floats", drawn, change)
    screen = open_screen(tmp_path / "floats", PLAIN)
    for edge in ("reflect", "drop"):
        settings = SETTINGS.model_copy(update={"edge": edge})
        whole = preprocess(screen, tmp_path / f"whole-{edge}", settings)
        with monkeypatch.context() as patch:
            for module in (first_pass, selection):
                patch.setattr(module, "LARGEST_TILE", 1000)
                patch.setattr(module, "WINDOW", 48)
            windows = preprocess(screen, tmp_path / f"windows-{edge}", settings)
        assert whole.cells_dropped == windows.cells_dropped
        assert 0 < whole.cells_dropped["on pixels that are NaN or infinite"] < len(drawn.cells)
        stores = [CropStore.open(tmp_path / f"{name}-{edge}") for name in ("whole", "windows")]
        keys = ["well", "tile", "y", "x"]
        assert set(map(tuple, stores[0].cells[keys].to_numpy())) == set(map(tuple, stores[1].cells[keys].to_numpy()))


def test_what_the_first_pass_found_is_kept_for_a_call_that_goes_on(tmp_path: Path) -> None:
    in_floats(tmp_path / "floats", draw_screen(), one_infinite_pixel)
    screen = open_screen(tmp_path / "floats", PLAIN)
    stop = SETTINGS.model_copy(update={"on_problem": "stop"})
    with pytest.raises(GrapeOpsError, match=r"cells on pixels that are NaN or infinite: \(.*\) in tile P1 A1 0"):
        preprocess(screen, tmp_path / "store", stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grape_ops.preprocess.first_pass.survey_block", None)  # nothing is read again
        resumed = preprocess(screen, tmp_path / "store", SETTINGS, resume=True)
    assert resumed.cells_dropped == preprocess(screen, tmp_path / "other", SETTINGS).cells_dropped
    assert resumed.cells_dropped["on pixels that are NaN or infinite"]


def test_a_look_at_a_screen_leaves_such_pixels_out_and_tells_of_them(tmp_path: Path) -> None:
    in_floats(tmp_path / "floats", draw_screen(), nan_in_a_channel)
    screen = open_screen(tmp_path / "floats", PLAIN)
    for well in sample_wells(screen):
        assert well.there is not None and not well.there[:50].any() and well.there[50:].all()
        assert (corners(well.cells)[well.covered(CROP), 0] >= 50).all()
    (doubt,) = doubts_of_channels(screen)
    assert "2 of 2 sampled wells, pixels are NaN, infinite or in absent chunks (39%" in doubt


@pytest.mark.parametrize("value", [1e30, -1e30, 5e6])
def test_a_single_pixel_far_beyond_all_others_leaves_the_crops_as_they_are_and_is_told(tmp_path, value):
    drawn = draw_screen()
    in_floats(tmp_path / "plain", drawn, lambda image: None)
    in_floats(tmp_path / "far", drawn, lambda image: image[1].__setitem__((64, 64), value))
    preprocess(open_screen(tmp_path / "plain", PLAIN), tmp_path / "plain.store", SETTINGS)
    screen = open_screen(tmp_path / "far", PLAIN)
    with pytest.warns(UserWarning, match="gammaH2AX goes to"):
        report = preprocess(screen, tmp_path / "far.store", SETTINGS)
    plain, far = (CropStore.open(tmp_path / f"{name}.store").read(slice(None)) for name in ("plain", "far"))
    assert (
        np.abs(plain.astype(int) - far).max(axis=(1, 2, 3))[np.abs(corners(drawn.cells) + 15 - 64).max(1) > 20].max()
        < 700
    )
    assert (
        f"gammaH2AX goes to {value:.4g} (cut off above 6.554e+04)" in (tmp_path / "far.store/quality.tsv").read_text()
    )
    assert "In the images: 1 channel with values that can hardly be brightness" in str(report)
    (doubt,) = (doubt for doubt in inspect_screen(tmp_path / "far", PLAIN).doubts if "hardly be brightness" in doubt)
    assert f"gammaH2AX goes to {value:.4g}" in doubt and "screen.float_max" in doubt and "DNA" not in doubt


def test_values_that_no_camera_counts_are_told_even_where_many_pixels_have_them() -> None:
    pixels = np.r_[np.full(5000, 3.4e38), np.arange(5000.0)]
    assert choose_scale(pixels, None).strange == pytest.approx(3.4e38)
    assert choose_scale(pixels, 5000.0) == FloatScale()
    assert choose_scale(np.arange(5000.0), None).strange is None
    assert choose_scale(np.r_[np.zeros(5000), 1000.0], None).strange is None  # a dark image with one bright pixel
