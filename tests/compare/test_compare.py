"""Two runs or maps compared: which genes' neighbours moved, and what the command writes and says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.compare.differences import differing_settings, shared_cells
from grape_ops.compare.moved import fewest_moved, moved_genes, pair_shares
from grape_ops.compare.null import null_maps
from grape_ops.compare.side import Side
from grape_ops.config import Config
from grape_ops.evaluate.maps import GeneMap
from grape_ops.train.run_folder import prepare_run

GENES = [f"GENE{number}" for number in range(120)]
ALL = np.ones((6, 6), dtype=bool)


def screen(rng: np.random.Generator, moved: bool = False, noise: float = 0.5) -> np.ndarray:
    """Vectors of 20 complexes of six genes; those of the first three complexes may lie elsewhere, each for itself."""
    fixed = np.random.default_rng(0)
    places = 1.5 * np.repeat(fixed.standard_normal((20, 12)), 6, axis=0)
    alone = 1.5 * fixed.standard_normal((18, 12))
    if moved:
        places[:18] = alone
    return places + noise * rng.standard_normal((120, 12))


def test_genes_that_moved_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    maps = [screen(rng) for _ in range(3)] + [screen(rng, moved=True) for _ in range(3)]
    found, values = moved_genes(pair_shares(maps, 5), 3, ALL, rng)
    moved = found["q_value"] < 0.05
    assert moved[:18].mean() > 0.8 and moved[18:].mean() < 0.05
    assert values == 9 * 120  # the nine other divisions of six maps into three and three
    assert (found["within"][:18] > found["between"][:18]).all()
    alone, _ = moved_genes(pair_shares(maps[:4], 5), 3, ALL[:4, :4], rng)  # one map on the other side
    assert alone["p_value"][:18].mean() < 0.1


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(2)
    p_values = [
        moved_genes(pair_shares([screen(rng, noise=1.5) for _ in range(4)], 10), 2, ALL[:4, :4], rng)[0]["p_value"]
        for _ in range(10)
    ]
    assert abs(np.mean(np.concatenate(p_values) < 0.1) - 0.1) < 0.04


def test_halves_of_the_same_cells_are_compared_only_across() -> None:
    shares = np.random.default_rng(3).random((4, 4, 50))
    shares = (shares + shares.transpose(1, 0, 2)) / 2
    comparable = np.ones((4, 4), dtype=bool)
    comparable[[0, 1, 2, 3], [2, 3, 0, 1]] = False
    found, values = moved_genes(shares, 2, comparable, np.random.default_rng(0))
    np.testing.assert_allclose(found["between"], (shares[0, 3] + shares[1, 2]) / 2)
    np.testing.assert_allclose(found["within"], (shares[0, 1] + shares[2, 3]) / 2)
    gap = found["within"] - found["between"]
    # A single other division is left, and it exchanges the two: the null is the values with their signs turned.
    expected = [(1 + np.sum(-gap >= value - 1e-9)) / 51 for value in gap]
    assert values == 50
    np.testing.assert_allclose(found["p_value"], expected)


def test_few_genes_and_maps_cannot_show_that_one_gene_moved() -> None:
    assert fewest_moved(24, 24) == 20 and fewest_moved(1000, 9000) == 3


@pytest.fixture
def maps(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(4)
    files = []
    for number, moved in enumerate((False, False, True, True)):
        adata = AnnData(screen(rng, moved).astype(np.float32), pd.DataFrame({"n_cells": 40}, GENES))
        adata.uns |= {"method": "ours", "simulated": True}
        files.append(tmp_path / f"map{number}.h5ad")
        adata[: 120 - number].copy().write_h5ad(files[-1])
    return files


def test_two_maps_alone_have_no_null(maps: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = CliRunner().invoke(app, ["compare", str(maps[0]), str(maps[2]), "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert "There is no null at hand" in answer.stdout and "Settings cannot be compared" in answer.stdout
    genes = pd.read_csv(out / "genes.tsv", sep="\t")
    assert len(genes) == 120 and genes["moved"].isna().all() and "p_value" not in genes
    assert genes["expected_at_random"][0] == pytest.approx(100 / 117, rel=1e-3)
    assert genes.loc[genes["maps"] == "A", "gene_symbol"].tolist() == ["GENE118", "GENE119"]
    assert set(genes["gene_symbol"].head(10)) <= set(GENES[:18])  # those that moved keep fewest
    record = json.loads((out / "compare.json").read_text())
    assert record["null"]["kind"] == "" and record["simulated"] and record["genes"]["compared"] == 118
    assert "hypergeometric" in record["definitions"]["expected_at_random"]
    assert (out / "neighbours.pdf").stat().st_size > 3_000
    again = CliRunner().invoke(app, ["compare", str(maps[0]), str(maps[2]), "--out", str(out)])
    assert again.exit_code == 0 and "was replaced" in again.stderr
    same = CliRunner().invoke(app, ["compare", str(maps[0]), str(maps[0]), "--out", str(out)])
    assert "Every gene keeps all of them." in same.stdout and "Fewest neighbours kept" not in same.stdout


def test_seeds_with_commas_give_a_null(maps: list[Path], tmp_path: Path) -> None:
    first, second = (",".join(map(str, pair)) for pair in (maps[:2], maps[2:]))
    call = ["compare", first, second, "--out", str(tmp_path / "out"), "--set", "evaluate.neighbours=5"]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "differ by their seed (2 of A, 2 of B)" in answer.stdout
    assert "Neighbours moved beyond that: " in answer.stdout
    genes = pd.read_csv(tmp_path / "out" / "genes.tsv", sep="\t").set_index("gene_symbol")
    moved = set(genes.index[genes["moved"] == "yes"])
    # A gene beside which one that moved comes to lie has other neighbours, too.
    assert len(moved & set(GENES[:18])) >= 12 and len(moved - set(GENES[:18])) <= 4


def test_a_map_does_not_count_as_two_seeds(maps: list[Path], tmp_path: Path) -> None:
    twice = f"{maps[0]},{maps[0]}"
    answer = CliRunner().invoke(app, ["compare", twice, str(maps[2]), "--out", str(tmp_path / "out")])
    assert answer.exit_code == 1 and "map0.h5ad is named twice" in str(answer.exception)


@pytest.fixture(scope="module")
def runs(tiny_store: CropStore, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """Two runs of the same cells that were begun with other settings, as sides with halves."""
    folder = tmp_path_factory.mktemp("runs")
    loss = tiny_config.train.loss.model_copy(update={"cycle": 2.0})
    train = tiny_config.train.model_copy(update={"steps": 8, "threads": 2, "loss": loss})
    other = tiny_config.model_copy(update={"train": train})
    maps = (GeneMap("half", ("AAA", "BBB"), np.eye(2)),) * 2
    sides = []
    for name, config in (("A", tiny_config), ("B", other)):
        run = prepare_run(folder / name, tiny_store, config, None, resume=False)
        sides.append(Side(name, (run.path,), maps[:1], run=run, store=tiny_store, halves=maps))
    return sides[0], sides[1]


def test_settings_and_cells_that_differ_are_listed(runs: tuple[Side, Side]) -> None:
    table = differing_settings(*runs).set_index("name")
    assert table.loc["train.steps", ["kind", "A", "B", "changes_results"]].tolist() == ["setting", "12", "8", "yes"]
    assert table.loc["train.loss.cycle", "changes_results"] == "yes"
    assert table.loc["train.threads", "changes_results"] == "no"
    assert len(table) == 3  # the same cells, made by the same version
    assert differing_settings(runs[0], Side("B", (), runs[0].maps)).empty
    cells = shared_cells(*runs)
    assert cells is not None and cells["only_a"] == cells["only_b"] == 0 and cells["both"] > 0


def test_the_null_says_what_it_is_and_compares_no_cells_with_themselves(runs: tuple[Side, Side]) -> None:
    a, b = runs
    both = null_maps(a, b)
    assert both.kind == "halves" and "for A and for B" in both.in_words and both.n_first == 2
    assert not both.comparable[0, 2] and not both.comparable[3, 1] and both.comparable[0, 3] and both.comparable[0, 1]
    one = null_maps(replace(a, halves=()), b)
    assert "fewer genes than have moved" in one.in_words and len(one.maps) == 3 and one.comparable.all()
    seeds = null_maps(replace(a, maps=a.maps * 3), replace(b, run=None))
    assert seeds.kind == "seeds" and "more genes than have moved" in seeds.in_words and seeds.n_first == 3
    assert "same cells" in null_maps(replace(a, maps=a.maps * 3), b).in_words
    assert null_maps(replace(a, halves=()), replace(b, halves=())).kind == ""


def test_what_is_no_run_and_no_map_is_refused(maps: list[Path], tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["compare", str(maps[0]), str(tmp_path)])
    assert "is neither a run nor a map: there is a folder" in str(answer.exception)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    answer = CliRunner().invoke(app, ["compare", *map(str, maps[:2]), "--out", str(tmp_path / "out")])
    assert "holds other things than a comparison" in str(answer.exception)
