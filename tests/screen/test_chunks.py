"""Absent chunks are no black pixels of a cell, and do no harm elsewhere; chunks that were cut off are refused."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from layout_writers import CROP, draw_screen, write_ops_standard
from scipy.ndimage import distance_transform_edt

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.flat_field import read_fields
from grape_ops.preprocess.illumination import estimate_field
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.preprocess.sample import sample_wells
from grape_ops.screen.chunks import absent_chunks, absent_in_image
from grape_ops.screen.dead_channels import doubts_of_channels
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.zarr_tiles import ZarrTiles

SETTINGS = PreprocessSettings(crop_size=CROP, workers=1, flat_field=FlatFieldSettings(enabled=False))


def test_cells_on_an_absent_chunk_are_left_out_and_the_others_keep_their_crops(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_ops_standard(tmp_path / "screen", drawn)
    preprocess(open_screen(tmp_path / "screen", ScreenSettings()), tmp_path / "whole", SETTINGS)
    lost = tmp_path / "screen/screen_1/screen_1.zarr/A/1/3/0/c/0/0/0/0/1"  # right half of the upper 64 rows
    lost.unlink()
    report = preprocess(open_screen(tmp_path / "screen", ScreenSettings()), tmp_path / "store", SETTINGS)
    cells = drawn.cells[(drawn.cells.well == "A1") & (drawn.cells.tile == "3")]
    first = np.floor(cells[["y", "x"]].to_numpy() + 0.5).astype(int) - CROP // 2
    touched = (first[:, 0] < 64) & (first[:, 1] + CROP > 64)
    assert 0 < touched.sum() < len(cells)
    assert report.cells_dropped == {"on zarr chunks that are absent": touched.sum()} and report.exit_code == 3
    assert "cells on zarr chunks that are absent" in (tmp_path / "store/quality.tsv").read_text()
    store, whole = CropStore.open(tmp_path / "store"), CropStore.open(tmp_path / "whole")
    kept = whole.cells.merge(cells[touched], on=["well", "tile", "y", "x"], how="left", indicator=True)["_merge"]
    rows = np.flatnonzero(kept == "left_only")
    other = np.flatnonzero((store.cells.well == "A2").to_numpy())  # of another group of percentiles
    np.testing.assert_array_equal(store.cells[["tile", "y", "x"]], whole.cells.iloc[rows][["tile", "y", "x"]])
    np.testing.assert_array_equal(store.read(other), whole.read(rows[other]))


@pytest.mark.parametrize("enabled", [False, True])
def test_pixels_of_absent_chunks_are_in_no_percentile_and_no_flat_field(tmp_path: Path, enabled: bool) -> None:
    drawn = draw_screen()
    for image in drawn.tiles.values():
        image += np.linspace(400, 800, 128).astype(np.uint16)  # brighter to the right
    write_ops_standard(tmp_path / "screen", drawn)
    for tile, chunk in (("3", "0/0/0/1"), ("2", "0/0/0/1"), ("1", "0/0/0/1"), ("0", "0/0/0/1"), ("3", "0/0/1/1")):
        (tmp_path / f"screen/screen_1/screen_1.zarr/A/1/{tile}/0/c/0/{chunk}").unlink()
    field = FlatFieldSettings(enabled=enabled, min_agreement=0)
    preprocess(
        open_screen(tmp_path / "screen", ScreenSettings()),
        tmp_path / "store",
        SETTINGS.model_copy(update={"flat_field": field, "on_problem": "drop"}),
    )
    store = CropStore.open(tmp_path / "store")
    raw = np.stack([drawn.tiles["P1", "A1", str(tile)] for tile in range(4)]).astype(float)
    there = np.ones((4, 128, 128), bool)
    there[:, :64, 64:] = there[3, 64:, 64:] = False
    found = store.meta["scaling"]["groups"]["P1|A1"]
    if enabled:
        mean = (raw * there[:, None]).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        rows, columns = distance_transform_edt(~there.any(axis=0), return_distances=False, return_indices=True)
        wanted = estimate_field(mean[:, rows, columns], None, (128, 128), field.percentile, field.steps_per_radius, 0)
        flat = read_fields(store.path)["P1|A1"]
        assert wanted.grid.max() > 1.02
        np.testing.assert_allclose(flat.grid, wanted.grid, rtol=1e-5)
        raw /= flat.at(np.arange(128), np.arange(128))
    exact = np.percentile(raw.swapaxes(0, 1)[:, there], (0.1, 99.9), axis=1)
    np.testing.assert_allclose([found["low"], found["high"]], exact, atol=0.1)


def test_a_look_at_a_screen_takes_pixels_of_absent_chunks_neither_for_black_nor_for_cells(tmp_path: Path) -> None:
    drawn = draw_screen()
    for image in drawn.tiles.values():
        image += 400
        image[1] = 500  # a channel that shows nothing
    write_ops_standard(tmp_path / "screen", drawn)
    for tile in range(4):
        (tmp_path / f"screen/screen_1/screen_1.zarr/A/1/{tile}/0/c/0/0/0/0/1").unlink()
    screen = open_screen(tmp_path / "screen", ScreenSettings())
    assert any("constant at 500" in doubt and "2 of 2 sampled wells" in doubt for doubt in doubts_of_channels(screen))
    well = next(well for well in sample_wells(screen) if set(well.cells["well"]) == {"A1"})
    there = np.ones((128, 128), bool)
    there[:64, 64:] = False
    np.testing.assert_array_equal(well.there, there)
    first = np.floor(well.cells[["y", "x"]].to_numpy() + 0.5).astype(int) - CROP // 2
    whole = ~((first[:, 0] < 64) & (first[:, 1] + CROP > 64))
    assert not ((well.cells["y"] < 63) & (well.cells["x"] > 64)).any()
    np.testing.assert_array_equal(well.covered(CROP), whole)
    assert 0 < whole.sum() < len(whole) and len(well.surroundings(0, CROP)) == whole.sum()
    raw = well.pixels.astype(float)
    low, high = np.percentile(raw[:, there], (0.1, 99.9), axis=1)
    place, (top, left) = np.flatnonzero(whole)[0], first[whole][0]
    inside = slice(max(top, 0), top + CROP), slice(max(left, 0), left + CROP)
    wanted = np.clip((raw[0][inside] - low[0]) / (high[0] - low[0]), 0, 1)
    found = well.crops(SETTINGS)[place, 0, max(-top, 0) :, max(-left, 0) :][: wanted.shape[0], : wanted.shape[1]]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_absent_chunks_that_no_cell_touches_do_no_harm(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_ops_standard(tmp_path / "screen", drawn)
    image = zarr.open_group(tmp_path / "screen/screen_1/screen_1.zarr/A/1/9", mode="w", zarr_format=3)
    image.create_array("0", shape=(1, 4, 1, 128, 128), chunks=(1, 1, 1, 64, 64), dtype="uint16")  # blank: no chunks
    report = preprocess(open_screen(tmp_path / "screen", ScreenSettings()), tmp_path / "store", SETTINGS)
    assert report.cells_kept == len(drawn.cells) and not report.quality["problems"]


def test_what_a_shard_leaves_out_is_empty_and_only_its_file_can_be_absent(tmp_path: Path) -> None:
    options = {"shape": (64, 96), "chunks": (16, 16), "shards": (32, 32), "dtype": "uint16"}
    array = zarr.create_array(tmp_path / "image.zarr", **options)
    array[:32, :] = 1
    array[40:50, 70:80] = 1
    found = absent_in_image(zarr.open_array(tmp_path / "image.zarr", mode="r"), "yx", (0,))
    assert found is not None and found.side == (32, 32)
    assert found.absent.tolist() == [[False, False, False], [True, True, False]]
    corners = np.array([[0, 0], [17, 0], [16, 0], [33, 56], [33, 64], [-5, -5], [60, 90]])
    assert found.touched(corners, 16).tolist() == [False, True, False, True, False, False, False]
    array[:] = 1
    assert absent_in_image(array, "yx", (0,)) is None


def test_absent_chunks_of_an_hdf5_array_are_those_that_were_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("a", (7, 2, 8, 8), "u2", chunks=(2, 1, 8, 8))
        array[:] = 1
        assert not absent_chunks(array, [[0, 3], [1], [0], [0]]).any()
        array = file.create_dataset("b", (7, 2, 8, 8), "u2", chunks=(2, 1, 8, 8))
        array[:4, 0], array[6:] = 1, 1
        for rows in ([0, 1, 3], [3]):
            found = absent_chunks(array, [rows, [0, 1], [0], [0]])
            present = {(0, 0), (1, 0), (3, 0), (3, 1)}
            wanted = [[(row, channel) not in present for channel in (0, 1)] for row in rows]
            assert found[..., 0, 0].tolist() == wanted


@pytest.mark.parametrize("version", [2, 3])
def test_a_blosc_chunk_that_was_cut_off_is_refused(tmp_path: Path, version: int) -> None:
    import numcodecs

    packed = numcodecs.Blosc("lz4") if version == 2 else zarr.codecs.BloscCodec(cname="lz4")
    image = np.random.default_rng(0).integers(0, 9000, (1, 32, 32)).astype(np.uint16)
    zarr.create_array(tmp_path / "a", data=image, chunks=(1, 32, 32), zarr_format=version, compressors=packed)
    tile, read = pd.Series({"path": "a"}), ZarrTiles(tmp_path, (0,))
    np.testing.assert_array_equal(read(tile), image)
    chunk = max((file for file in (tmp_path / "a").rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    whole = chunk.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 17, 3):
        chunk.write_bytes(whole[:length])
        with pytest.raises(GrapeOpsError, match="The tile a cannot be read"):
            read(tile)
