"""Centres in micrometres, which all lie near one corner of their tiles, are doubted; few cells are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layout_writers import Plain, draw_screen, write_ops_standard, write_table

from grape_ops.config import ScreenSettings
from grape_ops.screen.extent import Extent
from grape_ops.screen.inspect import inspect_screen
from grape_ops.screen.screen import TileHeader

HEAD = TileHeader(2, 1000, 2000, "uint16")


def cells(y: float, x: float, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"y": np.r_[rng.uniform(0, y, count - 1), y], "x": np.r_[rng.uniform(0, x, count - 1), x]})


@pytest.mark.parametrize("write", [write_table, write_ops_standard])
def test_centres_in_micrometres_are_doubted_and_the_size_of_a_pixel_shows_it(tmp_path: Path, write) -> None:
    drawn = draw_screen()
    small = drawn.cells.assign(y=drawn.cells.y * 0.325, x=drawn.cells.x * 0.325)
    write(tmp_path / "pixels", drawn)
    write(tmp_path / "um", Plain(small, drawn.tiles))
    plain, known = ScreenSettings(), ScreenSettings(pixel_size=0.325)
    assert not any("centres of" in doubt for doubt in inspect_screen(tmp_path / "pixels", known).doubts)
    (doubt,) = (doubt for doubt in inspect_screen(tmp_path / "um", plain).doubts if "centres of" in doubt)
    top = small[["y", "x"]].max()
    assert f"64 cells reach no further than y {top.y:.1f} and x {top.x:.1f}, in tiles of 128 x 128 pixels" in doubt
    assert "micrometres" in doubt and "screen.columns" in doubt and "divide them by the size of a pixel" in doubt
    (doubt,) = (doubt for doubt in inspect_screen(tmp_path / "um", known).doubts if "centres of" in doubt)
    assert f"divided by the size of a pixel (0.325 µm) they reach {top.y / 0.325:.0f} and" in doubt


@pytest.mark.parametrize(
    ("tiles", "doubted"),
    [
        ([(325, 650, 200)], True),
        ([(325, 650, 40)], False),  # few cells may lie anywhere
        ([(325, 1200, 200)], False),  # far enough along one axis
        ([(325, 650, 200), (900, 1900, 3)], False),  # far enough in one tile
        ([(325, 650, 30), (300, 600, 30)], True),
        ([], False),
    ],
)
def test_only_enough_cells_near_one_corner_of_all_tiles_are_doubted(tiles, doubted):
    extent = Extent()
    for y, x, count in tiles:
        extent.take(cells(y, x, count), HEAD)
    extent.take(pd.DataFrame({"y": [np.nan], "x": [3.0]}), HEAD)
    for pixel_size in (None, 0.325, 5.0):
        assert bool(extent.doubts(pixel_size)) == doubted
