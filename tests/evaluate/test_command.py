"""Files in, files out: the evaluation folder, neighbours and clusters as TSV, and the commands' words on errors."""

import json
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from planted_maps import as_map, planted, symbols

from grape_ops import cli
from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import as_tsv, find_clusters, find_neighbours, named_maps, score_maps
from grape_ops.groundtruth import load_truth, membership
from grape_ops.groundtruth.truth import load_pairs
from grape_ops.plotting.score_figures import complexes_figure, differences_figure, scores_figure, sweep_figure

QUICK = ("permutations=50", "kmeans_runs=5", "sweep_max=6", "bootstrap=50", "leiden_runs=1", "shuffles=5")
GENES = symbols(30)


@pytest.fixture
def folder(tmp_path):
    """Three maps of one screen and its truth."""
    vectors, _ = planted([6] * 5, 10, 1.5, seed=0)
    rng = np.random.default_rng(1)
    for index in range(3):
        as_map(vectors + 0.2 * rng.normal(size=vectors.shape), GENES, "ours").write_h5ad(tmp_path / f"run{index}.h5ad")
    lines = [f"{gene}\tC{i // 6}" for i, gene in enumerate(GENES)]
    (tmp_path / "truth.tsv").write_text("gene_symbol\tcomplex\n" + "\n".join([*lines, "ABSENT\tC0"]) + "\n")
    return tmp_path


def evaluated(maps, truth, out, groups=(), **more):
    return score_maps(named_maps(maps, groups), load_truth(truth), settings(), 0, out=out, **more)


def settings() -> EvaluateSettings:
    return EvaluateSettings(**{key: int(value) for key, value in (part.split("=") for part in QUICK)})


def test_the_folder_holds_scores_tables_and_figures(folder):
    maps = [folder / "run0.h5ad"]
    group = f"runs={folder / 'run1.h5ad'}, {folder / 'run2.h5ad'}"
    scores = evaluated(maps, folder / "truth.tsv", folder / "out", [group])
    assert [entry.method for entry in scores] == ["ours", "runs"] and scores[1].n_runs == 2
    written = json.loads((folder / "out" / "scores.json").read_text())
    assert written[0]["truth_sha256"] == load_truth(folder / "truth.tsv").sha256
    details = folder / "out"
    assert {path.name for path in details.iterdir()} >= {
        f"{name}.{ending}" for name in ("sweep", "complexes", "scores", "differences") for ending in ("pdf", "png")
    }
    genes = pd.read_csv(details / "genes.tsv", sep="\t")
    assert len(genes) == 60 and {"ap", "p_value", "q_value"} <= set(genes)
    assert pd.read_csv(details / "unmatched.tsv", sep="\t")["gene_symbol"].tolist() == ["ABSENT", "ABSENT"]
    assert len(pd.read_csv(details / "differences.tsv", sep="\t")) == 8
    assert len(pd.read_csv(details / "sweep.tsv", sep="\t")) == 4
    recall = pd.read_csv(details / "recall.tsv", sep="\t")
    assert len(recall) == 8 and (recall["n_pairs"] == 75).all() and (recall["n_pairs_listed"] == 81).all()
    assert {"method", "clusters", "enrichment_enriched_clusters"} <= set(pd.read_csv(details / "leiden.tsv", sep="\t"))
    complexes = pd.read_csv(details / "complexes.tsv", sep="\t")
    assert complexes["chance_corrected"].between(0, 1).all() and complexes["chance"].between(0.1, 0.5).all()
    # Figures draw from what is on disk, too.
    scores = pd.read_csv(details / "scores.csv")
    tables = {name: pd.read_csv(details / f"{name}.tsv", sep="\t") for name in ("sweep", "complexes", "differences")}
    assert sweep_figure(tables["sweep"], 5) and complexes_figure(tables["complexes"])
    assert scores_figure(scores) and differences_figure(tables["differences"])


def test_the_option_aliases_finds_genes_of_the_truth_under_their_other_names(folder, capsys, monkeypatch):
    (folder / "aliases.tsv").write_text("alias\tsymbol\nOLD\tG003\n")
    truth = folder / "truth.tsv"
    truth.write_text(truth.read_text().replace("G003", "OLD"))
    call = ["grape-ops", "neighbours", "G000", str(folder / "run0.h5ad"), "--truth", str(truth), "--n", "5"]
    for more, relation in (([], ""), (["--aliases", str(folder / "aliases.tsv")], "C0")):
        monkeypatch.setattr(sys, "argv", [*call, *more])
        with pytest.raises(SystemExit):
            cli.main()
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        told = {line[0]: line[lines[0].index("relation")] for line in lines[1:]}
        assert set(told) == {f"G00{number}" for number in range(1, 6)} and told["G003"] == relation


