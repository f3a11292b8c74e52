"""The layout ``table``: what screen.yaml describes comes back as a Screen, and every mistake has its message."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from anndata import AnnData

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.layouts import LAYOUTS, open_screen
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import Window, read_window

PLAIN = ScreenSettings()
CHANNELS = ["DNA", "actin"]


def cell_table() -> pd.DataFrame:
    """Six cells on plate 1, well A1, tiles 2 and 10."""
    return pd.DataFrame(
        {
            "gene_symbol": ["NONO", "nontargeting", "KRAS", "KRAS", "NTC_2", "NONO"],
            "sgRNA": list("ABCDEF"),
            "plate": 1,
            "well": "A1",
            "tile": [2, 2, 2, 10, 10, 10],
            "y": [1.5, 2, 3, 4, 5, 6],
            "x": [6.0, 5, 4, 3, 2, 1],
            "confidence": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        }
    )


def pixels(tile: int) -> np.ndarray:
    return np.random.default_rng(tile).integers(0, 60000, (2, 16, 20)).astype(np.uint16)


def write(root: Path, table: pd.DataFrame, name: str = "cells.csv", **changes) -> Path:
    """Write a screen folder; ``changes`` go into screen.yaml, None takes a key out."""
    (root / "tiles" / "1").mkdir(parents=True, exist_ok=True)
    if name.endswith("parquet"):
        table.to_parquet(root / name)
    else:
        table.to_csv(root / name, sep="\t" if ".tsv" in name else ",", index=False)
    for tile in (2, 10):
        tifffile.imwrite(root / f"tiles/1/A1_{tile}.tif", pixels(tile), photometric="minisblack")
    description = {"cells": name, "tiles": "tiles/{plate}/{well}_{tile}.tif", "channels": CHANNELS, **changes}
    description = {key: value for key, value in description.items() if value is not None}
    (root / "screen.yaml").write_text(yaml.safe_dump(description))
    return root


@pytest.mark.parametrize("name", ["cells.csv", "cells.tsv", "cells.csv.gz", "cells.parquet"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    screen = open_screen(write(tmp_path, cell_table(), name), PLAIN)
    assert screen.channels == tuple(CHANNELS)
    first = ["gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x"]
    cells = screen.cells.to_pandas()
    assert list(cells.columns) == [*first, "confidence", "is_control"]
    assert cells.tile.tolist() == ["2", "2", "2", "10", "10", "10"]
    assert cells.plate.eq("1").all()
    assert cells.y.dtype == float and cells.confidence.astype(float).iloc[5] == 0.4
    assert cells.is_control.tolist() == [False, True, False, False, True, False]
    assert screen.tiles.path.tolist() == ["tiles/1/A1_2.tif", "tiles/1/A1_10.tif"]
    reader = pickle.loads(pickle.dumps(screen)).read_tile
    for tile, row in zip((2, 10), screen.tiles.iterrows(), strict=True):
        np.testing.assert_array_equal(reader(row[1]), pixels(tile))


def test_the_settings_win_over_screen_yaml_and_both_over_detection(tmp_path: Path) -> None:
    table = cell_table().assign(a="from_yaml", b="from_settings")
    table.loc[0, ["a", "b"]] = "nontargeting"
    root = write(tmp_path, table, columns={"gene_symbol": "a", "sgRNA": "a"})
    assert open_screen(root, PLAIN).cells.to_pandas().gene_symbol.tolist()[1] == "from_yaml"
    settings = ScreenSettings(columns={"gene_symbol": "b"})
    screen = open_screen(root, settings)
    cells = screen.cells.to_pandas()
    assert cells.gene_symbol.tolist()[1] == "from_settings"
    assert cells.sgRNA.tolist()[1] == "from_yaml"


def test_text_stays_text(tmp_path: Path) -> None:
    table = cell_table().assign(tile=["002"] * 3 + ["010"] * 3, gene_symbol=["1E3", *cell_table().gene_symbol[1:]])
    screen = open_screen(write(tmp_path, table), PLAIN)
    cells = screen.cells.to_pandas()
    assert cells.tile.tolist()[0] == "002" and cells.gene_symbol.tolist()[0] == "1E3"


def test_an_index_that_carries_the_guide_is_a_column(tmp_path: Path) -> None:
    table = cell_table().rename(columns={"sgRNA": "sgRNA_0"}).set_index("sgRNA_0")
    screen = open_screen(write(tmp_path, table, "cells.parquet"), PLAIN)
    assert screen.cells.to_pandas().sgRNA.tolist() == list("ABCDEF")


def test_whole_numbers_written_as_floats_name_the_same_tile(tmp_path: Path) -> None:
    table = cell_table().astype({"tile": float, "plate": float})
    screen = open_screen(write(tmp_path, table, "cells.parquet"), PLAIN)
    assert screen.tiles.path.tolist() == ["tiles/1/A1_2.tif", "tiles/1/A1_10.tif"]


def test_missing_tiles_are_listed_and_named_when_read(tmp_path: Path) -> None:
    root = write(tmp_path, cell_table())
    (root / "tiles/1/A1_10.tif").unlink()
    screen = open_screen(root, PLAIN)
    assert len(screen.tiles) == 2
    with pytest.raises(GrapeOpsError, match=r"no tile .*A1_10.tif"):
        screen.read_tile(screen.tiles.iloc[1])


def test_tiles_without_cells_are_listed_too(tmp_path: Path) -> None:
    root = write(tmp_path, cell_table())
    tifffile.imwrite(root / "tiles/1/A1_3.tif", pixels(3), photometric="minisblack")
    tifffile.imwrite(root / "tiles/1/notes.tif", pixels(3), photometric="minisblack")
    (root / "tiles/1/._A1_3.tif").touch()
    assert open_screen(root, PLAIN).tiles.tile.tolist() == ["2", "3", "10"]


def test_numbers_in_a_pattern_may_be_padded(tmp_path: Path) -> None:
    root = write(tmp_path, cell_table(), tiles="tiles/{plate}/{well}_{tile:04d}.tif")
    for tile in (2, 7, 10):
        tifffile.imwrite(root / f"tiles/1/A1_{tile:04d}.tif", pixels(tile), photometric="minisblack")
    screen = open_screen(root, PLAIN)
    assert screen.tiles.tile.tolist() == ["2", "7", "10"]
    np.testing.assert_array_equal(screen.read_tile(screen.tiles.iloc[1]), pixels(7))


def test_a_pattern_may_be_an_absolute_path(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", cell_table())
    root = write(tmp_path / "screen", cell_table(), tiles=f"{tiles}/tiles/{{plate}}/{{well}}_{{tile}}.tif")
    shutil.rmtree(root / "tiles")
    screen = open_screen(root, PLAIN)
    assert screen.tiles.tile.tolist() == ["2", "10"]
    np.testing.assert_array_equal(screen.read_tile(screen.tiles.iloc[1]), pixels(10))


def test_numbers_that_the_table_pads_name_no_second_tile(tmp_path: Path) -> None:
    table = cell_table().assign(tile=["0002"] * 3 + ["0010"] * 3)
    root = write(tmp_path, table, tiles="tiles/{plate}/{well}_{tile:04d}.tif")
    for tile in (2, 10):
        tifffile.imwrite(root / f"tiles/1/A1_{tile:04d}.tif", pixels(tile), photometric="minisblack")
    # The files A1_2.tif and A1_10.tif of `write` are not padded, so they are none of the pattern's.
    assert open_screen(root, PLAIN).tiles.path.tolist() == ["tiles/1/A1_0002.tif", "tiles/1/A1_0010.tif"]


def test_one_file_a_channel(tmp_path: Path) -> None:
    root = write(tmp_path, cell_table(), tiles="tiles/{plate}/{channel}_{well}_{tile}.tif")
    for tile in (2, 10):
        for channel, plane in zip(CHANNELS, pixels(tile), strict=True):
            tifffile.imwrite(root / f"tiles/1/{channel}_A1_{tile}.tif", plane)
    screen = open_screen(root, PLAIN)
    assert len(screen.tiles) == 2
    np.testing.assert_array_equal(screen.read_tile(screen.tiles.iloc[0]), pixels(2))
    (root / "tiles/1/actin_A1_2.tif").unlink()
    with pytest.raises(GrapeOpsError, match=r"actin_A1_2.tif"):
        screen.read_tile(screen.tiles.iloc[0])


def test_a_pattern_may_name_any_column(tmp_path: Path) -> None:
    table = cell_table().assign(file=[f"A1_{tile}" for tile in cell_table().tile])
    root = write(tmp_path, table, tiles="tiles/{plate}/{file}.tif")
    screen = open_screen(root, PLAIN)
    assert screen.tiles.path.tolist() == ["tiles/1/A1_2.tif", "tiles/1/A1_10.tif"]
    table.loc[0, "file"] = "A1_10"
    with pytest.raises(GrapeOpsError, match="several files for plate 1, well A1, tile 2"):
        open_screen(write(tmp_path, table, tiles="tiles/{plate}/{file}.tif"), PLAIN)


def test_unidentified_cells_are_left_out_with_their_count(tmp_path: Path) -> None:
    table = cell_table()
    table.loc[[0, 2], "gene_symbol"] = np.nan
    table.loc[2, "sgRNA"] = ""
    screen = open_screen(write(tmp_path, table), PLAIN)
    assert Tally("cells without a gene or a guide", 2, "dropped") in screen.cells.quality
    assert len(screen.cells) == 4 and screen.cells.to_pandas().index.tolist() == [0, 1, 2, 3]


def broken(column: str, value: object) -> pd.DataFrame:
    table = cell_table().astype({column: object})
    table.loc[3, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (cell_table(), {"channels": None}, "lacks channels"),
        (cell_table(), {"tile": "x"}, "unknown keys tile"),
        (cell_table(), {"channels": "DNA"}, "list of names"),
        (cell_table(), {"channels": ["DNA", "DNA"]}, "named twice"),
        (cell_table(), {"cells": "other.csv"}, "no cell table"),
        (cell_table(), {"cells": ["cells.csv"]}, "must be a text"),
        (cell_table(), {"columns": ["a"]}, "must map our names"),
        (cell_table(), {"columns": {"tile": "position"}}, "takes tile from the column 'position'"),
        (cell_table(), {"tiles": "tiles/{plate}/{run}.tif"}, "names run"),
        (cell_table(), {"tiles": "tiles/{plate/{tile}.tif"}, "unbalanced braces"),
        (cell_table(), {"tiles": "tiles/{well:03d}_{tile}.tif"}, "cannot write the value 'A1'"),
        (cell_table().drop(columns="tile"), {}, r"screen.columns.tile="),
        (cell_table().iloc[:0], {}, "no rows"),
        (cell_table().iloc[[0, 2]], {}, "No cell of the table .*cells.csv is a non-targeting control"),
        (broken("y", "left"), {}, r"must hold numbers, but 1 rows do not.*'left'"),
        (broken("y", ""), {}, "1 of 6 identified cells .* have no y"),
        (broken("tile", ""), {}, "have no tile"),
        (cell_table().assign(sgRNA=""), {}, "Every row .* lacks a gene or a guide"),
    ],
)
def test_each_mistake_has_its_message(tmp_path: Path, table: pd.DataFrame, changes: dict, message: str) -> None:
    with pytest.raises(GrapeOpsError, match=message):
        open_screen(write(tmp_path, table, **changes), PLAIN)


def test_mistakes_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(GrapeOpsError, match=rf"no layout 'brief'; there are: {', '.join(sorted(LAYOUTS))}"):
        open_screen(tmp_path, ScreenSettings(layout="brief"))
    with pytest.raises(GrapeOpsError, match="There is no screen"):
        open_screen(tmp_path / "nowhere", PLAIN)
    with pytest.raises(GrapeOpsError, match=r"no screen.yaml in .* keys cells, tiles, channels"):
        open_screen(tmp_path, ScreenSettings(layout="table"))
    with pytest.raises(GrapeOpsError, match="looks like none of the layouts"):
        open_screen(tmp_path, PLAIN)
    (tmp_path / "cells.xlsx").write_text("?")
    (tmp_path / "screen.yaml").write_text("{cells: cells.xlsx, tiles: a, channels: [a]}")
    with pytest.raises(GrapeOpsError, match=r"must end in one of .csv"):
        open_screen(tmp_path, PLAIN)
    (tmp_path / "cells.parquet").write_bytes(b"not parquet")
    (tmp_path / "screen.yaml").write_text("{cells: cells.parquet, tiles: a, channels: [a]}")
    with pytest.raises(GrapeOpsError, match="cannot be read"):
        open_screen(tmp_path, PLAIN)


def test_damaged_and_ill_fitting_tiles_are_named(tmp_path: Path) -> None:
    screen = open_screen(write(tmp_path, cell_table()), PLAIN)
    file, row = tmp_path / "tiles/1/A1_2.tif", screen.tiles.iloc[0]
    whole = file.read_bytes()
    for damage in (b"", b"nothing of the kind", whole[:200]):
        file.write_bytes(damage)
        with pytest.raises(GrapeOpsError, match=r"A1_2.tif"):
            screen.read_tile(row)
    tifffile.imwrite(file, pixels(2), photometric="minisblack", compression="zlib")
    packed = file.read_bytes()
    for damage in (packed[:600], packed[:-9] + bytes(9)):
        file.write_bytes(damage)
        with pytest.raises(GrapeOpsError, match=r"^The tile tiles/1/A1_2.tif cannot be read: "):
            screen.read_tile(row)
    tifffile.imwrite(file, pixels(2)[:1], photometric="minisblack")
    with pytest.raises(GrapeOpsError, match=r"shape \(.*channels DNA, actin"):
        screen.read_tile(row)
    tifffile.imwrite(file, pixels(2).astype(np.float32), photometric="minisblack")
    with pytest.raises(GrapeOpsError, match="raw tiles are uint8 or uint16"):
        screen.read_tile(row)
    file.unlink()
    file.mkdir()
    with pytest.raises(GrapeOpsError, match="is a folder, not a file"):
        screen.read_tile(row)


def test_columns_in_any_case_and_guides_by_other_names(tmp_path: Path) -> None:
    table = cell_table().rename(columns={"gene_symbol": "Gene", "sgRNA": "Guide", "plate": "Plate", "y": "Y", "x": "X"})
    screen = open_screen(write(tmp_path, table), PLAIN)
    cells = screen.cells.to_pandas()
    assert cells.sgRNA.tolist() == list("ABCDEF") and cells.x.tolist() == [6.0, 5, 4, 3, 2, 1]


def test_the_message_on_columns_shows_which_way_round_they_go(tmp_path: Path) -> None:
    root = write(tmp_path, cell_table().rename(columns={"sgRNA": "oligo"}), columns={"oligo": "sgRNA"})
    with pytest.raises(GrapeOpsError, match=r"columns: \{sgRNA: my_guide_column\}.*other way round"):
        open_screen(root, PLAIN)
    root = write(tmp_path, cell_table().rename(columns={"sgRNA": "oligo"}))
    with pytest.raises(GrapeOpsError, match=r"columns: \{sgRNA: THEIR_COLUMN\}"):
        open_screen(root, PLAIN)


def test_an_h5ad_is_a_table_and_under_another_name_it_is_named(tmp_path: Path) -> None:
    obs = cell_table().drop(columns="sgRNA").set_axis(pd.Index(list("ABCDEF"), name="sgRNA"))
    AnnData(obs=obs.astype({"gene_symbol": "category"})).write_h5ad(tmp_path / "cells.h5ad")
    root = write(tmp_path, cell_table(), cells="cells.h5ad")
    assert open_screen(root, PLAIN).cells.to_pandas().sgRNA.tolist() == list("ABCDEF")
    (tmp_path / "cells.h5ad").rename(tmp_path / "cells.csv")
    with pytest.raises(GrapeOpsError, match="says that it is text, but it is not"):
        open_screen(write_description(tmp_path), PLAIN)


def write_description(root: Path) -> Path:
    description = {"cells": "cells.csv", "tiles": "tiles/{plate}/{well}_{tile}.tif", "channels": CHANNELS}
    (root / "screen.yaml").write_text(yaml.safe_dump(description))
    return root


def test_z_stacks_are_projected_and_compressed_tiles_read_in_windows(tmp_path: Path) -> None:
    root = write(tmp_path, cell_table(), z_stack=True)
    stack = np.stack([pixels(2) // 2, pixels(2), pixels(2) // 3])
    for options in ({}, {"compression": "lzw"}, {"compression": "lzw", "tile": (16, 16)}, {"compression": "zlib"}):
        tifffile.imwrite(root / "tiles/1/A1_2.tif", stack, photometric="minisblack", **options)
        screen = open_screen(root, PLAIN)
        tile = screen.tiles.iloc[0]
        np.testing.assert_array_equal(screen.read_tile(tile), pixels(2))
        window = Window(2, 5, 9, 4)
        np.testing.assert_array_equal(read_window(screen.read_tile, tile, window, (1,)), pixels(2)[1:, 2:11, 5:9])
    unstacked = open_screen(write(tmp_path / "other", cell_table()), PLAIN)
    tifffile.imwrite(tmp_path / "other/tiles/1/A1_2.tif", stack, photometric="minisblack")
    with pytest.raises(GrapeOpsError, match=r"shape \(3, 2, 16, 20\)"):
        unstacked.read_tile(unstacked.tiles.iloc[0])


def test_damaged_files_are_told_once_and_by_us(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    screen = open_screen(write(tmp_path, cell_table()), PLAIN)
    file = tmp_path / "tiles/1/A1_2.tif"
    tifffile.imwrite(file, pixels(2), photometric="minisblack", compression="zlib")
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(GrapeOpsError, match="it is cut off"):
        screen.read_tile(screen.tiles.iloc[0])
    assert not caplog.records
