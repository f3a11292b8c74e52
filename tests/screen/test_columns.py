"""Finding our columns in a user's table, and telling controls from genes."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.columns import detect_columns
from grape_ops.screen.guide_library import find_controls, is_control, no_controls

PATTERN = ScreenSettings().control_pattern
DATA = Path(os.environ.get("GRAPE_OPS_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))

FUNK = ["sgRNA_0", "gene_symbol_0", "gene_id_0", "plate", "well", "tile", "cell_i", "cell_j", "class_predict_1"]
BRIEFLOW = [
    "plate",
    "well",
    "tile",
    "cell_0",
    "i_0",
    "j_0",
    "gene_symbol_0",
    "gene_id_0",
    "cell_barcode_0",
    "Q_min_0",
    "class",
]
STANDARD = ["plate", "well_row", "well_col", "tile", "x", "y", "cell_uid", "barcode", "perturbation_id"]
PERISCOPE = [
    "Metadata_Foci_plate",
    "Metadata_Foci_well",
    "Metadata_Foci_site_location",
    "Metadata_Foci_Barcode_MatchedTo_Barcode",
    "Metadata_Foci_Barcode_MatchedTo_GeneCode",
    "Cells_AreaShape_Center_X",
    "Cells_AreaShape_Center_Y",
]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (FUNK, {"gene_symbol": ("gene_symbol_0",), "sgRNA": ("sgRNA_0",), "y": ("cell_i",), "x": ("cell_j",)}),
        (BRIEFLOW, {"sgRNA": ("cell_barcode_0",), "y": ("i_0",), "x": ("j_0",)}),
        (STANDARD, {"gene_symbol": ("perturbation_id",), "well": ("well_row", "well_col"), "y": ("y",)}),
        (PERISCOPE, {"tile": ("Metadata_Foci_site_location",), "y": ("Cells_AreaShape_Center_Y",)}),
    ],
    ids=["funk", "brieflow", "ops-standard", "periscope"],
)
def test_the_fields_own_tables_are_recognised(present: list[str], expected: dict) -> None:
    found = detect_columns(present, {})
    assert set(found) - {"class"} == {"gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x"}
    assert expected.items() <= found.items()


def test_first_hit_wins_and_the_user_wins_over_it() -> None:
    present = ["gene", "gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x", "mine"]
    assert detect_columns(present, {})["gene_symbol"] == ("gene_symbol",)
    assert detect_columns(present, {"gene_symbol": "mine"})["gene_symbol"] == ("mine",)


def test_coordinates_come_in_pairs() -> None:
    present = ["gene", "sgRNA", "plate", "well", "tile", "cell_i", "y", "x"]
    found = detect_columns(present, {})
    assert found["y"] == ("y",) and found["x"] == ("x",)


def test_missing_columns_are_named_with_what_was_there_and_what_mends_it() -> None:
    with pytest.raises(GrapeOpsError) as caught:
        detect_columns(["gene", "plate", "well", "y", "x", "guide_name"], {})
    message = str(caught.value)
    assert "sgRNA" in message and "tile (looked for tile, site" in message
    assert "guide_name" in message and "--set screen.columns.sgRNA=" in message
    assert "pair" not in message
    with pytest.raises(GrapeOpsError, match="y and x are only taken as a pair"):
        detect_columns(["gene", "sgRNA", "plate", "well", "tile", "pos_y", "x"], {})


def test_wrong_overrides_are_refused() -> None:
    with pytest.raises(GrapeOpsError, match="none of our columns"):
        detect_columns(FUNK, {"genes": "gene_symbol_0"})
    with pytest.raises(GrapeOpsError, match="which the cell table does not have"):
        detect_columns(FUNK, {"sgRNA": "guide"})
    with pytest.raises(GrapeOpsError, match="names y but not x; coordinates come in pairs"):
        detect_columns(FUNK, {"y": "cell_i"})


@pytest.mark.parametrize(
    "name",
    [
        "nontargeting",
        "non-targeting",
        "Non_Targeting_3",
        "nontargeting_AACCT",
        "NONTARGET",
        "NTC",
        "ntc_12",
        "NTC-A7",
        "NTC12",
        "NTCs",
        "negative_control",
        "neg_ctrl",
        "neg-control-2",
        "safe_targeting",
        "safe-harbor",
        "intergenic",
        "intergenic_4",
    ],
)
def test_controls_are_recognised(name: str) -> None:
    assert is_control(pd.Series([name]), PATTERN).all()


@pytest.mark.parametrize(
    "name", ["NONO", "NTCP", "NT5C", "NTF3", "NEGR1", "SAFB", "SAFB2", "INTS1", "NEDD4", "TARGET", "NCOA1"]
)
def test_genes_are_no_controls(name: str) -> None:
    assert not is_control(pd.Series([name]), PATTERN).any()


def test_no_gene_of_a_real_library_is_taken_for_a_control() -> None:
    file = DATA / "funk2022" / "barcode_library.tsv"
    if not file.is_file():
        pytest.skip("the real library is not on this machine")
    genes = pd.read_csv(file, sep="\t").gene_symbol
    found = is_control(genes, PATTERN)
    assert genes[found].str.startswith("nontargeting").all()
    assert found.sum() == 250


def test_gene_id_and_role_mark_controls_too() -> None:
    table = pd.DataFrame({"gene_id": [-1, 5, 7.0], "role": ["targeting", "targeting", "Control"]})
    assert find_controls(table, pd.Series(["A", "B", "C"]), PATTERN).tolist() == [True, False, True]
    text = pd.DataFrame({"gene_id_0": ["-1", "5"]})
    assert find_controls(text, pd.Series(["A", "B"]), PATTERN).tolist() == [True, False]


def test_a_screen_without_controls_says_which_genes_it_has() -> None:
    assert re.search(r"begin with: AAVS1, KRAS.*screen.control_pattern", str(no_controls(["KRAS", "AAVS1"], PATTERN)))
    found = find_controls(pd.DataFrame(index=range(2)), pd.Series(["KRAS", "AAVS1"]), "^aavs")
    assert found.tolist() == [False, True]


def test_a_broken_pattern_is_named() -> None:
    with pytest.raises(GrapeOpsError, match="not a regular expression"):
        is_control(pd.Series(["A"]), "(")