def test_names_of_maps(folder):
    named = named_maps([folder / "run0.h5ad", folder / "run1.h5ad"], [])
    assert list(named) == ["ours", "ours (run1)"]
    with pytest.raises(GrapeOpsError, match="Two maps are named ours"):
        named_maps([folder / "run0.h5ad"], [f"ours={folder / 'run1.h5ad'}"])
    for group in ("runs", "=a.h5ad", "runs="):
        with pytest.raises(GrapeOpsError, match="--group needs"):
            named_maps([], [group])
    with pytest.raises(GrapeOpsError, match="there is nothing"):
        named_maps([folder / "absent.h5ad"], [])
    with pytest.raises(GrapeOpsError, match="not an AnnData"):
        named_maps([folder / "truth.tsv"], [])


def test_neighbours_and_clusters_as_tsv(folder):
    runs = [folder / f"run{i}.h5ad" for i in range(3)]
    found = find_neighbours("G000", runs, 5, truth=str(folder / "truth.tsv"), out=folder / "n" / "near.tsv")
    table = pd.read_csv(folder / "n" / "near.tsv", sep="\t")
    assert as_tsv(found).startswith("gene_symbol\trank\tcosine") and set(table["gene_symbol"]) == set(GENES[1:6])
    assert (table["relation"] == "C0").all() and table["support"].between(0, 1).all()
    kmeans = settings().model_copy(update={"k": 5, "kmeans_runs": 30})
    find_clusters(runs, kmeans, 0, truth=str(folder / "truth.tsv"), out=folder / "c.tsv")
    assert list(pd.read_csv(folder / "c.tsv", sep="\t")) == ["gene_symbol", "cluster", "support"]
    assert pd.read_csv(folder / "c.enrichment.tsv", sep="\t")["q_value"].min() < 0.01
    with pytest.raises(GrapeOpsError, match="--truth needs --out"):
        find_clusters(runs, kmeans, 0, truth=str(folder / "truth.tsv"))


@pytest.fixture
def marked(folder):
    """A map whose first twelve genes have a phenotype; the last one was not tested."""
    adata = anndata.read_h5ad(folder / "run0.h5ad")
    adata.obs["is_hit"] = pd.array([i < 12 for i in range(29)] + [None, None], dtype="boolean")
    adata.write_h5ad(folder / "marked.h5ad")
    return folder / "marked.h5ad"


def test_genes_without_a_phenotype_are_named_as_such(marked, folder, capsys):
    find_neighbours("G020", [marked], 5, out=folder / "near.tsv")
    assert "No evidence that G020 has a phenotype" in capsys.readouterr().err
    assert not pd.read_csv(folder / "near.tsv", sep="\t")["is_hit"].any()
    find_clusters([marked], settings().model_copy(update={"k": 5}), 0, out=folder / "c.tsv")
    column = pd.read_csv(folder / "c.tsv", sep="\t").set_index("gene_symbol")["is_hit"]
    assert column["G000"] and not column["G020"] and pd.isna(column["G029"])


def test_a_map_is_restricted_to_genes_with_a_phenotype(marked, folder, capsys):
    truth, other = str(folder / "truth.tsv"), folder / "run1.h5ad"
    near = find_neighbours("G000", [marked], 30, hits_only=True)
    assert len(near) <= 11 and "G012" not in set(near["gene_symbol"])
    assert "Only genes with a phenotype are in the map: 12 of 29 tested." in capsys.readouterr().err
    kmeans = settings().model_copy(update={"k": 2})
    assert len(find_clusters([marked], kmeans, 0, hits_only=True)) == 12
    # A map that does not say borrows from one that does.
    scores = evaluated([other, marked], truth, folder / "only", hits_only=True)
    assert [entry.n_genes for entry in scores] == [12, 12]
    assert "12 of 29 tested" in scores[0].definitions["hits_only"]
    with pytest.raises(GrapeOpsError, match='--hits-only: no map has a column "is_hit"'):
        evaluated([other], truth, folder / "none", hits_only=True)
    with pytest.raises(GrapeOpsError, match="G020 is no gene with a phenotype"):
        find_neighbours("G020", [marked], hits_only=True)


