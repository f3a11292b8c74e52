"""No text of a table that people open in a spreadsheet is taken for a formula."""

import re
from pathlib import Path

import pandas as pd
import pytest

import grape_ops
from grape_ops.artifacts.spreadsheet import safe_text, spreadsheet_safe, without_mark
from grape_ops.groundtruth.readers import read_complexes


@pytest.mark.parametrize("text", ["=SUM(A1)", "+x", "-ctrl", "@me", "\t=1"])
def test_formulas_get_an_apostrophe_and_lose_it_again(text):
    assert safe_text(text) == "'" + text and without_mark("'" + text) == text


@pytest.mark.parametrize("value", ["-1.5", "+3", "-", "A-B", "5'UTR", "'quoted'", "", -2.0, None])
def test_all_else_stays(value):
    assert safe_text(value) == value and (not isinstance(value, str) or without_mark(value) == value)


def test_only_columns_of_text_change():
    table = pd.DataFrame({"gene_symbol": ["=A", "B"], "change": [-1.0, 2.0], "is_control": [True, False]})
    safe = spreadsheet_safe(table)
    assert safe["gene_symbol"].tolist() == ["'=A", "B"] and table["gene_symbol"].tolist() == ["=A", "B"]
    assert safe[["change", "is_control"]].equals(table[["change", "is_control"]])


def test_numbers_beside_gaps_are_written_as_before():
    table = pd.DataFrame({"n": pd.Series([1, None, 2], dtype=object), "kind": pd.Categorical(["-a", "b", None])})
    assert spreadsheet_safe(table).to_csv(index=False) == "n,kind\n1,'-a\n,b\n2,\n"


def test_a_written_truth_reads_back(tmp_path):
    table = pd.DataFrame({"gene_symbol": ["=A", "-B", "C"], "complex": ["+one"] * 3})
    spreadsheet_safe(table).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    assert read_complexes(tmp_path / "t.tsv") == {"+one": ["=A", "-B", "C"]}


def test_every_table_goes_through_it():
    for file in Path(grape_ops.__file__).parent.rglob("*.py"):
        for call in re.findall(r".*\.to_csv\(", file.read_text()):
            assert "spreadsheet_safe(" in call, f"{file.name}: {call.strip()}"
