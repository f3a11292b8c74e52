"""The example of docs/baselines.md is code that runs."""

import re
from pathlib import Path

import pytest

from grape_ops.benchmark import ablation_names
from grape_ops.benchmark.compare import METHODS
from grape_ops.methods import BASELINES, write_baseline

PAGE = (Path(__file__).parents[2] / "docs/baselines.md").read_text()


@pytest.fixture
def registry():
    before = dict(BASELINES)
    yield BASELINES
    BASELINES.clear()
    BASELINES.update(before)


def test_the_example_makes_vectors_by_the_registry(registry, tiny_store, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    exec(compile(code, "docs/baselines.md", "exec"), {})
    assert write_baseline("brightness", tiny_store.path, tmp_path / "b.h5ad") == []
    vectors = pytest.importorskip("anndata").read_h5ad(tmp_path / "b.h5ad")
    # AAA is brighter in the first channel, BBB in the second.
    assert vectors.uns["method"] == "brightness" and vectors.shape == (5, 2)
    assert vectors.X[0, 0] > 5 > abs(vectors.X[0, 1]) and vectors.X[1, 1] > 5 > abs(vectors.X[1, 0])


def test_every_method_and_ablation_is_described():
    for name in [*METHODS, *ablation_names()]:
        assert f"`{name}`" in PAGE
