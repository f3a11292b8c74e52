"""Images that differ in pixel type, whose values do not mean the same: refused with one of each, and seen before."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from layout_writers import CROP, cut_crops, draw_screen, write_periscope, write_table

from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.inspect import inspect_screen
from grape_ops.screen.layouts import open_screen

PLAIN = ScreenSettings()
SETTINGS = PreprocessSettings(
    crop_size=CROP, workers=1, batch_columns=("plate",), flat_field=FlatFieldSettings(enabled=False)
)


def write_files(root: Path, crops: list[np.ndarray], suffix: str = "npy") -> None:
    cells = draw_screen().cells
    root.mkdir(exist_ok=True)
    for number, crop in enumerate(crops):
        if suffix == "npy":
            np.save(root / f"{number}.npy", crop)
        else:
            tifffile.imwrite(root / f"{number}.tif", crop, photometric="minisblack")
    cells.assign(cell_id=range(len(cells))).to_parquet(root / "cells.parquet", index=False)
    keys = {"crops": f"{{cell_id}}.{suffix}", "cells": "cells.parquet"}
    (root / "screen.yaml").write_text(yaml.safe_dump(keys))


def write_named(root: Path, crops: list[np.ndarray]) -> None:
    root.mkdir()
    for number, (crop, cell) in enumerate(zip(crops, draw_screen().cells.itertuples(), strict=True)):
        np.save(root / f"{cell.gene_symbol};{cell.sgRNA};P1;{cell.well};{cell.tile};{number}.npy", crop)


def write_lmdb(root: Path, crops: list[np.ndarray]) -> None:
    lmdb = pytest.importorskip("lmdb")
    from io import BytesIO

    root.mkdir()
    with lmdb.open(str(root / "cells.lmdb"), subdir=False, map_size=1 << 26) as store, store.begin(write=True) as out:
        for number, (crop, cell) in enumerate(zip(crops, draw_screen().cells.itertuples(), strict=True)):
            np.save(held := BytesIO(), crop)
            key = ";".join([cell.gene_symbol, cell.sgRNA, "P1", cell.well, cell.tile, str(number)])
            out.put(key.encode(), held.getvalue())


WRITERS: dict[str, Callable[[Path, list[np.ndarray]], None]] = {
    "npy": write_files,
    "tif": lambda root, crops: write_files(root, crops, "tif"),
    "names": write_named,
    "lmdb": write_lmdb,
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("place", [1, 63])
def test_crops_of_several_types_are_refused_with_one_of_each(tmp_path: Path, kind: str, place: int) -> None:
    crops = list(cut_crops(draw_screen()))
    crops[place] = (crops[place] >> 8).astype(np.uint8)
    WRITERS[kind](tmp_path / "s", crops)
    number = f"[^ ]*{place}(.npy|.tif)?" if kind != "lmdb" else f"[^ ]*;{place}"
    with pytest.raises(GrapeOpsError, match=f"of different pixel types .*is uint16.*{number} is uint8") as caught:
        preprocess(open_screen(tmp_path / "s", PLAIN), tmp_path / "store", SETTINGS)
    assert "convert them to one" in str(caught.value)
    (doubt,) = (doubt for doubt in inspect_screen(tmp_path / "s", PLAIN).doubts if "pixel type" in doubt)
    assert "Crops differ in pixel type: uint16 (63, for example " in doubt and "uint8 (1, for example " in doubt


def test_floats_of_two_lengths_are_one_type(tmp_path: Path) -> None:
    crops = [
        (crop / 65535).astype(np.float32 if n % 2 else np.float64) for n, crop in enumerate(cut_crops(draw_screen()))
    ]
    write_files(tmp_path / "s", crops)
    assert preprocess(open_screen(tmp_path / "s", PLAIN), tmp_path / "store", SETTINGS).cells_kept == len(crops)


def test_crops_with_nan_are_left_out_by_their_name_and_seen_before(tmp_path: Path) -> None:
    crops = [(crop / 65535).astype(np.float32) for crop in cut_crops(draw_screen())]
    crops[7][0, 3, 3], crops[9][1, 20, 20] = np.nan, np.inf
    write_files(tmp_path / "s", crops)
    report = preprocess(open_screen(tmp_path / "s", PLAIN), tmp_path / "store", SETTINGS)
    assert report.cells_dropped == {"on pixels that are NaN or infinite": 2} and report.exit_code == 3
    (problem,) = report.quality["problems"]
    assert problem["what"] == "cells on pixels that are NaN or infinite"
    assert problem["examples"][0] == "The crop 7.npy has pixels that are NaN or infinite."
    assert "cells on pixels that are NaN or infinite\t2\tdropped" in (tmp_path / "store/quality.tsv").read_text()
    found = inspect_screen(tmp_path / "s", PLAIN, ("plate",))
    assert any(
        "2 of 64 crops looked at have pixels that are NaN or infinite, for example 7.npy" in d for d in found.doubts
    )
    stop = SETTINGS.model_copy(update={"on_problem": "stop"})
    with pytest.raises(GrapeOpsError, match=r"The crop 7.npy has pixels that are NaN"):
        preprocess(open_screen(tmp_path / "s", PLAIN), tmp_path / "other", stop)


def test_a_crop_file_with_channels_last_is_refused_in_words(tmp_path: Path) -> None:
    write_files(tmp_path / "s", [crop[:2].transpose(1, 2, 0) for crop in cut_crops(draw_screen())])
    with pytest.raises(
        GrapeOpsError, match=r"0.npy has the shape \(32, 32, 2\), which looks like \(height, width, chan"
    ):
        open_screen(tmp_path / "s", PLAIN)


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("write", [write_table, write_periscope])
def test_tiles_of_several_types_are_refused_with_one_of_each(tmp_path: Path, write, enabled: bool) -> None:
    write(tmp_path / "s", draw_screen())
    files = [file for file in (tmp_path / "s").rglob("*.tif*") if "Corr" not in file.name or "Site_2" in file.name]
    files = [file for file in files if "Well" not in str(file.parent) or "A1" in str(file.parent)]
    files = [file for file in files if "_2" in file.stem and "A1" in str(file)]
    for file in files:
        tifffile.imwrite(file, (tifffile.imread(file) >> 8).astype(np.uint8), photometric="minisblack")
    settings = SETTINGS.model_copy(update={"flat_field": FlatFieldSettings(enabled=enabled)})
    with pytest.raises(
        GrapeOpsError, match=r"The tiles of P1\|A1 are of different pixel types \(.* is uint16, .* is uint8"
    ):
        preprocess(open_screen(tmp_path / "s", PLAIN), tmp_path / "store", settings)
    (doubt,) = (doubt for doubt in inspect_screen(tmp_path / "s", PLAIN).doubts if "pixel type" in doubt)
    assert f"uint8 (1, for example {files[0].relative_to(tmp_path / 's').parts[0]}" in doubt
    assert "preprocess refuses them" in doubt


def test_cells_without_gene_or_guide_are_told_at_the_end(tmp_path: Path) -> None:
    drawn = draw_screen()
    cells = drawn.cells.assign(gene_symbol=drawn.cells.gene_symbol.where(drawn.cells.index != 5, None))
    write_files(tmp_path / "s", list(cut_crops(drawn)))
    pd.DataFrame(cells.assign(cell_id=range(len(cells)))).to_parquet(tmp_path / "s/cells.parquet", index=False)
    report = preprocess(open_screen(tmp_path / "s", PLAIN), tmp_path / "store", SETTINGS)
    assert "Kept 63 of 63 cells" in str(report)
    assert "In the table: 1 cell without a gene or a guide (dropped)." in str(report)