def test_a_list_of_pairs_that_names_no_gene_of_the_maps_is_refused(folder):
    (folder / "pairs.tsv").write_text("X1\tX2\nX1\tX3\n")
    maps = [folder / "run0.h5ad"]
    with pytest.raises(GrapeOpsError, match="None of the 2 pairs of pairs.tsv, such as X1 and X2"):
        evaluated(maps, folder / "truth.tsv", folder / "o", pairs=[load_pairs(folder / "pairs.tsv")])


def run_cli(monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["grape-ops", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code in (0, None)


def test_the_commands(folder, monkeypatch, capsys):
    overrides = [word for part in QUICK for word in ("--set", f"evaluate.{part}")]
    maps = [folder / f"run{i}.h5ad" for i in range(2)]
    run_cli(monkeypatch, "evaluate", maps[0], "--truth", folder / "truth.tsv", "--out", folder / "ev", *overrides)
    assert (folder / "ev" / "scores.csv").exists() and "mAP" in capsys.readouterr().out
    run_cli(monkeypatch, "neighbours", "G000", *maps, "--n", "2")
    assert len(capsys.readouterr().out.splitlines()) == 3
    monkeypatch.setattr(sys, "argv", ["grape-ops", "clusters", str(maps[0]), "--hits-only"])
    with pytest.raises(SystemExit) as refused:
        cli.main()
    assert refused.value.code not in (0, None) and "embed RUN --hits" in capsys.readouterr().err
    run_cli(monkeypatch, "clusters", *maps, "--set", "evaluate.k=5", "--out", folder / "clusters.tsv")
    assert (folder / "clusters.tsv").exists()
    (folder / "library.csv").write_text("gene_symbol\n" + "\n".join(GENES) + "\n")
    run_cli(
        monkeypatch, "truth", "curate", folder / "truth.tsv", "--library", folder / "library.csv",
        "--out", folder / "curated.tsv", "--set", "curate.most_genes=5",
    )  # fmt: skip
    assert "chosen: 5" in capsys.readouterr().out
    assert membership(load_truth(folder / "curated.tsv"), GENES).sum() == 25


def test_errors_come_without_a_traceback(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["grape-ops", "neighbours", "NOPE", str(folder / "run0.h5ad")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1 and "NOPE is not among the 30 genes" in capsys.readouterr().err


def test_an_earlier_evaluation_is_replaced_and_said_and_a_foreign_folder_refused(folder, capsys):
    arguments = ([folder / "run0.h5ad"], folder / "truth.tsv", folder / "out")
    evaluated(*arguments)
    evaluated(*arguments)
    assert "was replaced" in capsys.readouterr().err
    (folder / "out" / "scores.json").unlink()
    before = {path.name for path in (folder / "out").iterdir()}
    with pytest.raises(GrapeOpsError, match="holds other things than an evaluation"):
        evaluated(*arguments)
    assert {path.name for path in (folder / "out").iterdir()} == before


def test_a_folder_in_place_of_vectors_says_what_it_is(folder):
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text("{}")
    with pytest.raises(GrapeOpsError, match="there is a run folder"):
        evaluated([folder / "run"], folder / "truth.tsv", folder / "out")


def test_tables_of_others_are_not_replaced_and_ours_are_with_a_word(folder, tmp_path, capsys):
    mine = tmp_path / "library.csv"
    mine.write_text("gene_symbol,sgRNA\nG000,a\n")
    maps = [folder / "run0.h5ad"]
    for write in (
        lambda out: as_tsv(find_neighbours("G000", maps, 5, out=out)),
        lambda out: as_tsv(find_clusters(maps, EvaluateSettings(k=3, kmeans_runs=10), 0, out=out)),
    ):
        with pytest.raises(GrapeOpsError, match="exists and is not a table of gene_symbol"):
            write(mine)
        assert mine.read_text() == "gene_symbol,sgRNA\nG000,a\n"
        again = tmp_path / "again.tsv"
        first = write(again)
        assert capsys.readouterr().err == ""
        assert write(again) == first == again.read_text()
        assert capsys.readouterr().err == f"Note: an earlier {again} was replaced.\n"
        again.unlink()
