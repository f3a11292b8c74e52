"""Cell tables as people bring them: missing values, ruined names, several files, links, encodings, other spellings."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layout_writers import draw_screen, write_table

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.cell_table import CellTable
from grape_ops.screen.inspect import inspect_screen
from grape_ops.screen.layout import walk
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import Screen
from grape_ops.screen.spelling import is_ruined, loose
from grape_ops.screen.table_files import read_whole
from grape_ops.screen.table_reader import TableReader

PLAIN = ScreenSettings()
DRAWN = draw_screen()
CELLS = DRAWN.cells


def with_csv(root: Path, table: pd.DataFrame, name: str = "cells.csv", **options: object) -> Path:
    """Write the drawn screen with another cell table."""
    write_table(root, DRAWN)
    table.to_csv(root / name, index=False, **options)
    text = (root / "screen.yaml").read_text()
    (root / "screen.yaml").write_text(text.replace("cells.parquet", name))
    return root


def read_text(file: Path) -> str:
    return (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()


def write_text(file: Path, text: str) -> None:
    data = text.encode("latin-1")
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)


def count(screen: Screen, what: str) -> int:
    return sum(tally.count for tally in screen.cells.quality if tally.what == what)


@pytest.mark.parametrize("word", ["NA", "nan", "NaN", "None", "na", "#N/A", "NULL", "-", " ", "n/a", "<NA>"])
def test_words_for_a_missing_value_are_no_gene(tmp_path: Path, word: str) -> None:
    table = CELLS.copy()
    table.loc[::4, "gene_symbol"] = word
    table.loc[1::8, "sgRNA"] = word
    screen = open_screen(with_csv(tmp_path / "screen", table), PLAIN)
    assert len(screen.cells) == 40 and count(screen, "cells without a gene or a guide") == 24
    cells = screen.cells.to_pandas()
    assert word not in {*cells.gene_symbol, *cells.sgRNA}


def test_controls_without_a_gene_are_told_or_named(tmp_path: Path) -> None:
    library = CELLS[["sgRNA", "gene_symbol"]].drop_duplicates()
    library["gene_symbol"] = library.gene_symbol.replace("nontargeting", "NA")
    library.to_csv(tmp_path / "library.csv", index=False)
    root = with_csv(tmp_path / "screen", CELLS.drop(columns="gene_symbol"))
    settings = ScreenSettings(library=str(tmp_path / "library.csv"))
    with pytest.raises(GrapeOpsError, match=r"cells.csv is a non-targeting control.*lists 2 guides without a gene"):
        open_screen(root, settings)
    role = library.gene_symbol.map({"NA": "control"}).fillna("targeting")
    library.assign(role=role).to_csv(tmp_path / "library.csv", index=False)
    cells = open_screen(root, settings).cells.to_pandas()
    assert cells.gene_symbol.tolist() == CELLS.gene_symbol.tolist() and cells.is_control.sum() == 16


def test_names_that_a_spreadsheet_ruined_are_doubtful(tmp_path: Path) -> None:
    table = CELLS.assign(gene_symbol=CELLS.gene_symbol.replace({"KRAS": "2-Sep", "TP53": "1.23E+15"}))
    doubts = inspect_screen(with_csv(tmp_path / "screen", table), PLAIN).doubts
    assert any("2-Sep, 1.23E+15: a spreadsheet" in doubt for doubt in doubts)
    assert all(map(is_ruined, ["Sep-02", "1-Mar", "2020-09-02", "02/09/2020", "#NAME?", "1E+15"]))
    assert not any(map(is_ruined, ["SEPTIN2", "MARCHF1", "DEC1", "NKX2-1", "HLA-A", "1-2", "ERVK-6", "44075"]))


def test_parts_of_a_table_come_in_the_order_they_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "cells.parquet"
    folder.mkdir()
    for part in range(12):
        pd.DataFrame({"n": [part]}).to_parquet(folder / f"part.{part}.parquet")
    (folder / "._part.3.parquet").write_bytes(b"\x00\x05\x16\x07")
    assert read_whole(folder).n.tolist() == list(range(12))


def test_links_are_followed_and_cycles_end(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "b.txt").touch()
    (tmp_path / "here" / "a.txt").touch()
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "archive")
    (tmp_path / "archive" / "back").symlink_to(tmp_path / "here")
    names = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path / "here", "*.txt")]
    assert names == ["here/a.txt", "here/linked/b.txt"]


@pytest.mark.parametrize("in_files", [False, True])
def test_a_column_of_some_tables_only_costs_no_cells(tmp_path: Path, in_files: bool) -> None:
    root = tmp_path / "screen"
    write_table(root, DRAWN)
    folder = tmp_path / "cells" if in_files else None
    files = [root / f"cells_{well}.parquet" for well in ("A1", "A2")]
    first, second = (own.reset_index(drop=True) for _, own in CELLS.groupby("well"))
    first.assign(cell_1=1).to_parquet(files[0])
    second.to_parquet(files[1])
    table = TableReader(files, PLAIN).read(folder)
    assert table.count_by(["well"]).cells.tolist() == [32, 32]
    what = "columns that only some of the tables have (cell_1 is not in cells_A2.parquet)"
    assert table.quality == (Tally(what, 1, "dropped"),)
    second.assign(cell_1="x").to_parquet(files[1])
    with pytest.raises(GrapeOpsError, match=r"'cell_1' holds text in .*cells_A2.parquet and numbers in .*cells_A1"):
        TableReader(files, PLAIN).read(folder)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("cells.csv", {"encoding": "latin-1"}, "not encoded in UTF-8"),
        ("cells.tsv", {"encoding": "utf-16", "sep": "\t"}, "encoded in UTF-16"),
        ("cells.csv", {"sep": ";", "decimal": ","}, "separated by semicolons"),
        ("cells.csv", {"sep": "\t"}, "separated by tabs"),
    ],
)
def test_other_encodings_and_separators_are_named(tmp_path: Path, name: str, options: dict, why: str) -> None:
    root = with_csv(tmp_path / "screen", CELLS.assign(**{"size µm2": 1.0}), name, **options)
    with pytest.raises(GrapeOpsError, match=why):
        open_screen(root, PLAIN)


def test_stray_quotes_do_not_fuse_rows(tmp_path: Path) -> None:
    root = with_csv(tmp_path / "screen", CELLS.assign(note="fine"))
    lines = (root / "cells.csv").read_text().splitlines()
    for line in (5, 20):
        lines[line] = lines[line].replace("fine", '"fine' if line == 5 else 'fine"')
    (root / "cells.csv").write_text("\n".join(lines))
    with pytest.raises(GrapeOpsError, match=r"column 'note' of .*cells.csv goes over several lines"):
        open_screen(root, PLAIN)


@pytest.mark.parametrize("compressed", ["", ".gz"])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda line: line.rsplit(",", 1)[0], "row 31 .* has 7 values, where the first line names 8 columns"),
        (lambda line: line + ",more", "row 31 .* has 9 values, where the first line names 8 columns"),
        (lambda line: line[: len(line) // 2], "row 31 .*was the file cut off"),
        (lambda line: line.replace("tile", "ti\xb5le"), "not encoded in UTF-8"),
    ],
    ids=["too few", "too many", "cut off", "another encoding"],
)
def test_a_row_that_does_not_fit_the_columns_is_refused(
    tmp_path: Path, compressed: str, spoil: Callable[[str], str], why: str
) -> None:
    root = with_csv(tmp_path / "screen", CELLS.assign(note="tile 1"), f"cells.csv{compressed}")
    lines = read_text(root / f"cells.csv{compressed}").splitlines()
    lines[30] = spoil(lines[30])
    write_text(root / f"cells.csv{compressed}", "\n".join(lines))
    with pytest.raises(GrapeOpsError, match=why):
        open_screen(root, PLAIN)


def test_a_table_that_begins_with_an_empty_line_is_refused(tmp_path: Path) -> None:
    root = with_csv(tmp_path / "screen", CELLS)
    (root / "cells.csv").write_text("\n" + (root / "cells.csv").read_text())
    with pytest.raises(GrapeOpsError, match="its first line, which is to name the columns, is empty"):
        open_screen(root, PLAIN)


def test_commas_and_quotes_within_quotes_stay_in_their_value(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["1, 2", 'say "3"', "007", "NA"], "b": ["", "x", "y,", " z"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(read_whole(tmp_path / "t.csv"), table, check_dtype=False)


def test_wells_are_found_under_another_spelling(tmp_path: Path) -> None:
    root = with_csv(tmp_path / "screen", CELLS.assign(well=CELLS.well.replace({"A1": "A01", "A2": "a02"})))
    screen = open_screen(root, PLAIN)
    assert all((root / path).is_file() for path in screen.tiles.path) and len(screen.tiles) == 8
    assert [loose(name) for name in ("A01", "A1", "A10", "a001", "A100", "café")] == [
        "a1",
        "a1",
        "a10",
        "a1",
        "a100",
        loose("cafe\u0301"),
    ]


def test_a_missing_column_of_places_is_a_doubt(tmp_path: Path) -> None:
    np.save(tmp_path / "crops.npy", np.random.default_rng(0).random((64, 2, 32, 32)).astype(np.float32))
    CELLS.rename(columns={"plate": "plte"}).drop(columns="tile").to_csv(tmp_path / "cells.csv", index=False)
    doubts = inspect_screen(tmp_path, PLAIN).doubts
    assert any("without a column plate (is it plte?): plate is taken as 1" in doubt for doubt in doubts)
    assert any("64 cells without a column tile: " in doubt for doubt in doubts)


def in_parts(folder: Path, *parts: pd.DataFrame, name: str = "cells.parquet") -> Path:
    """Write a parquet folder as dask does, half of the drawn cells in each of two files."""
    (folder / name).mkdir(parents=True)
    for number, part in enumerate(parts):
        part.to_parquet(folder / name / f"part.{number}.parquet", index=False)
    return folder / name


FIRST, SECOND = (CELLS.iloc[rows].reset_index(drop=True) for rows in (slice(0, 32), slice(32, 64)))


@pytest.mark.parametrize("in_files", [False, True])
def test_parts_of_a_folder_may_differ_in_their_columns(tmp_path: Path, in_files: bool) -> None:
    def read(number: int, first: pd.DataFrame, second: pd.DataFrame, **settings: str) -> CellTable:
        folder = in_parts(tmp_path / str(number), first, second)
        return TableReader([folder], ScreenSettings(**settings)).read(tmp_path / f"t{number}" if in_files else None)

    for number, (first, second) in enumerate([(FIRST.assign(foo=1.5), SECOND), (FIRST, SECOND.assign(foo=1.5))]):
        table = read(number, first, second)
        what = f"columns that only some of the tables have (foo is not in cells.parquet/part.{1 - number}.parquet)"
        assert table.quality == (Tally(what, 1, "dropped"),) and len(table) == 64 and "foo" not in table.columns
    renamed = read(2, FIRST.rename(columns={"sgRNA": "guide"}), SECOND[SECOND.columns[::-1]])
    cells = renamed.to_pandas().sort_values(["tile", "y"], ignore_index=True)
    assert cells.sgRNA.tolist() == CELLS.sort_values(["tile", "y"]).sgRNA.tolist() and not renamed.quality
    for number, parts in enumerate(
        [(FIRST, SECOND.assign(cell_class="mitotic")), (FIRST.assign(cell_class="x"), SECOND)]
    ):
        assert len(read(3 + number, *parts, mitotic="drop")) == (32 if number == 0 else 64)
    framed = read(7, FIRST, SECOND.assign(cell_i=1.0, cell_j=1.0))  # of another frame, which not all parts have
    assert len(framed) == 64 and sorted(framed.to_pandas().y) == sorted(CELLS.y) and framed.quality[0].count == 2
    with pytest.raises(GrapeOpsError, match=r"part.1.parquet: The cell table has no column for:\n  plate"):
        read(5, FIRST, SECOND.drop(columns="plate"))
    with pytest.raises(GrapeOpsError, match=r"holds text in .*part.1.parquet and numbers in .*part.0.parquet"):
        read(6, FIRST.assign(foo=1.5), SECOND.assign(foo="x"))


def test_folders_named_by_values_give_columns(tmp_path: Path) -> None:
    for (plate, tile), own in CELLS.groupby(["plate", "tile"]):
        folder = tmp_path / "cells.parquet" / f"plate={plate}" / f"tile=00{tile}"
        folder.mkdir(parents=True)
        own.drop(columns=["plate", "tile"]).to_parquet(folder / "part-0.parquet", index=False)
    table = TableReader([tmp_path / "cells.parquet"], PLAIN).read()
    assert table.counts == TableReader([write_table_alone(tmp_path)], PLAIN).read().counts
    assert set(table.to_pandas().tile) == {f"00{tile}" for tile in CELLS.tile} and not table.quality


def write_table_alone(folder: Path) -> Path:
    CELLS.to_csv(folder / "alone.csv", index=False)
    return folder / "alone.csv"


@pytest.mark.parametrize("name", ["cells.csv", "cells.parquet"])
def test_blanks_around_the_names_of_columns_are_none(tmp_path: Path, name: str) -> None:
    table = CELLS.rename(columns={"plate": " plate ", "gene_symbol": "\ufeffgene_symbol"})
    table.to_csv(tmp_path / name, index=False) if name.endswith("csv") else table.to_parquet(tmp_path / name)
    assert {"plate", "gene_symbol"} <= set(TableReader([tmp_path / name], PLAIN).read().columns)
    both = table.assign(plate="P1")
    both.to_csv(tmp_path / name, index=False) if name.endswith("csv") else both.to_parquet(tmp_path / name)
    with pytest.raises(GrapeOpsError, match="the column 'plate' more than once"):
        TableReader([tmp_path / name], PLAIN).read()
