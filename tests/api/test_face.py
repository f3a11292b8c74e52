"""The public face: small, lazily loaded, documented, and every example runs."""

import doctest
import inspect
import subprocess
import sys
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest

import grape_ops as go

FUNCTIONS = [name for name in go.__all__ if inspect.isfunction(getattr(go, name))]


def test_the_import_loads_nothing_large():
    code = "import sys, grape_ops; print(sorted({'torch', 'anndata', 'pandas', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_there_are_at_most_25_names_and_each_is_there():
    assert len(go.__all__) == len(set(go.__all__)) <= 25
    assert set(go.__all__) <= set(dir(go))
    for name in go.__all__:
        assert getattr(go, name).__name__ == name
        assert f"``{name}``" in go.__doc__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = go.trian


def test_no_name_is_that_of_a_module_which_would_replace_it():
    from pkgutil import iter_modules

    assert not set(go.__all__) & {module.name for module in iter_modules(go.__path__)}


def test_the_package_says_that_it_is_typed():
    from importlib import resources

    assert (resources.files("grape_ops") / "py.typed").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_and_its_example_runs(name, folder):
    function = getattr(go, name)
    text = inspect.getdoc(function)
    parts = ["Parameters", "Returns", "Raises", "Examples"]
    if name in ("plot_hits", "plot_scores"):  # they draw what a function of ours has returned
        parts.remove("Raises")
    assert all(f"{part}\n{'-' * len(part)}\n" in text for part in parts), text
    for parameter in inspect.signature(function).parameters:
        assert parameter in text, parameter
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={"go": go})
    assert test.examples
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said = []
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_maps_may_be_in_memory_and_named(folder):
    vectors = anndata.read_h5ad("genes.h5ad")
    truth = pd.read_csv("truth.tsv", sep="\t")
    scores = go.evaluate_maps({"mine": vectors, "runs": ["genes.h5ad", vectors]}, truth, "tiny.yaml")
    assert list(dict.fromkeys(scores.table["method"])) == ["mine", "runs"]
    assert scores.table.query("score == 'mAP'")["value"].nunique() == 1
    scores.write("scored")
    assert (folder / "scored" / "scores.json").is_file() and (folder / "scored" / "genes.tsv").is_file()
    assert "mine" in scores._repr_html_()


def test_out_writes_what_the_command_writes(folder):
    vectors = go.embed_genes("run", out="again.h5ad", position=1)
    assert np.array_equal(anndata.read_h5ad("again.h5ad").X, vectors.X)
    scores = go.evaluate_maps(["again.h5ad"], "truth.tsv", "tiny.yaml", out="judged")
    assert pd.read_csv("judged/scores.csv")["value"].tolist() == pytest.approx(
        scores.table["value"].tolist(), nan_ok=True
    )
    near = go.nearest_genes("AAA", vectors, out="near.tsv")
    assert pd.read_csv("near.tsv", sep="\t")["gene_symbol"].tolist() == near["gene_symbol"].tolist()
    two = go.load_config(overrides=["evaluate.k=2"])
    go.cluster_genes(vectors, two, truth="truth.tsv", out="two.tsv")
    assert len(pd.read_csv("two.tsv", sep="\t")) == 4 and (folder / "two.enrichment.tsv").is_file()
    with pytest.raises(go.GrapeOpsError, match="--truth needs --out"):
        go.cluster_genes(vectors, two, truth="truth.tsv")


def test_restyled_cells_are_those_of_the_command(folder):
    made = go.restyle_cells("run", ["aaa", "BBB"], cells=4)
    again = go.restyle_cells("run", "AAA", cells=4, store="store")
    assert list(made.restyled) == ["AAA", "BBB"] and made.source == "nontargeting"
    assert np.array_equal(made.restyled["AAA"], again.restyled["AAA"])
    assert len(made.cells) == 4 and made.cells["is_control"].all()
    assert made.real.shape == made.unchanged.shape == (4, 2, 32, 32) and made.knockout["BBB"].shape[1:] == (2, 32, 32)
    with pytest.raises(Exception, match="not restyled to CCC, but to AAA, BBB"):
        go.plot_cells(made, "CCC")


class _Formatter:
    """What IPython keeps for one kind of output."""

    def __init__(self):
        self.type_printers = {}

    def for_type(self, kind, printer):
        self.type_printers[kind] = printer


def test_a_notebook_shows_figures_as_pictures_in_the_format_that_was_chosen(folder, monkeypatch):
    formatters = {"image/png": _Formatter(), "image/svg+xml": _Formatter()}
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters=formatters))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    figure = go.plot_hits(go.find_hits("store"))
    printers = formatters["image/png"].type_printers
    assert printers[type(figure)](figure).startswith(b"\x89PNG")
    formatters["image/svg+xml"].type_printers[type(figure)] = printers.pop(type(figure))
    go.plot_hits(go.find_hits("store"))
    assert not printers


def test_hits_are_written_as_the_command_writes_them_and_drawn_at_their_own_threshold(folder):
    settings = go.load_config(overrides=["hits={q_value: 0.2, pseudo_genes: 5}"])
    hits = go.find_hits("store", settings, out="found")
    assert len(pd.read_csv("found/genes.tsv", sep="\t")) == len(hits.genes)
    assert str(hits).startswith(f"{hits.genes['is_hit'].sum()} of 4 genes have a phenotype (q < 0.2)")
    legend = go.plot_hits(hits).axes[0].get_legend().get_texts()
    assert any("q < 0.2" in text.get_text() for text in legend)
