"""Wells in windows, tables in parts, fields from elsewhere: the same crops as without."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_screen import TiffReader, contents, make_screen, settings

from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess import first_pass, selection
from grape_ops.preprocess.flat_field import read_fields
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.cell_table import collect_cells
from grape_ops.screen.screen import TileHeader, Window


@dataclass(frozen=True)
class Windowed(TiffReader):
    """Reads windows, and refuses to read a tile as a whole; writes down the largest window it was asked for."""

    def __call__(self, row: pd.Series) -> np.ndarray:
        raise AssertionError("a large tile was read as a whole")

    def header(self, row: pd.Series) -> TileHeader:
        """Size of a tile."""
        image = tifffile.imread(self.root / row["path"])
        return TileHeader(*image.shape, str(image.dtype))

    def read(self, row: pd.Series, channels: tuple[int, ...] | None, window: Window | None) -> np.ndarray:
        """Part of a tile."""
        assert window is not None and channels is None
        with (self.root / "windows.log").open("a") as log:
            log.write(f"{window.height} {window.width}\n")
        image = tifffile.imread(self.root / row["path"])
        assert window.top >= 0 and window.top + window.height <= image.shape[1]
        return image[:, window.top : window.top + window.height, window.left : window.left + window.width]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_large_wells_are_read_in_windows_only(tmp_path, monkeypatch, dtype):
    screen = make_screen(tmp_path / "screen", tiles=1, size=300, cells=60)
    if dtype == "float32":  # stitched wells come as floats, without light between their tiles
        for path in screen.tiles["path"]:
            image = tifffile.imread(screen.root / path).astype(np.float32)
            image[:, :3, :3] = np.nan
            tifffile.imwrite(screen.root / path, image, photometric="minisblack")
    preprocess(screen, tmp_path / "whole", settings(edge="reflect"))
    for module in (first_pass, selection):
        monkeypatch.setattr(module, "LARGEST_TILE", 10_000)
        monkeypatch.setattr(module, "WINDOW", 70)
    windowed = replace(screen, read_tile=Windowed(screen.root))
    preprocess(windowed, tmp_path / "windows", settings(edge="reflect"))
    whole, windows = CropStore.open(tmp_path / "whole"), CropStore.open(tmp_path / "windows")
    cells = screen.cells.to_pandas()
    first = np.floor(cells[["y", "x"]].to_numpy() + 0.5) - 16
    on_nan = (first < 3).all(axis=1).sum() if dtype == "float32" else 0
    assert (on_nan > 0) == (dtype == "float32")
    assert whole.meta["scaling"] == windows.meta["scaling"] and len(whole) == len(windows) == 180 - on_nan
    keys = ["plate", "well", "tile", "y", "x"]
    places = pd.MultiIndex.from_frame(whole.cells[keys]).get_indexer(pd.MultiIndex.from_frame(windows.cells[keys]))
    assert (whole.read(places) == windows.read(np.arange(len(windows)))).all()
    sizes = np.loadtxt(screen.root / "windows.log", dtype=int)
    assert sizes.max() <= 70 + 2 * 32


def test_a_table_in_files_gives_the_same_store(tmp_path):
    screen = make_screen(tmp_path / "screen")
    preprocess(screen, tmp_path / "held", settings())
    cells = screen.cells.to_pandas()
    stretches = [cells.iloc[n : n + 25] for n in range(0, len(cells), 25)]
    kept = replace(screen, cells=collect_cells(stretches, tmp_path / "cells"))
    preprocess(kept, tmp_path / "parted", settings())
    assert contents(tmp_path / "held") == contents(tmp_path / "parted")


def test_a_field_computed_elsewhere_is_taken_as_it_is(tmp_path):
    screen = make_screen(tmp_path / "screen")
    rng = np.random.default_rng(0)
    fields = {plate: 3 + rng.random((2, 96, 96)) for plate in ("P1", "P2")}
    for plate, field in fields.items():
        np.save(screen.root / f"{plate}.npy", field)
    chosen = settings(flat_field={"file": "{plate}.npy", "columns": ["plate"]}, edge="reflect")
    preprocess(screen, tmp_path / "store", chosen)
    store = CropStore.open(tmp_path / "store")
    used = read_fields(store.path)["P2"].at(np.arange(96), np.arange(96))
    assert np.allclose(used, fields["P2"] / fields["P2"].min(axis=(1, 2), keepdims=True), rtol=1e-5)
    scale = store.meta["scaling"]["groups"]["P2|A1"]
    low, high = (np.array(scale[key])[:, None, None] for key in ("low", "high"))
    cell = store.cells.query("plate == 'P2' and y > 20 and y < 70 and x > 20 and x < 70").iloc[0]
    row = screen.tiles.query(f"plate == 'P2' and tile == '{cell['tile']}'").iloc[0]
    top, left = (int(np.floor(cell[axis] + 0.5)) - 16 for axis in ("y", "x"))
    window = np.s_[:, top : top + 32, left : left + 32]
    expected = np.clip((screen.read_tile(row)[window] / used[window] - low) / (high - low), 0, 1)
    assert np.abs(store.read([cell.name])[0] / 65535 - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("none.npy", None, "none.npy of preprocess.flat_field.file cannot be read"),
        ("{lens}.npy", None, "may have in braces what preprocess.flat_field.columns names: plate, well"),
        ("small.npy", np.ones((2, 9, 9)), r"is of \(2, 9, 9\) \(channels, height, width\); the tiles are of"),
        ("dark.npy", np.zeros((2, 96, 96)), "finite and above 0"),
    ],
)
def test_fields_that_do_not_fit_are_refused(tmp_path, file, content, message):
    screen = make_screen(tmp_path / "screen")
    if content is not None:
        np.save(Path(screen.root / file), content)
    with pytest.raises(GrapeOpsError, match=message):
        preprocess(screen, tmp_path / "store", settings(flat_field={"file": file}))
