"""The example of docs/baselines.md is code that runs."""

import json
import re
import sys
from pathlib import Path

import anndata
import pytest
from typer.testing import CliRunner

from grape_ops.benchmark import ablation_names
from grape_ops.cli import app
from grape_ops.methods import METHODS

PAGE = (Path(__file__).parents[2] / "docs/baselines.md").read_text()


@pytest.fixture
def example(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brightness.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))  # workers import as tests do
    return "brightness:brightness"


def test_the_example_goes_through_the_benchmark(example, tiny_store, tmp_path):
    (tmp_path / "truth.tsv").write_text("gene_symbol\tcomplex\nAAA\tone\nCCC\tone\nBBB\ttwo\nDDD\ttwo\n")
    quick = "evaluate={permutations: 50, kmeans_runs: 5, bootstrap: 50, sweep_max: 4, leiden_runs: 2, shuffles: 5}"
    call = ["benchmark", str(tiny_store.path), "--truth", "truth.tsv", "--seeds", "1", "--set", quick]
    answer = CliRunner().invoke(app, [*call, "--method", example, "--method", "random"])
    assert answer.exit_code == 0, (answer.output, answer.exception)
    scores = {entry["method"]: entry for entry in json.loads(Path("benchmark/scores.json").read_text())}
    assert list(scores) == ["brightness", "random"] and scores["brightness"]["map"]["value"] > 0.9
    assert scores["brightness"]["cost"]["wall_s"] > 0


def test_the_example_is_written_by_the_command_for_baselines(example, tiny_store, tmp_path):
    answer = CliRunner().invoke(app, ["baseline", example, str(tiny_store.path), "--out", "b.h5ad"])
    assert answer.exit_code == 0, (answer.output, answer.exception)
    vectors = anndata.read_h5ad(tmp_path / "b.h5ad")
    # AAA is brighter in the first channel, BBB in the second.
    assert vectors.uns["method"] == "brightness" and vectors.shape == (5, 2)
    assert vectors.X[0, 0] > 5 > abs(vectors.X[0, 1]) and vectors.X[1, 1] > 5 > abs(vectors.X[1, 0])


def test_every_method_and_ablation_is_described():
    for name in [*METHODS, *ablation_names()]:
        assert f"`{name}`" in PAGE
