import pickle
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.cells.where import Condition
from grape_ops.errors import GrapeOpsError

CELLS = pd.DataFrame(
    {
        "gene_symbol": ["TP53", "ACTB", "ACTB", "NTC1", "NTC2"],
        "sgRNA": ["t1", "a1", "a2", "n1", "n2"],
        "plate": ["1", "2", "10", "1", "2"],
        "class": ["mitotic", "interphase", None, "interphase", "mitotic"],
        "cell area": [10.0, 20.0, np.nan, 40.0, 50.0],
        "n_spots": [1, 2, 3, 4, 5],
        "long_id": [2**60 + 1, 2**60 + 2, 2**60 + 3, 2**60 + 4, 2**60 + 5],
        "score": np.array([0.1, 0.2, 0.1, np.nan, 0.4], np.float32),
        "area_µm2": [1, 2, 3, 4, 5],
        "good": [True, False, True, True, False],
        "is_control": [False, False, False, True, True],
    }
)


def meant(text: str) -> list[int]:
    condition = Condition(text, list(CELLS))
    rows = np.flatnonzero(condition.mask(CELLS)).tolist()
    condition.check_values()
    again = Condition(str(condition), list(CELLS))
    assert str(again) == str(condition) and np.flatnonzero(again.mask(CELLS)).tolist() == rows
    return rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('plate == "1"', [0, 3]),
        ("plate in [1, 10]", [0, 2, 3]),
        ('plate != "2" and n_spots > 1', [2, 3]),
        ('"2" == plate or 5 <= n_spots', [1, 4]),
        ("not (plate == '1' or n_spots < 3)", [2, 4]),
        ("1 < n_spots <= 4", [1, 2, 3]),
        ("n_spots in (1, 5)", [0, 4]),
        (f"long_id == {2**60 + 3}", [2]),
        (f"long_id > {2**60 + 3}", [3, 4]),
        ("n_spots == 2.5 or n_spots >= 4.5", [4]),
        (f"long_id not in [{2**60 + 3}, 0.5]", [0, 1, 3, 4]),
        ("score == 0.1", [0, 2]),
        ("score > 0.1", [1, 4]),
        ("score in [0.1, 0.4]", [0, 2, 4]),
        ("area_µm2 > 3", [3, 4]),
        ("good", [0, 2, 3]),
        ("not good", [1, 4]),
        ("good == False", [1, 4]),
    ],
)
def test_comparisons_choose_cells(text, rows):
    assert meant(text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('gene == "TP53"', [0, 3, 4]),
        ('gene in ["TP53"] and plate == "1"', [0, 3]),
        ('guide == "a2"', [2, 3, 4]),
        ('gene != "ACTB"', [0, 3, 4]),
        ('not gene == "ACTB"', [0, 3, 4]),
        ('gene != "NTC1"', [0, 1, 2, 4]),
        ('guide not in ["n2", "a1"]', [0, 2, 3]),
        ('gene != "nontargeting"', [0, 1, 2]),
        ("not is_control", [0, 1, 2]),
    ],
)
def test_controls_stay_unless_they_are_excluded_by_name(text, rows):
    assert meant(text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('class == "interphase"', [1, 3]),
        ('class != "interphase"', [0, 2, 4]),
        ("not (class == 'interphase')", [0, 2, 4]),
        ("`cell area` > 5", [0, 1, 3, 4]),
        ("not `cell area` > 15", [0]),
        ('class == "mitotic" and gene == "TP53"', [0, 4]),
    ],
)
def test_any_column_is_compared_and_missing_values_fulfil_only_unequal(text, rows):
    assert meant(text) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour == 'red'", "no column colour. It has gene_symbol, sgRNA, plate, class, cell area"),
        ("plate == P1", "P1 is no value; text needs quotes"),
        ('plate == "3"', "no cell has plate 3. There are 1, 10, 2"),
        ('gene == "ACTBB"', "There are ACTB, NTC1"),
        ('plate < "2"', "no order"),
        ('n_spots == "1"', "leave out the quotes"),
        ("plate", "compare it with a value"),
        ("good == 1", "write it alone"),
        ('plate in "12"', "takes a list"),
        ("plate in []", "takes a list"),
        ("n_spots + 1 > 2", "n_spots + 1 is no column"),
        ("plate is None", "`is` compares nothing"),
        ("plate == '1' if good else good", "is no comparison"),
        ("__import__('os').getcwd() == '1'", "is no column"),
        ("[p for p in plate]", "is no comparison"),
        ("plate ==", "cannot be read"),
        ("(" * 5000, "cannot be read"),
        ("", "is no comparison"),
    ],
)
def test_what_is_no_comparison_of_columns_is_refused_in_words(text, words):
    with pytest.raises(GrapeOpsError) as refused:
        meant(text)
    assert words in str(refused.value)


