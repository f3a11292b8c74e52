"""Dirt of real tables: each kind is counted, and kept or dropped as its setting says."""

from pathlib import Path

import pandas as pd
import pytest
from layout_writers import draw_screen, write_table

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings, PreprocessSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Screen


def opened(root: Path, table: pd.DataFrame, table_folder: Path | None = None, **settings: object) -> Screen:
    drawn = draw_screen()
    if not root.exists():
        write_table(root, drawn)
    table.to_parquet(root / "cells.parquet", index=False)
    return open_screen(root, ScreenSettings(**settings), table_folder)


def found(screen: Screen, what: str) -> tuple[int, str, str]:
    tally = next(tally for tally in screen.cells.quality if tally.what == what)
    return tally.count, tally.fate, tally.setting


CELLS = draw_screen().cells
FIRST = CELLS.index < 5


@pytest.mark.parametrize(
    ("column", "bad", "good", "what", "setting"),
    [
        ("sgRNA_1", "T" * 20, "", "cells with two barcodes", "double_barcodes"),
        ("mapped_single_gene", False, True, "cells with two barcodes", "double_barcodes"),
        ("Metadata_Foci_Cell_Quality", "Bad", "Great", "cells whose call is not Perfect or Great", "low_quality"),
        ("cell_class", "Mitotic", "interphase", "mitotic cells", "mitotic"),
        ("gene_symbol", "unknown", CELLS.gene_symbol, "cells of unknown genes", "unknown_genes"),
    ],
)
def test_each_kind_is_dropped_or_kept(
    tmp_path: Path, column: str, bad: object, good: object, what: str, setting: str
) -> None:
    table = CELLS.copy()
    table[column] = good
    table.loc[FIRST, column] = bad
    dropped = opened(tmp_path / "screen", table, **{setting: "drop"})
    assert len(dropped.cells) == 59 and found(dropped, what) == (5, "dropped", f"screen.{setting}")
    kept = opened(tmp_path / "screen", table, **{setting: "keep"})
    assert len(kept.cells) == 64 and found(kept, what) == (5, "kept", f"screen.{setting}")


def test_rows_that_a_join_multiplied_come_once(tmp_path: Path) -> None:
    table = pd.concat([CELLS, CELLS[CELLS.gene_symbol == "nontargeting"]] + [CELLS[FIRST]] * 3, ignore_index=True)
    screen = opened(tmp_path / "screen", table)
    assert screen.cells.to_pandas().drop(columns="is_control").equals(CELLS)
    assert found(screen, "rows that repeat a cell") == (31, "dropped", "screen.repeated_cells")
    parted = opened(tmp_path / "screen", table, table_folder=tmp_path / "cells")
    assert parted.cells.quality == screen.cells.quality and len(parted.cells) == 64


def test_one_place_with_two_genes_has_two_barcodes(tmp_path: Path) -> None:
    other = CELLS[FIRST].assign(gene_symbol="EZH2", sgRNA="T" * 20)
    screen = opened(tmp_path / "screen", pd.concat([CELLS, other], ignore_index=True))
    assert found(screen, "cells with two barcodes") == (10, "dropped", "screen.double_barcodes")
    assert len(screen.cells) == 59


def test_two_barcodes_of_one_gene_are_one_story(tmp_path: Path) -> None:
    table = CELLS.assign(sgRNA_1="T" * 20, gene_symbol_1=CELLS.gene_symbol)
    assert len(opened(tmp_path / "screen", table).cells) == 64


def test_ghost_guides_are_told_and_dropped_on_demand(tmp_path: Path) -> None:
    ghost = pd.concat([CELLS.iloc[[0]].assign(sgRNA="G" * 20, y=40 + n / 10) for n in range(300)])
    table = pd.concat([CELLS, ghost], ignore_index=True)
    assert found(opened(tmp_path / "screen", table), "cells of ghost guides")[:2] == (300, "kept")
    dropped = opened(tmp_path / "screen", table, ghost_guides="drop")
    assert len(dropped.cells) == 64
    assert len(opened(tmp_path / "screen", table, ghost_guides="drop", ghost_factor=50).cells) == 364


def test_a_library_names_genes_once_and_counts_what_it_lacks(tmp_path: Path) -> None:
    library = CELLS[["sgRNA", "gene_symbol"]].drop_duplicates().rename(columns={"gene_symbol": "gene"})
    library = library[library.gene != "TP53"]
    twice = pd.concat([library, library.iloc[:3], library.iloc[[0]].assign(gene="EZH2")])
    twice.to_csv(tmp_path / "library.csv", index=False)
    table = CELLS.drop(columns="gene_symbol")
    screen = opened(tmp_path / "screen", table, library=str(tmp_path / "library.csv"))
    assert found(screen, "rows of the library that repeat a guide")[:2] == (4, "merged")
    assert found(screen, "guides that the library gives to several genes")[0] == 1
    assert found(screen, "cells of unknown genes") == (16, "dropped", "screen.unknown_genes")
    expected = CELLS[CELLS.gene_symbol != "TP53"].reset_index(drop=True)
    assert screen.cells.to_pandas().gene_symbol.tolist() == expected.gene_symbol.tolist()


def test_retired_symbols_are_renamed_and_counted(tmp_path: Path) -> None:
    (tmp_path / "aliases.tsv").write_text("alias\tsymbol\nNONO\tNRB54\n")
    screen = opened(tmp_path / "screen", CELLS, aliases=str(tmp_path / "aliases.tsv"))
    assert found(screen, "cells of retired gene symbols") == (16, "renamed", "screen.aliases")
    assert set(screen.cells.to_pandas().gene_symbol) == {"KRAS", "NRB54", "TP53", "nontargeting"}


def test_everything_dropped_says_why(tmp_path: Path) -> None:
    with pytest.raises(GrapeOpsError, match="64 cells of unknown genes"):
        opened(tmp_path / "screen", CELLS.assign(gene_symbol="unknown"))


@pytest.mark.parametrize("in_files", [False, True])
def test_everything_dropped_by_what_compares_rows_says_why(tmp_path: Path, in_files: bool) -> None:
    twice = pd.concat([CELLS, CELLS.assign(gene_symbol="EZH2", sgRNA="T" * 20)], ignore_index=True)
    with pytest.raises(GrapeOpsError, match=r"is left: 128 cells with two barcodes \(screen.double_barcodes\)"):
        opened(tmp_path / "screen", twice, table_folder=tmp_path / "cells" if in_files else None)


def test_wide_tables_bring_only_the_columns_that_count(tmp_path: Path) -> None:
    features = pd.DataFrame({f"nucleus_dapi_{n}": 0.5 for n in range(60)}, index=CELLS.index)
    table = pd.concat([CELLS.assign(day="d1"), features], axis=1)
    assert "day" not in opened(tmp_path / "screen", table).cells
    screen = opened(tmp_path / "screen", table, keep_columns=("day",))
    cells = screen.cells.to_pandas()
    assert "day" in cells and "nucleus_dapi_3" not in cells


def test_the_counts_reach_the_store(tmp_path: Path) -> None:
    table = CELLS.assign(gene_symbol=CELLS.gene_symbol.where(~FIRST, "unknown"))
    settings = PreprocessSettings(crop_size=32, workers=1, flat_field=FlatFieldSettings(enabled=False))
    report = preprocess(opened(tmp_path / "screen", table), tmp_path / "store", settings)
    assert {"what": "cells of unknown genes", "count": 5, "fate": "dropped", "setting": "screen.unknown_genes"} in (
        report.quality["table"]
    )
    assert len(CropStore.open(tmp_path / "store").cells) == 59
