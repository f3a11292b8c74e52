"""Ready crops by the layouts table and scallops: every container gives the crops that were put into it."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr
from anndata import AnnData
from layout_writers import CHANNELS, CROP, Plain, cut_crops, draw_screen

from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.layouts import open_screen, recognise_layout

PLAIN = ScreenSettings()
SETTINGS = PreprocessSettings(crop_size=CROP, workers=1)
CROPS_OF = ["gene_symbol", "sgRNA", "plate", "well"]


def describe(root: Path, **keys: object) -> None:
    (root / "screen.yaml").write_text(yaml.safe_dump(keys))


def write_npz(root: Path, screen: Plain, crops: np.ndarray) -> None:
    columns = {name: screen.cells[name].to_numpy(str) for name in CROPS_OF}
    np.savez(root / "crops.npz", images=crops, outline=crops[:, 0], **columns)


def write_npz_and_table(root: Path, screen: Plain, crops: np.ndarray) -> None:
    np.savez(root / "crops.npz", images=crops[::-1], more=crops)
    rows = np.arange(len(crops))[::-1]
    screen.cells.assign(row=rows).to_csv(root / "metadata.csv", index=False)
    describe(root, cells="metadata.csv", crops="crops.npz", crops_array="images", crops_row="row")


def write_zarr(root: Path, screen: Plain, crops: np.ndarray) -> None:
    zarr.create_array(root / "crops.zarr", data=crops, chunks=(7, 1, CROP, CROP))
    screen.cells.to_parquet(root / "cells.parquet")


def write_npy_files(root: Path, screen: Plain, crops: np.ndarray) -> None:
    """One file per cell, all that is known of it in the name, as the authors of the paper share cells."""
    (root / "cells").mkdir()
    for index, (crop, cell) in enumerate(zip(crops, screen.cells.itertuples(), strict=True)):
        name = f"{cell.gene_symbol};{cell.sgRNA};{cell.plate};{cell.well};{cell.tile};{index:03d}.npy"
        np.save(root / "cells" / name, crop)
    describe(root, crops="cells/{gene_symbol};{sgRNA};{plate};{well};{tile};{index}.npy")


def write_tiff_files(root: Path, screen: Plain, crops: np.ndarray) -> None:
    for index, crop in enumerate(crops):
        tifffile.imwrite(root / f"{index}.tif", crop, photometric="minisblack")
    screen.cells.assign(path=[f"{index}.tif" for index in range(len(crops))]).to_csv(root / "cells.csv", index=False)
    describe(root, cells="cells.csv", crops="{path}")


def write_h5sc(root: Path, screen: Plain, crops: np.ndarray) -> None:
    """Write scPortrait's file: a mask before the channels, floats in [0, 1]."""
    names = ["seg_all_nucleus", *CHANNELS]
    var = pd.DataFrame({"channels": names, "channel_mapping": ["mask", *["image_channel"] * 4]}, index=list("01234"))
    obs = screen.cells[CROPS_OF].assign(scportrait_cell_id=range(len(crops))).set_axis(map(str, range(len(crops))))
    AnnData(obs=obs, var=var).write_h5ad(root / "cells.h5sc")
    images = np.concatenate([np.ones_like(crops[:, :1]), crops / 65535], axis=1).astype(np.float16)
    with h5py.File(root / "cells.h5sc", "a") as file:
        file["obsm/single_cell_images"] = images


def write_lmdb(root: Path, screen: Plain, crops: np.ndarray) -> None:
    """Write the authors' store: float32 in [0, 1] under gene;guide;plate;well;tile;index."""
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(root / "cells.lmdb"), map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for index, (crop, cell) in enumerate(zip(crops, screen.cells.itertuples(), strict=True)):
            key = f"{cell.gene_symbol};{cell.sgRNA};{cell.plate};{cell.well};{cell.tile};{index}"
            transaction.put(key.encode(), (crop / 65535).astype(np.float32).tobytes())
    environment.close()


def write_scallops_crops(root: Path, screen: Plain, crops: np.ndarray) -> None:
    """Write what extract-crops writes: a folder of crops and a table of the same name for each well."""
    cells = screen.cells.assign(label=range(len(crops)))
    for (plate, well), own in cells.groupby(["plate", "well"]):
        folder = root / f"nuclei/{plate}-{well}"
        folder.mkdir(parents=True)
        for label in own.label:
            tifffile.imwrite(folder / f"{label}.tiff", (crops[label] >> 8).astype(np.uint8), photometric="minisblack")
        table = own.rename(columns={"sgRNA": "barcode_0"}).drop(columns=["plate", "well", "tile", "y", "x"])
        table["crop_url"] = [f"/elsewhere/nuclei/{plate}-{well}/{label}.tiff" for label in own.label]
        for corner in range(4):
            table[f"crop-bbox-{corner}"] = 0
        table.to_parquet(folder.with_suffix(".parquet"))


