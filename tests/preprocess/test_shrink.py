"""Crops that are cut larger and binned: from tiles and from ready crops, with all that has to know of it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from test_ready_crops import ready
from tiny_screen import make_screen

from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crops import binned
from grape_ops.preprocess.pipeline import preprocess


def cut(screen, out, **changes) -> CropStore:
    chosen = {"workers": 1, "edge": "reflect"} | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        preprocess(screen, out, PreprocessSettings.model_validate(chosen))
    return CropStore.open(out)


def test_binning_takes_the_rounded_mean_of_squares():
    crops = np.arange(16, dtype=np.uint16).reshape(1, 1, 4, 4)
    assert binned(crops, 2).tolist() == [[[[2, 4], [10, 12]]]]  # means of 2.5, 4.5, 10.5, 12.5
    assert binned(crops, 2).dtype == np.uint16 and binned(crops, 1) is crops


def test_shrunken_crops_of_tiles_are_the_larger_ones_binned(tmp_path):
    screen = replace(make_screen(tmp_path / "screen"), pixel_size=0.5)
    large = cut(screen, tmp_path / "large", crop_size=32)
    small = cut(screen, tmp_path / "small", crop_size=16, shrink=2)
    assert small.crop_size == 16 and len(small) == len(large)
    rows = np.arange(len(small))
    np.testing.assert_array_equal(small.read(rows), binned(large.read(rows), 2))
    assert small.meta["provenance"]["pixel_size"] == 1.0 and large.meta["provenance"]["pixel_size"] == 0.5
    # A store that is not shrunken is the same as before there was this setting.
    assert small.meta["provenance"]["settings"]["shrink"] == 2
    assert "shrink" not in large.meta["provenance"]["settings"]
    assert small.cells[["y", "x"]].equals(large.cells[["y", "x"]])  # pixels of the tile
    small.verify()


def test_cells_at_the_edge_are_dropped_by_what_is_cut(tmp_path):
    screen = make_screen(tmp_path / "screen")
    large = cut(screen, tmp_path / "large", crop_size=32, edge="drop")
    small = cut(screen, tmp_path / "small", crop_size=16, shrink=2, edge="drop")
    assert len(small) == len(large) < 108


def test_shrunken_ready_crops_are_the_larger_ones_binned(tmp_path):
    large = cut(ready(tmp_path / "one", in_files=False), tmp_path / "large", crop_size=32)
    small = cut(ready(tmp_path / "two", in_files=False), tmp_path / "small", crop_size=16, shrink=2)
    np.testing.assert_array_equal(small.read([0, 40, 80]), binned(large.read([0, 40, 80]), 2))


def test_another_factor_is_another_store_and_too_large_a_one_says_what_would_do(tmp_path):
    screen = ready(tmp_path / "screen", in_files=False)
    cut(screen, tmp_path / "store", crop_size=16, shrink=2)
    with pytest.raises(GrapeOpsError, match=r"preprocess.shrink: None there|preprocess.shrink: 2 there, None now"):
        cut(screen, tmp_path / "store", crop_size=16)
    words = r"32 x 32 px, smaller than preprocess.crop_size \(32\) times preprocess.shrink \(2\); set it to at most 16"
    with pytest.raises(GrapeOpsError, match=words):
        cut(screen, tmp_path / "other", crop_size=32, shrink=2)
