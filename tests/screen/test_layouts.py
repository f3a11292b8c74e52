"""One screen in six layouts: whatever folder it comes in, the same crops lie in the store."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from layout_writers import (
    CHANNELS,
    CROP,
    PERISCOPE_CHANNELS,
    SIZE,
    Plain,
    draw_screen,
    write_brieflow,
    write_funk2022,
    write_image,
    write_ops_standard,
    write_periscope,
    write_scallops,
    write_table,
)

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.inspect import inspect_screen
from grape_ops.screen.layouts import LAYOUTS, open_screen, recognise_layout
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import Screen, Window, read_window, tile_header
from grape_ops.screen.zarr_tiles import ZarrTiles, scales_of_floats

PLAIN = ScreenSettings()
SETTINGS = PreprocessSettings(crop_size=CROP, workers=1, flat_field=FlatFieldSettings(enabled=False))

WRITERS: dict[str, tuple[str, Callable[[Path, Plain], None]]] = {
    "table": ("table", write_table),
    "funk2022": ("funk2022", write_funk2022),
    "brieflow": ("brieflow", write_brieflow),
    "ops-standard": ("ops-standard", write_ops_standard),
    "ops-standard-stitched": ("ops-standard", lambda root, screen: write_ops_standard(root, screen, stitched=True)),
    "scallops": ("scallops", write_scallops),
    "periscope": ("periscope", write_periscope),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plain, CropStore]:
    """Return the drawn screen, and its store by way of the generic layout."""
    root = tmp_path_factory.mktemp("reference")
    screen = draw_screen()
    write_table(root / "screen", screen)
    preprocess(open_screen(root / "screen", PLAIN), root / "store", SETTINGS)
    return screen, CropStore.open(root / "store")


def opened(root: Path, name: str, screen: Plain, settings: ScreenSettings = PLAIN) -> Screen:
    layout, write = WRITERS[name]
    write(root / "screen", screen)
    assert recognise_layout(root / "screen") == layout
    return open_screen(root / "screen", settings)


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_gives_the_same_crop_store(name: str, tmp_path: Path, reference: tuple[Plain, CropStore]) -> None:
    drawn, expected = reference
    channels = PERISCOPE_CHANNELS if name == "periscope" else CHANNELS
    screen = opened(tmp_path, name, drawn, ScreenSettings(channels=channels))
    assert screen.channels == channels
    report = preprocess(screen, tmp_path / "store", SETTINGS)
    assert report.cells_kept == len(drawn.cells)
    store = CropStore.open(tmp_path / "store")
    if name == "periscope":  # a table a guide: the cells of a tile come in another order
        place = ["shard", "tile", "y"]
        order, theirs = (table.sort_values(place).index.to_numpy() for table in (store.cells, expected.cells))
    else:
        order = theirs = np.arange(len(drawn.cells))
    np.testing.assert_array_equal(store.read(order), expected.read(theirs))
    for column in ("sgRNA", "plate", "well", "is_control", "batch", "shard"):
        assert store.cells[column][order].tolist() == expected.cells[column][theirs].tolist(), column
    assert store.perturbations == expected.perturbations
    np.testing.assert_array_equal(store.labels[order], expected.labels[theirs])
    np.testing.assert_array_equal(store.control_mean, expected.control_mean)
    np.testing.assert_array_equal(store.control_sd, expected.control_sd)
    if name not in ("scallops", "ops-standard-stitched"):  # those lie in the pixels of the well
        for column in ("tile", "y", "x"):
            assert store.cells[column][order].tolist() == expected.cells[column][theirs].tolist(), column


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_reads_windows_and_heads_of_tiles(name: str, tmp_path: Path) -> None:
    drawn = draw_screen()
    screen = opened(tmp_path, name, drawn)
    reader = pickle.loads(pickle.dumps(screen.read_tile))
    tile = screen.tiles.iloc[0]
    whole = reader(tile)
    side = SIZE * 2 if name in ("scallops", "ops-standard-stitched") else SIZE
    assert whole.shape == (len(screen.channels), side, side) and whole.dtype == np.uint16
    assert tile_header(reader, tile) == (len(screen.channels), side, side, "uint16")
    window = Window(3, 40, 70, 33)
    np.testing.assert_array_equal(read_window(reader, tile, window), whole[:, 3:73, 40:73])
    np.testing.assert_array_equal(read_window(reader, tile, window, (2, 0)), whole[[2, 0], 3:73, 40:73])


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_keeps_large_tables_in_files(name: str, tmp_path: Path) -> None:
    whole = opened(tmp_path, name, draw_screen())
    parted = open_screen(tmp_path / "screen", PLAIN, table_folder=tmp_path / "cells")
    assert parted.cells.wells == whole.cells.wells and parted.cells.quality == whole.cells.quality
    assert parted.tiles.equals(whole.tiles)
    for place in whole.cells.wells:
        assert parted.cells.of(*place).equals(whole.cells.of(*place))


def test_layout_funk2022_finds_stains_in_other_folders_and_divides_by_table(tmp_path: Path) -> None:
    drawn = draw_screen(plates=("P1", "P2"))
    write_funk2022(tmp_path, drawn)
    mitotic = tmp_path / "mitotic-reclassified_cp_phenotype_normalized.parquet"
    table = drawn.cells.iloc[:3].rename(columns={"gene_symbol": "gene_symbol_0", "sgRNA": "sgRNA_0"})
    table.assign(cell_i=table.y + 5, cell_j=table.x).drop(columns=["y", "x"]).to_parquet(mitotic)
    screen = open_screen(tmp_path, PLAIN)
    assert len(screen.tiles) == 16 and len(screen.cells) == len(drawn.cells) + 3
    assert screen.cells.to_pandas()["class"].value_counts().to_dict() == {"interphase": len(drawn.cells), "mitotic": 3}
    assert any(tally.what == "mitotic cells" and tally.fate == "kept" for tally in screen.cells.quality)
    last = screen.tiles.iloc[-1]
    np.testing.assert_array_equal(screen.read_tile(last), drawn.tiles[last.plate, last.well, last.tile])
    without = open_screen(tmp_path, ScreenSettings(mitotic="drop"))
    assert len(without.cells) == len(drawn.cells)


def test_layout_funk2022_reports_cut_off_files_and_folders_named_tif(tmp_path: Path) -> None:
    write_funk2022(tmp_path, draw_screen())
    cut, folder = sorted(tmp_path.rglob("*_A594_Site-1.tif"))
    cut.write_bytes(cut.read_bytes()[:-2000])
    folder.unlink()
    folder.mkdir()
    screen = open_screen(tmp_path, PLAIN)
    tiles = screen.tiles[screen.tiles.tile == "1"]
    with pytest.raises(GrapeOpsError, match="cut off"):
        tile_header(screen.read_tile, tiles.iloc[0])
    with pytest.raises(GrapeOpsError, match="cannot be read: it is cut off"):
        screen.read_tile(tiles.iloc[0])
    with pytest.raises(GrapeOpsError, match="is a folder, not a file"):
        tile_header(screen.read_tile, tiles.iloc[1])


def test_layout_brieflow_takes_one_combination_and_the_configured_controls(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_brieflow(tmp_path, Plain(drawn.cells.replace({"gene_symbol": {"nontargeting": "scramble_1"}}), drawn.tiles))
    config = (tmp_path / "config.yml").read_text()
    (tmp_path / "config.yml").write_text(config.replace("nontargeting", "scramble"))
    screen = open_screen(tmp_path, PLAIN)
    assert len(screen.cells) == len(drawn.cells)
    assert screen.cells.to_pandas().is_control.sum() == (drawn.cells.gene_symbol == "nontargeting").sum()
    assert screen.corrected


def test_layout_brieflow_falls_back_to_merged_tables(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_brieflow(tmp_path, drawn)
    merged = tmp_path / "merge/parquets"
    merged.mkdir(parents=True)
    for file in sorted((tmp_path / "aggregate/parquets").glob("*CeCl-all_ChCo-DAPI_GFP*")):
        file.rename(merged / (file.name.split("_CeCl")[0] + "__merge_final.parquet"))
    for file in (tmp_path / "aggregate/parquets").iterdir():
        file.unlink()
    assert len(open_screen(tmp_path, PLAIN).cells) == len(drawn.cells)


def test_layout_scallops_keeps_good_cells_only(tmp_path: Path) -> None:
    screen = opened(tmp_path, "scallops", draw_screen())
    counts = {tally.what: (tally.count, tally.fate) for tally in screen.cells.quality}
    assert counts["cells with reads of other barcodes"] == (2, "dropped")
    assert counts["cells whose barcode and phenotype images do not match"] == (2, "dropped")
    keeping = open_screen(tmp_path / "screen", ScreenSettings(low_quality="keep"))
    assert len(keeping.cells) == len(screen.cells) + 4


def test_layout_periscope_shifts_each_channel(tmp_path: Path) -> None:
    drawn = draw_screen()
    screen = opened(tmp_path, "periscope", drawn)
    assert screen.channels == ("DNA", "ER", "Mito", "Phalloidin", "WGA")
    tile = screen.tiles.iloc[0]
    assert (tile.y_shift_DNA, tile.x_shift_DNA, tile.y_shift_ER) == (2, -3, -4)
    np.testing.assert_array_equal(screen.read_tile(tile)[:4], drawn.tiles["P1", "A1", "0"])
    counts = {tally.what: tally.count for tally in screen.cells.quality}
    assert counts["cells whose call is not Perfect or Great"]


def test_layout_periscope_takes_the_shift_of_most_cells_where_they_disagree(tmp_path: Path) -> None:
    write_periscope(tmp_path, draw_screen())
    column = "Align_Yshift_DAPI_Painting"
    for place, file in enumerate(sorted(tmp_path.rglob("*.csv.gz"))):
        table = pd.read_csv(file)
        if place == 0:
            table.loc[table.index[0], column] += 100
        table.to_csv(file, index=False)
    for parts in (None, tmp_path / "parts"):
        screen = open_screen(tmp_path, PLAIN, parts)
        assert (screen.tiles["y_shift_DNA"] == 2).all()
        assert Tally("tiles whose cells name different channel shifts", 1, "noted") in screen.cells.quality


def test_layout_periscope_takes_sites_written_as_floats_and_the_channels_there_are(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_periscope(tmp_path, drawn)
    for folder in tmp_path.rglob("CorrWGA"):
        shutil.rmtree(folder)
    for file in tmp_path.rglob("*.csv.gz"):
        table = pd.read_csv(file)
        table.astype({"Metadata_Foci_site_location": float}).to_csv(file, index=False)
    screen = open_screen(tmp_path, PLAIN)
    assert screen.channels == PERISCOPE_CHANNELS
    assert set(screen.cells.to_pandas().tile) == {"0", "1", "2", "3"} and len(screen.tiles) == 8
    assert tile_header(screen.read_tile, screen.tiles.iloc[0]).channels == 4


def test_layout_ops_standard_joins_the_library_without_multiplying_cells(tmp_path: Path) -> None:
    drawn = draw_screen()
    screen = opened(tmp_path, "ops-standard", drawn)
    assert len(screen.cells) == len(drawn.cells)
    assert set(screen.cells.to_pandas().gene_symbol) == {"KRAS", "NONO", "TP53", "non-targeting"}
    repeated = next(tally for tally in screen.cells.quality if tally.what == "rows of the library that repeat a guide")
    assert repeated.count == 8 and repeated.fate == "merged"


def test_layout_names_are_known_and_a_folder_of_none_is_told_all(tmp_path: Path) -> None:
    assert set(LAYOUTS) == {"ops-standard", "funk2022", "brieflow", "scallops", "periscope", "table"}
    with pytest.raises(GrapeOpsError, match=r"looks like none of the layouts(?s:.*)--set screen.layout=NAME"):
        open_screen(tmp_path, PLAIN)


@pytest.mark.parametrize("name", ["funk2022", "periscope"])
def test_layouts_of_whole_screens_leave_out_wells_that_were_not_fetched(name: str, tmp_path: Path) -> None:
    drawn = draw_screen()
    WRITERS[name][1](tmp_path, drawn)
    images = [path for path in tmp_path.rglob("*.tif*") if "_A2" in path.as_posix()]
    for path in images:
        path.unlink()
    for folder in sorted(tmp_path.rglob("P1_A2/**"), reverse=True):
        folder.rmdir()
    whole = open_screen(tmp_path, PLAIN)
    assert whole.cells.wells == [("P1", "A1")] and len(whole.cells) == 32
    assert Tally("cells of wells without images", 32, "dropped") in whole.cells.quality
    parted = open_screen(tmp_path, PLAIN, table_folder=tmp_path / "cells")
    assert parted.cells.wells == whole.cells.wells and parted.cells.quality == whole.cells.quality
    for path in tmp_path.rglob("*.tif*"):
        path.rename(path.with_name(path.name.replace("_A1_", "_B1_")))
    for folder in tmp_path.rglob("P1_A1"):
        folder.rename(folder.with_name("P1_B1"))
    with pytest.raises(GrapeOpsError, match="No cell is of a well with images: the table names P1 A1"):
        open_screen(tmp_path, PLAIN)


def test_layout_ops_standard_takes_a_zarr_a_plate(tmp_path: Path) -> None:
    drawn = draw_screen(plates=("P1", "P2"))
    home = tmp_path / "screen_1"
    write_ops_standard(tmp_path, draw_screen())
    table = pd.read_parquet(home / "cell_data.parquet")
    pd.concat([table, table.assign(plate="P2")]).to_parquet(home / "cell_data.parquet")
    (home / "screen_1.zarr").rename(home / "P1.zarr")
    plate = zarr.create_group(home / "P2.zarr", zarr_format=2)
    for (name, well, tile), image in drawn.tiles.items():
        if name == "P2":
            # Fields may be padded with zeros where the table is not.
            write_image(plate.create_group(f"{well[0]}/{well[1:]}/00{tile}"), image, "TCZYX", "0.4")
    screen = open_screen(tmp_path, PLAIN)
    assert screen.cells.wells == [("P1", "A1"), ("P1", "A2"), ("P2", "A1"), ("P2", "A2")] and len(screen.tiles) == 16
    for _, tile in screen.tiles.iterrows():
        np.testing.assert_array_equal(screen.read_tile(tile), drawn.tiles[tile.plate, tile.well, tile.tile])


def test_layout_ops_standard_spreads_floats_within_0_and_1(tmp_path: Path) -> None:
    drawn = draw_screen()
    write_ops_standard(tmp_path, drawn)
    as_floats(tmp_path, drawn, 1 / 65535)
    screen = open_screen(tmp_path, PLAIN)
    np.testing.assert_array_equal(screen.read_tile(screen.tiles.iloc[0]), drawn.tiles["P1", "A1", "0"])


def as_floats(root: Path, drawn: Plain, factor: float) -> None:
    """Store the fields of a screen as floats, multiplied."""
    for field in (root / "screen_1/screen_1.zarr").glob("?/?/?"):
        tile = drawn.tiles["P1", "".join(field.parts[-3:-1]), field.name]
        group = zarr.open_group(field, mode="r+")
        del group["0"]
        group.create_array("0", data=(tile * factor).astype(np.float32)[None, :, None])


def test_layout_ops_standard_keeps_what_floats_slightly_above_1_show(tmp_path: Path) -> None:
    drawn = draw_screen()
    brightest = max(int(tile.max()) for tile in drawn.tiles.values())
    write_ops_standard(tmp_path / "counts", drawn)
    write_ops_standard(tmp_path / "floats", drawn)
    as_floats(tmp_path / "floats", drawn, 1.07 / brightest)
    stores = []
    for name in ("counts", "floats"):
        preprocess(open_screen(tmp_path / name, PLAIN), tmp_path / f"{name}.store", SETTINGS)
        stores.append(CropStore.open(tmp_path / f"{name}.store").read(slice(None)).astype(float) / 65535)
    assert np.abs(stores[0] - stores[1]).max() < 2e-3
    found = inspect_screen(tmp_path / "floats", PLAIN)
    assert any("floats that are neither counts nor within 0 and 1" in doubt for doubt in found.doubts)
    assert not any("floats" in doubt for doubt in inspect_screen(tmp_path / "counts", PLAIN).doubts)


@pytest.mark.parametrize(
    ("pixels", "largest", "gain"),
    [
        ([0.0, 0.25, 1.0], None, 65535),
        ([0.0, 0.25, 1.02], None, 65535 / 2.04),
        ([0.0, 0.25, 1.02], 1.5, 65535 / 1.5),
        ([0.0, 3.0, 20.0], None, 1),  # photons
        ([0.0, 100.5, 2000.25], None, 1),
        ([0.0, 5.0, 131070.0], None, 0.5),
    ],
)
def test_floats_in_zarr_are_counts_or_are_spread(tmp_path, pixels, largest, gain):
    zarr.create_array(tmp_path / "image.zarr", data=np.resize(np.float32(pixels), (40, 40)))
    assert scales_of_floats([tmp_path / "image.zarr"], [0], largest)[0][:2] == pytest.approx((gain, 0))


def test_each_channel_of_floats_has_its_own_gain_and_offset(tmp_path):
    signed = np.resize(np.float32([-0.2, 0.0, 0.1, 0.2]), (40, 40))
    counts = np.resize(np.float32([0, 300, 4000, 20]), (40, 40))
    zarr.create_array(tmp_path / "image.zarr", data=np.stack([signed, counts]))
    scales = scales_of_floats([tmp_path / "image.zarr"], [0, 1], None)
    assert scales[1][:2] == (1, 0)
    reader = ZarrTiles(tmp_path, (0, 1), scales)
    read = reader(pd.Series({"path": "image.zarr"})).astype(float)
    np.testing.assert_array_equal(read[1], counts)
    np.testing.assert_allclose(read[0] / scales[0].gain + scales[0].offset, signed, atol=1e-4)
    (doubt,) = reader.doubts(["phase", "DNA"])
    assert "phase (x - -0.4) x" in doubt and "DNA" not in doubt


@pytest.mark.parametrize(
    ("pixels", "dtype", "words"), [([0, 70000], "uint32", "uint32 .*0 to 70000"), ([-3, 9], "int16", "int16 .*-3 to 9")]
)
def test_integers_beyond_16_bits_and_negative_ones_are_refused_in_words(tmp_path, pixels, dtype, words):
    zarr.create_array(tmp_path / "image.zarr", data=np.resize(np.array(pixels, dtype), (40, 40)))
    with pytest.raises(GrapeOpsError, match=words):
        ZarrTiles(tmp_path, (0,))(pd.Series({"path": "image.zarr"}))
    zarr.create_array(tmp_path / "whole.zarr", data=np.resize(np.array([0, 60000 % 2**15], dtype), (40, 40)))
    assert ZarrTiles(tmp_path, (0,))(pd.Series({"path": "whole.zarr"})).max() == 60000 % 2**15
