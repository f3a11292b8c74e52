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
from grape_ops.screen.quality import doubts_of_columns
from grape_ops.screen.screen import Screen
from grape_ops.screen.spelling import doubts_of_names


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


def test_cells_of_a_barcode_quality_below_the_least_are_dropped(tmp_path: Path) -> None:
    table = CELLS.assign(Q_min_0=0.5)
    table.loc[FIRST, "Q_min_0"] = 0.49
    dropped = opened(tmp_path / "screen", table, min_barcode_quality=0.5)
    assert dropped.cells.to_pandas()[["y", "x"]].values.tolist() == CELLS.loc[~FIRST, ["y", "x"]].values.tolist()
    what = "cells of a barcode quality below the least"
    assert found(dropped, what) == (5, "dropped", "screen.min_barcode_quality")
    assert len(opened(tmp_path / "screen", table).cells) == 64


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


ONE_FORM = {
    "a zero-width space": ("KRAS", "KRAS\u200b"),
    "a soft hyphen": ("KRAS", "KR\u00adAS"),
    "a byte-order mark": ("KRAS", "\ufeffKRAS"),
    "NUL behind it": ("KRAS", "KRAS\0\0"),
    "a no-break space": ("nontargeting", "non\u00a0targeting"),
    "a no-break hyphen": ("nontargeting", "non\u2011targeting"),
    "a mark of direction": ("nontargeting", "\u200enontargeting"),
}


@pytest.mark.parametrize("form", ONE_FORM)
def test_what_nobody_sees_in_a_name_makes_no_other_gene(tmp_path: Path, form: str) -> None:
    name, written = ONE_FORM[form]
    table = CELLS.assign(gene_symbol=[written if gene == name else gene for gene in CELLS.gene_symbol])
    screen = opened(tmp_path / "screen", table)
    cells = screen.cells.to_pandas()
    assert cells.is_control.sum() == 16 and set(cells.gene_symbol) - {"non targeting", "non-targeting"} <= set(
        CELLS.gene_symbol
    )
    what = "cells whose gene_symbol was written with invisible characters or in another Unicode form "
    assert found(screen, f"{what}({ascii(written)[1:-1]})") == (16, "renamed", "")


def test_a_letter_in_two_unicode_forms_is_one_and_guides_of_a_library_are_found(tmp_path: Path) -> None:
    genes = CELLS.gene_symbol.replace("KRAS", "gen\u00e9")
    table = CELLS.assign(gene_symbol=genes.where(CELLS.index % 2 == 0, genes.str.replace("\u00e9", "e\u0301")))
    assert set(opened(tmp_path / "screen", table).cells.to_pandas().gene_symbol) == set(genes)
    library = CELLS[["sgRNA", "gene_symbol"]].drop_duplicates()
    library.assign(sgRNA=library.sgRNA + "\u200b").to_csv(tmp_path / "library.csv", index=False)
    screen = opened(tmp_path / "screen", CELLS.drop(columns="gene_symbol"), library=str(tmp_path / "library.csv"))
    assert screen.cells.to_pandas().gene_symbol.tolist() == CELLS.gene_symbol.tolist()
    assert [t.count for t in screen.cells.quality if t.what.startswith("names of the library that")] == [len(library)]


def test_a_control_character_within_a_name_leaves_no_name(tmp_path: Path) -> None:
    table = CELLS.assign(gene_symbol=CELLS.gene_symbol.where(~FIRST, "KR\0AS"))
    screen = opened(tmp_path / "screen", table)
    assert len(screen.cells) == 59 and found(screen, "cells without a gene or a guide")[0] == 5
    what = "cells whose gene_symbol holds control characters, and counts as missing (KR\\x00AS)"
    assert found(screen, what) == (5, "noted", "")


def test_names_that_differ_by_case_alone_are_doubtful() -> None:
    assert doubts_of_names(["PSMA1", "psma1", "KRAS"], ["kras"]) == [
        "Counted apart, though they differ by case or leading zeros alone: PSMA1 and psma1. If they mean the same, "
        "write them alike in the table, or name a table of both as screen.aliases."
    ]


