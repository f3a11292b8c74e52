"""A subset of a store in all that reads cells: where it is asked for, what it makes, what is written of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import grape_ops as go
from grape_ops.api.inputs import settings_of, store_of
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.cli import app
from grape_ops.config import Config, EvaluateSettings, load_config
from grape_ops.embed import run_store
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import read_map
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.groundtruth.truth import GroundTruth
from grape_ops.methods import METHODS, Task
from grape_ops.methods.cell_vectors import match_file
from grape_ops.power.split_half import draw_halves, split_half, write_half
from grape_ops.restyle.sampling import rows_of_genes, unseen_cells
from grape_ops.train.run_folder import Run, open_run, prepare_run

WHERE = "well == 'A2' and gene != 'BBB'"
OF_A_RUN = ("report", "figures", "explore")  # they show what the run was trained on


@pytest.fixture(scope="module")
def subset(tiny_store: CropStore) -> CropStore:
    return CropStore.open(tiny_store.path, where=WHERE)


@pytest.fixture
def run(subset: CropStore, tiny_config: Config, tmp_path: Path) -> Run:
    """A run of the subset, as it is before its first step."""
    held_out = tiny_config.model_copy(
        update={"where": WHERE, "train": tiny_config.train.model_copy(update={"holdout": 0.4})}
    )
    return prepare_run(tmp_path / "run", subset, held_out, None, resume=False)


def test_every_command_that_reads_cells_takes_where():
    commands = typer.main.get_command(app).commands
    reads = {name for name, command in commands.items() if {"store", "run"} & {p.name for p in command.params}}
    takes = {name for name, command in commands.items() if "where" in {p.name for p in command.params}}
    assert takes == reads - {*OF_A_RUN} | {"embed", "export"} and "train" in takes


def test_hits_and_vectors_are_of_the_subset_and_say_so(tiny_store, subset, tmp_path, monkeypatch):
    for drawn in ("volcano_figure", "channels_figure", "save_figure"):  # figures take seconds
        monkeypatch.setattr(f"grape_ops.hits.write_hits.{drawn}", lambda *_, **__: None)
    for words, out in ((["hits"], "hits"), (["baseline", "statistics"], "m.h5ad")):
        call = [*words, str(tiny_store.path), "--out", str(tmp_path / out), "--where", WHERE]
        answer = CliRunner().invoke(app, call)
        assert answer.exit_code == 0, (answer.output, answer.exception)
    facts = json.loads((tmp_path / "hits" / "hits.json").read_text())
    assert (facts["where"], facts["store"]) == (subset.where, store_fingerprint(subset))
    vectors = go.run_method("statistics", subset)
    made = read_map(tmp_path / "m.h5ad")
    assert list(vectors.obs_names) == ["AAA", "CCC", "DDD", "nontargeting"] and vectors.uns["where"] == subset.where
    assert vectors.obs["n_cells"].tolist() == [5, 5, 6, 8] and made.uns["where"] == subset.where


def test_python_takes_a_subset_as_a_store(tiny_store, subset):
    assert settings_of(Config(), subset).where == subset.where
    assert settings_of(Config(where="x > 1"), subset).where == f"(x > 1) and ({subset.where})"
    assert store_of(tiny_store.path, WHERE).where == subset.where and store_of(subset, subset.where) is subset


def test_a_run_remembers_its_cells_and_goes_on_with_no_others(run, subset, tiny_store):
    assert run.record["where"] == subset.where
    assert (run_store(open_run(run.path)).labels == subset.labels).all()
    for other in (tiny_store, tiny_store.subset("well == 'A2'")):
        with pytest.raises(GrapeOpsError, match="--where was well == 'A2' and gene_symbol != 'BBB', is"):
            prepare_run(run.path, other, run.config, None, resume=True)
    assert prepare_run(run.path, subset, run.config, None, resume=True).record == run.record


def test_cells_within_a_run_are_still_held_out_or_seen(run, subset):
    some = run_store(run, where="gene == 'CCC'")
    row = run.genes.index.get_loc("CCC")
    held = subset.table_rows[unseen_cells(run, subset, row)]
    assert len(held) and (some.table_rows[unseen_cells(run, some, row)] == held).all()
    names = run.genes.index.tolist()
    assert rows_of_genes(some, names, []) == [row]
    with pytest.raises(GrapeOpsError, match="leaves no cells of AAA"):
        rows_of_genes(some, names, ["AAA"])
    assert run_store(run, where=subset.where).narrowed == ""  # settings of the run, read again


def test_halves_of_a_subset_hold_its_cells_alone(tiny_store, subset, tmp_path):
    dealt = draw_halves(subset, 0)
    write_half(subset, dealt == 1, tmp_path / "half")
    half = CropStore.open(tmp_path / "half")
    rows = half.cells["source"].to_numpy()
    assert sorted(rows) == subset.table_rows[dealt == 1].tolist()
    assert (half.read(slice(None)) == tiny_store.read(rows)).all()


@pytest.mark.usefixtures("jobs_in_this_process")
def test_trust_compares_halves_of_the_subset(tiny_store, tmp_path):
    config = Config(where='well == "A2"')
    split_half(tiny_store.path, tmp_path / "trust", ["statistics"], config, at_a_time=1)
    assert json.loads((tmp_path / "trust" / "trust.json").read_text())["where"] == "well == 'A2'"
    genes = pd.read_csv(tmp_path / "trust" / "genes.tsv", sep="\t")
    assert genes["n_cells"].sum() == 22


def test_rows_of_a_file_in_the_order_of_all_cells_find_those_of_a_subset(tiny_store, subset, tmp_path):
    table = tiny_store.cells[["gene_symbol", "sgRNA", "well"]].assign(feature=np.arange(float(len(tiny_store))))
    table.to_csv(tmp_path / "f.csv", index=False)
    found = match_file(tmp_path / "f.csv", subset, Config().baselines.profiles)
    assert (np.flatnonzero(found.cells >= 0) == subset.table_rows).all()
    assert (found.cells[subset.table_rows] == np.arange(len(subset))).all()
    by_gene = load_config(overrides=[f"baselines.profiles={{table: [{tmp_path / 'f.csv'}], match: genes}}"])
    with pytest.raises(GrapeOpsError, match="--where cannot choose"):
        METHODS["profiles"].maps(Task(subset, by_gene, 0, tmp_path))


def test_scores_say_which_cells_a_map_was_made_of(tiny_store, subset):
    maps = {
        name: METHODS["statistics"].maps(Task(s, Config(), 0, Path()))["statistics"]
        for name, s in (("whole", tiny_store), ("part", subset))
    }
    truth = GroundTruth.of("two", {"one": ["AAA", "CCC"], "other": ["DDD", "AAA"]})
    quick = {"permutations": 10, "kmeans_runs": 2, "bootstrap": 10, "sweep_max": 4, "leiden_runs": 2, "shuffles": 5}
    few = EvaluateSettings.model_validate(quick)
    whole, part = evaluate_maps(maps, truth, few, 0)
    assert "where" not in whole.definitions
    assert part.definitions["where"] == "made of the cells with well == 'A2' and gene_symbol != 'BBB'"
