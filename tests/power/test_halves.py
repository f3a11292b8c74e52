import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.cli import app
from grape_ops.config import CalibrateSettings
from grape_ops.evaluate.gene_places import read_gene_places
from grape_ops.power.planted_store import Source, write_planted_store
from grape_ops.power.split_half import draw_halves, write_half


@pytest.fixture(scope="module")
def planted(source: Source, tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    settings = CalibrateSettings(
        complexes=3, genes_per_complex=2, cells_per_gene=25, control_cells=60, effect_size=4, penetrance=1
    )
    out = tmp_path_factory.mktemp("planted") / "store"
    write_planted_store(source, settings, 0, out)
    return CropStore.open(out)


def test_halves_are_disjoint_whole_and_alike(planted: CropStore, tmp_path: Path) -> None:
    halves = draw_halves(planted, 0)
    for half in (0, 1):
        write_half(planted, halves == half, tmp_path / str(half))
    stores = [CropStore.open(tmp_path / str(half)) for half in (0, 1)]
    sources = [store.cells["source"].to_numpy() for store in stores]
    np.testing.assert_array_equal(np.sort(np.concatenate(sources)), np.arange(len(planted)))
    for store, source in zip(stores, sources, strict=True):
        store.verify()
        np.testing.assert_array_equal(store.read(np.arange(len(store))), planted.read(source))
        counts = np.bincount(store.labels), np.bincount(planted.labels) / 2
        assert np.abs(counts[0] - counts[1]).max() <= 0.5
        assert store.batches == planted.batches


@pytest.mark.usefixtures("jobs_in_this_process")
def test_strong_effects_are_reproduced_and_noise_is_not(planted: CropStore, tmp_path: Path) -> None:
    call = ["trust", str(planted.path), "--out", str(tmp_path / "trust"), "--methods", "statistics,random"]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "trust" / "reproducibility.tsv", sep="\t").set_index("method")
    assert table.loc["statistics", "correlation"] > 0.5
    assert table.loc["random", "correlation"] < 0.45
    genes = pd.read_csv(tmp_path / "trust" / "genes.tsv", sep="\t")
    assert len(genes) == 12 and (genes["n_cells"] == 25).all()
    training = json.loads((tmp_path / "trust" / "trust.json").read_text())["training"]
    places = read_gene_places(tmp_path / "trust", store_fingerprint(planted), training)  # as report and explorer do
    assert places.holds("statistics") and places.repeating("random") == (0, 6)
    assert (tmp_path / "trust" / "similarities.png").stat().st_size > 5_000
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "trust").glob("work/*/maps/*.h5ad")}
    assert len(made) == 4 and not list((tmp_path / "trust").glob("halves/*/store"))
    assert CliRunner().invoke(app, call).exit_code == 0
    assert all(file.stat().st_mtime_ns == time for file, time in made.items())
    fewer = CliRunner().invoke(app, [*call[:-1], "statistics"])
    assert fewer.exit_code == 0 and "random" in fewer.stdout  # what was compared before stays in the tables
    other = CliRunner().invoke(app, [*call, "--set", "seed=2"])
    assert other.exit_code == 0 and len(list((tmp_path / "trust").glob("work/*"))) == 8  # halves of their own
    assert all(file.stat().st_mtime_ns == time for file, time in made.items())
    assert "random" not in CliRunner().invoke(app, [*call[:-1], "statistics", "--set", "seed=3"]).stdout


def test_what_is_the_same_for_both_halves_is_refused(planted: CropStore, tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text("\n".join(f"{gene} 1 {number}" for number, gene in enumerate(planted.perturbations)))
    call = ["trust", str(planted.path), "--out", str(tmp_path / "trust"), "--set", f"baselines.gene2vec.vectors={file}"]
    answer = CliRunner().invoke(app, [*call, "--methods", "statistics,gene2vec"])
    assert "gene2vec is made of prior knowledge of genes" in str(answer.exception)
    assert not (tmp_path / "trust").exists()