def doubts(screen: Screen) -> list[str]:
    return doubts_of_columns(screen.cells.quality)


@pytest.mark.parametrize(("yes", "no"), [(True, False), ("TRUE", "FALSE"), ("yes", "no"), (1, 0), ("1", "")])
def test_a_column_is_control_marks_controls_and_contradictions_are_told(
    tmp_path: Path, yes: object, no: object
) -> None:
    plain, control = CELLS.gene_symbol.replace("nontargeting", "AAVS1"), CELLS.gene_symbol == "nontargeting"
    table = CELLS.assign(gene_symbol=plain, Is_Control=[yes if own else no for own in control])
    screen = opened(tmp_path / "screen", table)
    assert screen.cells.to_pandas().is_control.tolist() == control.tolist() and not doubts(screen)
    assert found(screen, "cells that Is_Control makes controls, not their name (AAVS1)") == (16, "noted", "")
    marked = [yes if own else no for own in CELLS.gene_symbol == "KRAS"]
    other = opened(tmp_path / "screen", CELLS.assign(is_control=marked))
    assert set(other.cells.to_pandas().query("is_control").gene_symbol) == {"KRAS", "nontargeting"}
    assert (
        doubts(other) == []
        if no == ""
        else [
            "16 cells named like controls that is_control calls none; they count as controls (nontargeting): "
            "see screen.control_pattern."
        ]
    )


@pytest.mark.parametrize(
    "role", ["non-targeting control", "CONTROL ", "Negative Control", "neg_ctrl", "NTC", "control"]
)
def test_roles_in_the_words_of_the_field_mark_controls(tmp_path: Path, role: str) -> None:
    plain, control = CELLS.gene_symbol.replace("nontargeting", "AAVS1"), CELLS.gene_symbol == "nontargeting"
    table = CELLS.assign(gene_symbol=plain, role=control.map({True: role, False: "targeting"}))
    assert opened(tmp_path / "screen", table).cells.to_pandas().is_control.tolist() == control.tolist()
    library = table[["sgRNA", "gene_symbol", "role"]].drop_duplicates()
    library.to_csv(tmp_path / "library.csv", index=False)
    bare = CELLS.drop(columns="gene_symbol")
    screen = opened(tmp_path / "screen", bare, library=str(tmp_path / "library.csv"))
    assert screen.cells.to_pandas().is_control.tolist() == control.tolist()
    strange = opened(
        tmp_path / "screen", CELLS.assign(role=CELLS.gene_symbol.map({"KRAS": "decoy"}).fillna("targeting"))
    )
    assert doubts(strange)[0] == (
        "16 cells whose role says neither that they are controls nor that they are none (decoy)."
    )


def test_a_library_that_contradicts_the_table_is_doubtful(tmp_path: Path) -> None:
    library = CELLS[["sgRNA", "gene_symbol"]].drop_duplicates()
    library["gene_symbol"] = library.gene_symbol.replace({"KRAS": "TP53", "TP53": "KRAS"})
    library.to_csv(tmp_path / "library.csv", index=False)
    named = CELLS.assign(gene_symbol=CELLS.gene_symbol.replace("nontargeting", "NTC_1"))
    screen = opened(tmp_path / "screen", named, library=str(tmp_path / "library.csv"))
    (doubt,) = doubts(screen)
    assert doubt.startswith("32 cells whose gene the library gives otherwise, which counts (")
    assert "TP53 of the table is KRAS in the library" in doubt and doubt.endswith("see screen.library.")


def test_a_guide_of_two_genes_is_doubtful(tmp_path: Path) -> None:
    guide = CELLS.sgRNA[CELLS.gene_symbol == "KRAS"].iloc[0]
    genes = CELLS.gene_symbol.copy()
    genes[CELLS.index[CELLS.sgRNA == guide][-1]] = "TP53"
    table = CELLS.assign(gene_symbol=genes)
    expected = [f"1 guide that the cell table gives to several genes ({guide}: KRAS, TP53)."]
    assert doubts(opened(tmp_path / "screen", table)) == expected
