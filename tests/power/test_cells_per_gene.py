"""How many cells per gene are needed: known curves, curves that say nothing, and disjoint subsets."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.power.cells_needed import cells_needed, in_words, saturating
from grape_ops.power.cells_per_gene import draw_subsets

CELLS = np.repeat([10.0, 20, 40, 80, 160], 3)


def test_a_known_curve_is_found_with_its_interval() -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=len(CELLS))
    found = cells_needed(CELLS, saturating(CELLS, 0.1, 0.9, 30) + noise, 0.1)
    assert found.cells == pytest.approx(270, rel=0.2) and found.low < found.cells < found.high
    assert "at 160 cells per gene, the most measured; 90 % of its plateau (0." in in_words(found, "map")


def test_flat_and_short_curves_are_refused_in_words() -> None:
    noise = 0.02 * np.random.default_rng(0).normal(size=len(CELLS))
    assert "the curve is flat" in in_words(cells_needed(CELLS, 0.5 + noise, 0.1), "map")
    assert "it still rises" in in_words(cells_needed(CELLS, 0.1 + CELLS / 1000, 0.1), "map")
    assert "2 different numbers of cells" in in_words(cells_needed(CELLS[:6], CELLS[:6] / 100, 0.1), "map")


def test_subsets_are_disjoint_and_hold_their_share_of_every_gene(tiny_store: CropStore) -> None:
    first, second = draw_subsets(tiny_store, 4, 0)
    assert not (first & second).any()
    counts = np.bincount(tiny_store.labels)
    for subset in (first, second):
        assert np.abs(np.bincount(tiny_store.labels[subset], minlength=len(counts)) - counts / 4).max() < 1
    assert draw_subsets(tiny_store, 1, 0)[0].all()


@pytest.mark.usefixtures("jobs_in_this_process")
def test_the_command_measures_fewer_and_fewer_cells_and_goes_on(two_phenotypes: CropStore, tmp_path: Path) -> None:
    """48 cells per gene: an eighth, a quarter and half of them twice, and all of them once."""
    (tmp_path / "truth.tsv").write_text(
        "gene_symbol\tcomplex\nSPOT1\tspot\nSPOT2\tspot\nSTRIPE1\tstripe\nSTRIPE2\tstripe\n"
    )
    out = tmp_path / "cells"
    call = ["trust", str(two_phenotypes.path), "--cells", "--methods", "statistics", "--seeds", "2", "--out", str(out)]
    call += ["--truth", str(tmp_path / "truth.tsv"), "--set", "hits.pseudo_genes=5"]
    call += ["--set", "evaluate={permutations: 50, bootstrap: 20, shuffles: 5}"]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(out / "cells.tsv", sep="\t")
    maps, hits = (table[table["method"] == name] for name in ("statistics", "hits"))
    assert maps["cells_per_gene"].tolist() == hits["cells_per_gene"].tolist() == [6, 6, 12, 12, 24, 24, 48]
    assert maps["map"].iloc[-1] == 1 and hits["hits"].iloc[-1] == 1  # spots and stripes are plain to see
    assert maps["agreement"].notna().tolist() == [True] * 6 + [False]
    assert "statistics" in answer.output and not list(out.glob("subsets/*/*"))
    made = {file: file.stat().st_mtime_ns for file in out.glob("work/**/*.h5ad")}
    assert made and CliRunner().invoke(app, call).exit_code == 0
    assert made == {file: file.stat().st_mtime_ns for file in out.glob("work/**/*.h5ad")}