WRITERS = {
    "npz": (write_npz, "full"),
    "npz and table": (write_npz_and_table, "full"),
    "zarr": (write_zarr, "full"),
    "npy files": (write_npy_files, "full"),
    "tiff files": (write_tiff_files, "full"),
    "h5sc": (write_h5sc, "auto"),
    "lmdb": (write_lmdb, "auto"),
    "scallops crops": (write_scallops_crops, "auto"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_crop_layouts_give_the_crops_that_were_put_in(name: str, tmp_path: Path) -> None:
    write, scaling = WRITERS[name]
    drawn = draw_screen()
    crops = cut_crops(drawn)
    root = tmp_path / "screen"
    root.mkdir()
    write(root, drawn, crops)
    assert recognise_layout(root) == ("scallops" if name == "scallops crops" else "table")
    screen = open_screen(root, ScreenSettings(crop_scaling=scaling))
    report = preprocess(screen, tmp_path / "store", SETTINGS)
    assert report.cells_kept == len(drawn.cells) and report.cells_dropped == {}
    store = CropStore.open(tmp_path / "store")
    order, theirs = (
        table.reset_index(drop=True).assign(first=first).sort_values([*CROPS_OF, "first"]).index.to_numpy()
        for table, first in (
            (store.cells, store.read(slice(None))[:, 1].sum((1, 2))),
            (drawn.cells, crops[:, 1].sum((1, 2), dtype=float)),
        )
    )
    tolerance = {"h5sc": 20, "scallops crops": 256}.get(name, 0)
    np.testing.assert_allclose(store.read(order).astype(int), crops[theirs].astype(int), atol=tolerance)
    for column in CROPS_OF:
        assert store.cells[column][order].tolist() == drawn.cells[column][theirs].tolist(), column
    if name in ("h5sc",):
        assert store.channels == CHANNELS
    if name == "lmdb":
        assert store.channels == ("gammaH2AX", "actin", "DNA", "tubulin")


def test_layout_table_rescales_raw_crops_by_percentiles(tmp_path: Path) -> None:
    drawn = draw_screen()
    crops = cut_crops(drawn)
    write_zarr(tmp_path, drawn, crops)
    preprocess(open_screen(tmp_path, PLAIN), tmp_path / "store", SETTINGS)
    store = CropStore.open(tmp_path / "store")
    own = drawn.cells.well == "A1"
    low, high = np.percentile(crops[own, 2], [0.1, 99.9])
    expected = np.clip((crops[own, 2] - low) / (high - low), 0, 1)
    found = store.read(np.flatnonzero(store.cells.well == "A1"))[:, 2] / 65535
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_layout_table_names_unreadable_crops_and_leaves_them_out_if_told(tmp_path: Path) -> None:
    drawn = draw_screen()
    root = tmp_path / "screen"
    root.mkdir()
    write_tiff_files(root, drawn, cut_crops(drawn))
    (root / "5.tif").write_bytes(b"not an image")
    (root / "9.tif").unlink()
    screen = open_screen(root, PLAIN)
    with pytest.raises(GrapeOpsError, match=r"crop 5.tif cannot be read|no crop 9.tif"):
        preprocess(screen, tmp_path / "store", SETTINGS.model_copy(update={"on_problem": "stop"}))
    settings = SETTINGS.model_copy(update={"on_problem": "drop"})
    report = preprocess(screen, tmp_path / "store", settings, resume=True)
    assert report.cells_dropped == {"crop missing or unreadable": 2}
    assert report.quality["problems"][0]["count"] == 2
    store = CropStore.open(tmp_path / "store")
    assert len(store.cells) == len(drawn.cells) - 2
    store.verify()


def test_the_first_crop_may_be_missing_but_not_all(tmp_path: Path) -> None:
    drawn, root = draw_screen(), tmp_path / "screen"
    root.mkdir()
    write_tiff_files(root, drawn, cut_crops(drawn))
    first = open_screen(root, PLAIN).cells.to_pandas()["crop"].iloc[0]
    (root / first).unlink()
    screen = open_screen(root, PLAIN)
    assert len(screen.channels) == 4
    assert preprocess(screen, tmp_path / "store", SETTINGS).cells_dropped == {"crop missing or unreadable": 1}
    for crop in root.glob("*.tif"):
        crop.unlink()
    with pytest.raises(GrapeOpsError, match=f"None of the first 32 crops .* no crop {first}. Are they all there"):
        open_screen(root, PLAIN)


def test_settings_refused_before_any_crop_was_read_bind_nobody(tmp_path: Path) -> None:
    drawn, root = draw_screen(), tmp_path / "screen"
    root.mkdir()
    write_tiff_files(root, drawn, cut_crops(drawn))
    with pytest.raises(GrapeOpsError, match="smaller than preprocess.crop_size"):
        preprocess(open_screen(root, PLAIN), tmp_path / "store", SETTINGS.model_copy(update={"crop_size": 128}))
    preprocess(open_screen(root, PLAIN), tmp_path / "store", SETTINGS)
    assert CropStore.open(tmp_path / "store").crop_size == CROP


def test_a_batch_whose_controls_are_all_unreadable_is_left_out(tmp_path: Path) -> None:
    drawn, root = draw_screen(), tmp_path / "screen"
    root.mkdir()
    write_tiff_files(root, drawn, cut_crops(drawn))
    whole = open_screen(root, PLAIN).cells.to_pandas()
    well = whole["well"].iloc[0]
    spoilt = whole[(whole["well"] == well) & whole["is_control"]]
    for name in spoilt["crop"]:
        (root / name).write_bytes(b"not an image")
    settings = SETTINGS.model_copy(update={"on_problem": "drop", "most_lost": 1.0})
    report = preprocess(open_screen(root, PLAIN), tmp_path / "store", settings)
    of_well = int((whole["well"] == well).sum())
    assert report.cells_dropped == {
        "batch without controls": of_well - len(spoilt),
        "crop missing or unreadable": len(spoilt),
    }
    assert set(CropStore.open(tmp_path / "store").cells["well"]) == set(whole["well"]) - {well}


def test_crops_that_could_not_be_read_are_tried_again_and_never_kept_as_black(tmp_path: Path) -> None:
    drawn, root, out = draw_screen(), tmp_path / "screen", tmp_path / "store"
    root.mkdir()
    write_tiff_files(root, drawn, cut_crops(drawn))
    whole = {name: (root / name).read_bytes() for name in ("5.tif", "9.tif")}
    for name in whole:
        (root / name).write_bytes(b"not an image")
    screen = open_screen(root, PLAIN)
    strict = SETTINGS.model_copy(update={"on_problem": "drop", "most_lost": 0.01})
    for resume in (False, True):  # every well was written before the call gave up
        with pytest.raises(GrapeOpsError, match="most_lost"):
            preprocess(screen, out, strict, resume=resume)
    (root / "5.tif").write_bytes(whole["5.tif"])
    (root / "9.tif").write_bytes(whole["9.tif"])
    assert preprocess(screen, out, strict, resume=True).cells_dropped == {}
    store = CropStore.open(out)
    assert len(store) == len(drawn.cells) and store.read(slice(None)).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(
    ("size", "keys", "message"),
    [
        (40, {}, "smaller than preprocess.crop_size"),
        (CROP, {"channels": ["a", "b"]}, "have 4 channels, and screen.yaml names 2"),
        (CROP, {"crops_row": "place"}, "crops_row in screen.yaml names 'place'"),
        (CROP, {"crops_row": "tile"}, "4 different crops for 64 cells by 'tile'"),
        (CROP, {"crops_array": "few"}, "has 9 crops, and the cell table 64 rows"),
        (CROP, {"crops_array": "pictures"}, "no array 'pictures'"),
        (CROP, {"crops": "others.npz"}, "no file of crops"),
        (CROP, {"crops_array": "channels_last"}, r"looks like \(cells, height, width, channels\)"),
        (CROP, {"crops_array": "objects"}, r"'objects' of .*crops.npz cannot be read: it holds Python objects. Save"),
        (CROP, {"crops_array": ""}, r"'objects' of .*crops.npz cannot be read: it holds Python objects. Save"),
        (CROP, {"crops": "objects.npy", "crops_array": ""}, "objects.npy cannot be read: it holds Python objects"),
        (CROP, {"crops": "empty.npy", "crops_array": ""}, "empty.npy is empty"),
    ],
)
def test_layout_table_tells_what_does_not_fit_in_crops(tmp_path: Path, size: int, keys: dict, message: str) -> None:
    drawn = draw_screen()
    crops = cut_crops(drawn)
    np.savez(
        tmp_path / "crops.npz",
        images=crops,
        few=crops[:9],
        channels_last=crops.transpose(0, 2, 3, 1),
        objects=np.array([1, "a"], object),
    )
    np.save(tmp_path / "objects.npy", np.array([crops[0], "a"], object))
    (tmp_path / "empty.npy").touch()
    drawn.cells.to_csv(tmp_path / "cells.csv", index=False)
    described = {"cells": "cells.csv", "crops": "crops.npz", "crops_array": "images"}
    describe(tmp_path, **(described | keys))
    settings = PreprocessSettings(crop_size=size, workers=1, on_problem="stop")
    with pytest.raises(GrapeOpsError, match=message):
        preprocess(open_screen(tmp_path, PLAIN), tmp_path / "store", settings)


def test_ready_crops_in_an_absent_zarr_chunk_are_left_out(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_zarr(tmp_path, drawn, cut_crops(drawn))
    (tmp_path / "crops.zarr/c/1/3/0/0").unlink()  # one channel of the cells 7 to 13
    report = preprocess(open_screen(tmp_path, PLAIN), tmp_path / "store", SETTINGS)
    assert report.cells_dropped == {"crop missing or unreadable": 7}
    assert "in a chunk that is absent" in str(report.quality["problems"])


def test_crops_that_nobody_wrote_into_an_h5sc_file_are_left_out(tmp_path: Path) -> None:
    drawn = draw_screen()
    crops = cut_crops(drawn)
    write_h5sc(tmp_path, drawn, crops)
    with h5py.File(tmp_path / "cells.h5sc", "a") as file:
        images = file["obsm/single_cell_images"][:]
        del file["obsm/single_cell_images"]
        options = {"shape": images.shape, "chunks": (8, *images.shape[1:]), "dtype": images.dtype}
        file.create_dataset("obsm/single_cell_images", **options)[:56] = images[:56]
    report = preprocess(open_screen(tmp_path, PLAIN), tmp_path / "store", SETTINGS)
    assert report.cells_dropped == {"crop missing or unreadable": 8}


@pytest.mark.parametrize("shift", [-1, 1])
def test_rows_beyond_the_crops_are_named(tmp_path: Path, shift: int) -> None:
    drawn = draw_screen()
    crops = cut_crops(drawn)
    np.save(tmp_path / "crops.npy", crops)
    rows = np.arange(len(crops)) + shift
    drawn.cells.assign(row=rows).to_csv(tmp_path / "cells.csv", index=False)
    describe(tmp_path, cells="cells.csv", crops="crops.npy", crops_row="row")
    with pytest.raises(GrapeOpsError, match=f"rows from {rows.min()} to {rows.max()}.*numbered from 0 to 63"):
        open_screen(tmp_path, PLAIN)


def group_of_arrays(root: Path, screen: Plain, crops: np.ndarray) -> None:
    group = zarr.create_group(root / "crops.zarr")
    group.create_array("images", data=crops)
    group.create_array("cell_id", data=np.arange(len(crops)))


@pytest.mark.parametrize(
    ("write", "column"), [(write_npz, "sgRNA"), (write_h5sc, "sgRNA"), (group_of_arrays, "cell_id")]
)
def test_crops_that_name_other_cells_than_the_rows_of_the_table_are_refused(tmp_path, write, column) -> None:
    drawn = draw_screen()
    crops = cut_crops(drawn)
    write(tmp_path, drawn, crops)
    file = next(path.name for path in tmp_path.iterdir())
    array = "images" if file.startswith("crops") else ""
    table = drawn.cells.assign(cell_id=[f"{n:03d}" for n in range(len(crops))], unrelated="x")
    table.to_csv(tmp_path / "table.csv", index=False)
    describe(tmp_path, cells="table.csv", crops=file, crops_array=array)
    assert not any(tally.setting.startswith("crops_row") for tally in open_screen(tmp_path, PLAIN).cells.quality)
    order = np.random.default_rng(0).permutation(len(table))
    table.iloc[order].to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(GrapeOpsError, match=f"{file} do not name the same cells.*crops_row"):
        open_screen(tmp_path, PLAIN)
    table.iloc[order].assign(row=order).to_csv(tmp_path / "table.csv", index=False)
    describe(tmp_path, cells="table.csv", crops=file, crops_array=array, crops_row="row")
    cells = open_screen(tmp_path, PLAIN).cells.to_pandas()
    assert cells["crop"].tolist() == cells["row"].astype(int).tolist() and set(cells["crop"]) == set(order)


def test_a_match_by_order_that_nothing_confirms_is_told(tmp_path: Path) -> None:
    drawn = draw_screen()
    np.save(tmp_path / "crops.npy", cut_crops(drawn))
    drawn.cells.to_csv(tmp_path / "cells.csv", index=False)
    told = [
        tally for tally in open_screen(tmp_path, PLAIN).cells.quality if tally.setting == "crops_row in screen.yaml"
    ]
    assert [(tally.count, tally.fate) for tally in told] == [(len(drawn.cells), "noted")]


def test_what_lies_behind_the_first_array_of_an_npy_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = draw_screen()
    with (tmp_path / "crops.npy").open("wb") as file:
        np.save(file, cut_crops(drawn))
        np.save(file, np.zeros(9))
    drawn.cells.to_csv(tmp_path / "cells.csv", index=False)
    describe(tmp_path, cells="cells.csv", crops="crops.npy")
    assert len(open_screen(tmp_path, ScreenSettings()).cells) == len(drawn.cells)
    assert "crops.npy goes on for 200 bytes behind its array" in capsys.readouterr().err


def test_keys_of_an_lmdb_store_that_name_no_cell_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lmdb = pytest.importorskip("lmdb")
    drawn = draw_screen()
    write_lmdb(tmp_path, drawn, cut_crops(drawn))
    folder = (tmp_path / "cells.lmdb").is_dir()
    options = {"subdir": folder, "map_size": 1 << 24, "lock": False}
    with lmdb.open(str(tmp_path / "cells.lmdb"), **options) as store, store.begin(write=True) as writer:
        writer.put(b"a;key;of;another;kind", bytes(8))
    assert len(open_screen(tmp_path, PLAIN).cells) == len(drawn.cells)
    told = capsys.readouterr().err
    assert f"cells.lmdb: 1 of {len(drawn.cells) + 1} keys left out, not of the form gene_symbol;sgRNA" in told


def test_a_table_beside_an_lmdb_store_must_name_its_keys(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_lmdb(tmp_path, drawn, cut_crops(drawn))
    drawn.cells.to_csv(tmp_path / "table.csv", index=False)
    describe(tmp_path, cells="table.csv", crops="cells.lmdb")
    with pytest.raises(GrapeOpsError, match="needs a column 'crop' with the keys"):
        open_screen(tmp_path, PLAIN)


@pytest.mark.parametrize("separator", [";", "__"])
def test_crops_whose_names_say_whose_they_are_need_no_description(tmp_path: Path, separator: str) -> None:
    for number in range(8):
        gene = "nontargeting" if number % 2 else "A_1"  # a gene may hold what is no separator
        name = separator.join([gene, "ACGT" * 5, "2020_6W", f"A{1 + number % 3}", "7", str(number)])
        np.save(tmp_path / f"{name}.npy", np.full((4, 12, 12), number, np.float32) / 8)
    (tmp_path / "metadata.parquet").write_bytes(b"of something else")
    screen = open_screen(tmp_path, ScreenSettings())
    assert screen.channels == ("gammaH2AX", "actin", "DNA", "tubulin")  # the authors' order
    cells = screen.cells.to_pandas()
    assert (
        len(cells) == 8 and set(cells["gene_symbol"]) == {"A_1", "nontargeting"} and set(cells["plate"]) == {"2020_6W"}
    )
    numbers = cells["crop"].str.extract(r"(\d)\.npy")[0].astype(int)
    np.testing.assert_array_equal(screen.read_crops(cells)[:, 0, 0, 0] * 8, numbers)


def test_names_of_other_kinds_are_no_screen_and_what_was_looked_for_is_told(tmp_path: Path) -> None:
    for name in ("GENE;GUIDE;P1;somewhere;1;0.npy", "GENE;GUIDE;P1;A1;1;1.npy"):
        np.save(tmp_path / name, np.zeros((4, 12, 12), np.float32))
    with pytest.raises(GrapeOpsError, match="crops named GENE;GUIDE;PLATE;WELL;TILE;INDEX.npy"):
        open_screen(tmp_path, ScreenSettings())
    with pytest.raises(GrapeOpsError, match="were looked for there, and crops named GENE;GUIDE"):
        open_screen(tmp_path, ScreenSettings(layout="table"))
    with pytest.raises(GrapeOpsError, match="cp_phenotype_normalized.* were looked for there"):
        open_screen(tmp_path, ScreenSettings(layout="funk2022"))
