"""A table of features counts for the cells that a method is given, and for no others."""

import numpy as np
import pandas as pd
import pytest

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, NOTES, Task
from grape_ops.methods.method import Method
from grape_ops.power.split_half import draw_halves, split_half, write_half

GENES = [f"G{i:02d}" for i in range(12)]
CELLS = 40  # of each gene and, twice, of controls


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    rng = np.random.default_rng(0)
    genes = np.array([*GENES, "nontargeting", "nontargeting"] * CELLS)
    wells = np.where(np.arange(len(genes)) % 4 < 2, "A1", "A2")
    cells = pd.DataFrame({"gene_symbol": genes, "sgRNA": genes, "plate": "1", "well": wells, "tile": "3"})
    cells["is_control"] = genes == "nontargeting"
    cells["batch"], cells["shard"] = cells["plate"] + "|" + wells, wells
    cells["row"] = cells.groupby("shard").cumcount()
    cells["cell_id"] = np.arange(len(cells)) + 7
    cells["y"], cells["x"] = rng.uniform(0, 999, (2, len(cells)))
    shards = {well: np.full(((wells == well).sum(), 1, 8, 8), 9, np.uint16) for well in ("A1", "A2")}
    folder = tmp_path_factory.mktemp("cells") / "store"
    write_store(folder, shards, cells, ("DNA",))
    return CropStore.open(folder)


def table_of(store: CropStore, seed: int = 0) -> pd.DataFrame:
    """Noise for every cell of the store, in another order, with the cells of another well beside them."""
    rng = np.random.default_rng(seed)
    table = store.cells[["gene_symbol", "plate", "well", "tile", "cell_id", "y", "x"]].astype({"plate": int})
    other = table.assign(well="B3")
    table = pd.concat([table, other]).sample(frac=1, random_state=seed)
    noise = pd.DataFrame(rng.normal(size=(len(table), 6)), table.index, [f"feature_{i}" for i in range(6)])
    return pd.concat([table, noise], axis=1)


def task(store: CropStore, tmp_path, table: pd.DataFrame, **more) -> Task:
    table.to_csv(tmp_path / "t.csv", index=False)
    settings = {"table": str(tmp_path / "t.csv"), **more}
    return Task(store, parse_config({"baselines": {"profiles": settings}}, "test"), 0, tmp_path)


profiles: Method = METHODS["profiles"]


def half_of(store: CropStore, tmp_path, half: int = 0) -> CropStore:
    write_half(store, draw_halves(store, 0) == half, tmp_path / f"half{half}")
    return CropStore.open(tmp_path / f"half{half}")


@pytest.mark.parametrize("without", [["y", "x"], ["cell_id"]])
def test_a_half_is_made_from_its_own_cells_however_the_table_is_ordered(store, tmp_path, without):
    half = half_of(store, tmp_path)
    table = table_of(store).drop(columns=without)
    own = table[(table["well"] != "B3") & table.index.isin(half.cells["source"])]
    wells = own.assign(well=own["well"].str.replace("A", "a0"))  # A1 and a01 are the same well
    for part in (table, own.sample(frac=1, random_state=5), wells):
        made = profiles.run(task(half, tmp_path, part))
        others = len(part) - len(half)
        assert made.uns[NOTES][1:] == [f"{others} rows of t.csv are no cells of the store"] * (others > 0)
        assert made.uns["features"]["cells"] == len(half)
        if part is table:
            first = made.X
        np.testing.assert_allclose(np.abs(made.X), np.abs(first), atol=1e-4)
    other = profiles.run(task(half_of(store, tmp_path, 1), tmp_path, table))
    assert other.shape != first.shape or not np.allclose(np.abs(other.X), np.abs(first), atol=1e-2)


@pytest.mark.usefixtures("jobs_in_this_process")
def test_pure_noise_is_not_reproduced_by_trust(store, tmp_path):
    config = task(store, tmp_path, table_of(store)).config
    said = split_half(store.path, tmp_path / "trust", ["profiles"], config, at_a_time=1)
    figures = pd.read_csv(tmp_path / "trust" / "reproducibility.tsv", sep="\t").iloc[0]
    assert said["method"].tolist() == ["profiles"] == [figures["method"]]
    assert abs(figures["correlation"]) < 0.35 and figures["p_value"] > 0.01