def test_subset_reads_its_cells_and_standardises_them_as_the_whole_store_does(tiny_store):
    subset = tiny_store.subset('well == "A2" and gene != "BBB"')
    rows = np.flatnonzero((tiny_store.cells["well"] == "A2") & (tiny_store.cells["gene_symbol"] != "BBB"))
    assert subset.perturbations == ("AAA", "CCC", "DDD", "nontargeting") and subset.batches == ("P1|A2",)
    assert subset.where == "well == 'A2' and gene_symbol != 'BBB'"
    assert subset.cells["gene_symbol"].tolist() == tiny_store.cells["gene_symbol"].iloc[rows].tolist()
    assert np.array(subset.perturbations)[subset.labels].tolist() == subset.cells["gene_symbol"].tolist()
    every = slice(None)
    assert (subset.read(every) == tiny_store.read(rows)).all() and len(subset) == len(rows)
    assert (subset.standardized(every) == tiny_store.standardized(rows)).all()
    assert subset.meta["n_cells"] == len(rows) and subset.meta["batches"][0]["controls"] == 8


def test_subset_is_another_identity_and_opens_the_same_elsewhere(tiny_store):
    subset = CropStore.open(tiny_store.path, where='well=="A2"')
    twice = CropStore.open(tiny_store.path, where="gene != 'AAA'").subset('well == "A2"')
    known = [store_fingerprint(store) for store in (tiny_store, subset, twice)]
    assert len(set(known)) == 3 and store_fingerprint(tiny_store.subset("well == 'A2'")) == known[1]
    for store in (subset, twice, subset.within("gene == 'AAA'")):
        copy = pickle.loads(pickle.dumps(store))
        assert store_fingerprint(copy) == store_fingerprint(store)
        assert (copy.labels == store.labels).all() and (copy.read([0, 3]) == store.read([0, 3])).all()


def test_cells_within_a_run_keep_its_perturbations(tiny_store):
    run = tiny_store.subset("gene != 'AAA'")
    some = run.within("gene == 'CCC' and well == 'A1'")
    assert some.perturbations == run.perturbations
    assert {some.perturbations[label] for label in some.labels} == {"CCC", "nontargeting"}
    labels, here = some.run_cells
    assert (labels == run.labels).all() and (labels[here] == some.labels).all()


def test_subsets_of_subsets_of_a_run_are_the_same_cells_in_another_process(tiny_store):
    run = tiny_store.subset("gene != 'AAA'")
    some = run.within("gene in ['BBB', 'CCC']")
    for fewer in (some.within("well == 'A1'"), some.subset("well == 'A1'")):
        copy = pickle.loads(pickle.dumps(fewer))
        genes = set(fewer.cells.loc[~fewer.cells["is_control"], "gene_symbol"])
        assert genes == {"BBB", "CCC"} and set(fewer.cells["well"]) == {"A1"}
        assert copy.cells.equals(fewer.cells) and store_fingerprint(copy) == store_fingerprint(fewer)
    labels, here = some.within("well == 'A1'").run_cells
    assert (labels == run.labels).all() and (labels[here] == some.within("well == 'A1'").labels).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("is_control", "leaves 0 cells of genes and 16 control cells"),
        ("y > 1000", "leaves 0 cells of genes and 0 control cells"),
        ("gene != 'nontargeting'", "unless they exclude them by name"),
        ("well == 'A1' or gene == 'AAA' and not is_control", "leaves 1 batch without control cells: P1|A2"),
    ],
)
def test_subsets_that_nothing_can_be_made_of_are_refused(tiny_store, text, words):
    with pytest.raises(GrapeOpsError) as refused:
        tiny_store.subset(text)
    assert words in str(refused.value)


def test_no_text_ends_in_a_traceback_or_a_warning():
    words = [
        "gene",
        "plate",
        "class",
        "`cell area`",
        "n_spots",
        "good",
        "x",
        "==",
        "<=",
        "in",
        "not",
        "and",
        "or",
        "is",
    ]
    words += [
        "(",
        ")",
        "[",
        "]",
        "`",
        '"1"',
        "'",
        "-1",
        "9" * 400,
        "1e999",
        "None",
        "b'x'",
        "lambda: 1",
        "\x00",
        "'\\d'",
    ]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, rng.integers(1, 8))) for _ in range(500)]
    texts += [f"n_spots == {'9' * 400}", "(" * 5000, "not " * 5000 + "good", "n_spots is 1", "class == '\\d'"]
    with warnings.catch_warnings(action="error"):
        for text in texts:
            with suppress(GrapeOpsError):
                Condition(text, list(CELLS)).mask(CELLS)
    with pytest.raises(GrapeOpsError, match="too large"):
        Condition(f"n_spots < -{'9' * 400}", list(CELLS))