def test_rows_that_are_no_cells_of_the_store_are_refused_in_words(store, tmp_path):
    table = table_of(store)
    cases = {
        "neither an id of the cell .* nor coordinates": table.drop(columns=["cell_id", "y", "x"]),
        "cell_id: 0 of the store's 560 cells are found": table.drop(columns=["y", "x"]).assign(cell_id=table["y"]),
        "no column for well.*cell_id: several rows of the table have the same": table.drop(columns=["well"]),
        "name another gene": table.assign(gene_symbol=np.roll(table["gene_symbol"], 1)),
    }
    for words, wrong in cases.items():
        with pytest.raises(GrapeOpsError, match=words):
            profiles.check_inputs(store, task(store, tmp_path, wrong).config)


def test_cells_without_a_row_are_counted(store, tmp_path):
    table = table_of(store)
    made = profiles.run(task(store, tmp_path, table[(table["well"] != "A2") | (table["cell_id"] % 3 > 0)]))
    lost, other = made.uns[NOTES][-2:]
    assert lost == "93 of 560 cells are not in t.csv" and other == "560 rows of t.csv are no cells of the store"
    assert len(made) == len(GENES) + 1


def test_a_table_of_another_screen_is_refused(store, tmp_path):
    table = table_of(store)
    renamed = {gene: f"OTHER{gene}" for gene in GENES[1:]}
    for match in ("cells", "genes"):
        with pytest.raises(GrapeOpsError, match="name another gene|rows of 1 of the store's 12 genes"):
            profiles.run(task(store, tmp_path, table.replace({"gene_symbol": renamed}), match=match))


def test_rows_that_count_by_gene_are_said_to_and_make_no_halves(store, tmp_path):
    by_gene = task(store, tmp_path, table_of(store).drop(columns=["plate", "well"]), match="genes")
    notes = profiles.run(by_gene).uns[NOTES]
    assert "not matched to the store's cells" in notes[-2]
    assert "no column for plate and well, so all rows are one batch" in notes[-1]
    with pytest.raises(GrapeOpsError, match="both halves of the cells would be the same table"):
        split_half(store.path, tmp_path / "trust", ["profiles"], by_gene.config)
    assert not (tmp_path / "trust" / "work").exists()


def test_tiles_and_plates_padded_with_zeros_are_found(store, tmp_path):
    table = table_of(store)
    padded = table.drop(columns="cell_id").assign(tile="003", plate="0001", well=table["well"] + "\u200b")
    made = profiles.run(task(store, tmp_path, padded))
    plain = profiles.run(task(store, tmp_path, table.drop(columns="cell_id")))
    np.testing.assert_allclose(made.X, plain.X)
    both = padded.drop(columns=["y", "x"]).assign(cell_id=table["cell_id"], tile=np.arange(len(table)) % 2)
    other = both.assign(tile=both["tile"].map({0: "T03", 1: "T3"}))
    with pytest.raises(
        GrapeOpsError, match=r"0 of the store's 560 cells are found \(the table begins with 0*1 .* T0?3 "
    ):
        profiles.check_inputs(store, task(store, tmp_path, other).config)


def test_genes_with_what_nobody_sees_are_the_stores(store, tmp_path):
    table = table_of(store)
    for match in ("cells", "genes"):
        written = table.assign(gene_symbol=table["gene_symbol"] + "\u200b")
        made = profiles.run(task(store, tmp_path, written, match=match))
        assert not any("another gene" in said or "not in the table" in said for said in made.uns[NOTES])


def test_ids_that_the_store_lacks_are_no_features_and_what_is_left_out_is_said(store, tmp_path):
    table = table_of(store)
    more = table.assign(object_id=np.arange(len(table)), operator="Ann", nucleus_id=7)
    made = profiles.run(task(store, tmp_path, more))
    assert made.uns["features"]["features"] == 6
    assert "1 column of t.csv without numbers left out: operator" in made.uns[NOTES]
