"""Vectors of cells and guides go out in blocks, are read by others' tools, and come in again."""

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.export import cell_vectors
from grape_ops.hits.feature_sources import FeatureSource, feature_sources

OBS = ["gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x", "is_control", "batch", "cell_id", "shard", "row"]


def embed(*words):
    answer = CliRunner().invoke(app, ["embed", *map(str, words)])
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.output


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr", ".parquet"])
@pytest.mark.filterwarnings("ignore")
def test_measurements_of_cells_are_written_as_they_are_and_read_again(tiny_store, tmp_path, suffix):
    out = tmp_path / f"cells{suffix}"
    embed(tiny_store.path, "--level", "cell", "--features", "statistics", "--out", out)
    assert not list(tmp_path.glob("*.work-*"))
    (source,) = feature_sources(tiny_store, load_config())
    wanted = source.read(source.cells)
    if suffix == ".parquet":
        table = pd.read_parquet(out)
        obs, values = table[OBS], table[list(source.names)].to_numpy()
    else:
        made = anndata.read_h5ad(out) if suffix == ".h5ad" else anndata.read_zarr(out)
        obs, values = made.obs, made.X
        assert list(made.var_names) == list(source.names) and made.uns["method"] == "statistics"
    np.testing.assert_array_equal(values, wanted)
    assert list(obs) == OBS and obs["sgRNA"].astype(str).tolist() == tiny_store.cells["sgRNA"].tolist()
    assert obs["cell_id"].iloc[:2].tolist() == ["P1_A1:0", "P1_A1:1"]
    table = f"baselines.profiles.table={out}"
    (again,) = feature_sources(tiny_store, load_config(overrides=["hits.features=profiles", table]))
    np.testing.assert_array_equal(again.read(again.cells), wanted)
    embed(tiny_store.path, "--level", "cell", "--features", "statistics", "--out", out)  # ours may be replaced


@pytest.mark.filterwarnings("ignore")
def test_vectors_of_a_simulated_screen_say_so(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(CropStore, "simulated", True)
    for name in ("guides.h5ad", "guides.parquet"):
        embed(tiny_store.path, "--level", "guide", "--features", "statistics", "--out", tmp_path / name)
    assert anndata.read_h5ad(tmp_path / "guides.h5ad").uns["simulated"]
    assert pq.read_schema(tmp_path / "guides.parquet").metadata[b"simulated"] == b"true"


def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path, monkeypatch):
    read = []
    values = np.arange(40, dtype=np.float32).reshape(20, 2)

    def source(broken):
        def reader(rows):
            if rows[0] == broken:
                raise KeyboardInterrupt
            read.extend(rows)
            return values[rows]

        return FeatureSource(("a", "b"), np.arange(20), reader)

    monkeypatch.setattr(cell_vectors, "blocks", lambda cells: np.split(cells, range(6, len(cells), 6)))
    with pytest.raises(KeyboardInterrupt):
        cell_vectors._read_all([source(broken=12)], tmp_path / "v.f32")
    (tmp_path / "v.f32").write_bytes((tmp_path / "v.f32").read_bytes()[:-3])  # cut off within a block
    cell_vectors._read_all([source(broken=None)], tmp_path / "v.f32")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "v.f32", np.float32).reshape(20, 2), values)
    assert read == [*range(12), *range(6, 20)]


def test_guides_get_batch_adjusted_profiles(tiny_store, tmp_path):
    embed(tiny_store.path, "--level", "guide", "--features", "statistics", "--out", tmp_path / "guides.h5ad")
    guides = anndata.read_h5ad(tmp_path / "guides.h5ad")
    assert guides.n_obs == tiny_store.cells["sgRNA"].nunique() and guides.obs["n_cells"].sum() == len(tiny_store)
    assert list(guides.obs) == ["gene_symbol", "sgRNA", "n_cells", "n_batches", "is_control"]
    assert guides.obs["is_control"].sum() == 2 and (guides.obs["n_batches"] == 2).all()
    size = np.linalg.norm(guides.X, axis=1)
    assert size[~guides.obs["is_control"]].min() > size[guides.obs["is_control"]].max()


def test_learned_features_say_which_network_read_the_cell(tiny_store, tmp_path):
    few = "train.init.classifier={width: 4, max_width: 8, steps: 2, batch_size: 8}"
    call = ("--features", "learned", "--set", few, "--set", "train.accelerator=cpu")
    embed(tiny_store.path, "--level", "cell", *call, "--out", tmp_path / "cells.parquet")
    table = pd.read_parquet(tmp_path / "cells.parquet")
    assert table["fold"].value_counts().tolist() == [len(tiny_store) / 2] * 2 and table["cell_id"].is_unique


def test_columns_of_other_tools(tiny_store, tmp_path):
    out = tmp_path / "cells.parquet"
    embed(tiny_store.path, "--level", "cell", "--features", "statistics", "--columns", "metadata", "--out", out)
    table = pd.read_parquet(out)
    named = ["Gene", "sgRNA", "Plate", "Well", "Site", "ObjectNumber"]
    assert {f"Metadata_{name}" for name in named} <= set(table)
    assert not table.duplicated(["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]).any()
    (again,) = feature_sources(
        tiny_store, load_config(overrides=["hits.features=profiles", f"baselines.profiles.table={out}"])
    )
    assert len(again.cells) == len(tiny_store) and not any(name.startswith("Metadata_") for name in again.names)
    pycytominer = pytest.importorskip("pycytominer")
    features = [name for name in table if not name.startswith("Metadata_")]
    means = pycytominer.aggregate(table, strata=["Metadata_Gene"], features=features)
    assert len(means) == len(tiny_store.perturbations)


def test_scanpy_reads_the_cells(tiny_store, tmp_path):
    scanpy = pytest.importorskip("scanpy")
    embed(tiny_store.path, "--level", "cell", "--features", "statistics", "--out", tmp_path / "cells.h5ad")
    cells = scanpy.read_h5ad(tmp_path / "cells.h5ad")
    scanpy.pp.pca(cells, n_comps=3)
    assert cells.obsm["X_pca"].shape == (len(tiny_store), 3)


def test_what_cannot_be_written_is_said(tiny_store, tmp_path):
    with pytest.raises(GrapeOpsError, match="networks of a run; .* is no run folder"):
        embed(tiny_store.path, "--level", "cell", "--features", "codes", "--out", tmp_path / "c.h5ad")
    with pytest.raises(GrapeOpsError, match=r"written as .h5ad, .zarr or .parquet; got c.csv"):
        embed(tiny_store.path, "--level", "cell", "--out", tmp_path / "c.csv")
    with pytest.raises(GrapeOpsError, match="--level is gene, guide or cell"):
        embed(tiny_store.path, "--level", "cells", "--out", tmp_path / "c.h5ad")
    (tmp_path / "mine.parquet").write_text("mine")
    with pytest.raises(GrapeOpsError, match="not a table of vectors of grape-ops"):
        embed(tiny_store.path, "--level", "cell", "--out", tmp_path / "mine.parquet")
    with pytest.raises(GrapeOpsError, match="go with --level cell or guide"):
        embed(tiny_store.path, "--features", "statistics", "--out", tmp_path / "c.h5ad")
    with pytest.raises(GrapeOpsError, match="--checkpoint and --hits go with --level gene"):
        embed(tiny_store.path, "--level", "cell", "--no-ema", "--out", tmp_path / "c.h5ad")


def test_cells_do_not_take_the_place_of_a_gene_map(tiny_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = embed(tiny_store.path, "--level", "guide", "--features", "statistics")
    assert "guides.h5ad" in answer and [file.name for file in tmp_path.iterdir()] == ["guides.h5ad"]


def test_a_second_process_does_not_write_into_the_same_work_folder(tiny_store, tmp_path, monkeypatch):
    words = (tiny_store.path, "--level", "cell", "--features", "statistics", "--out", tmp_path / "cells.parquet")
    seen = []

    def meanwhile(sources, file):
        monkeypatch.undo()
        seen.append(CliRunner().invoke(app, ["embed", *map(str, words)]).exception)
        cell_vectors._read_all(sources, file)

    monkeypatch.setattr(cell_vectors, "_read_all", meanwhile)
    embed(*words)
    assert isinstance(seen[0], GrapeOpsError) and "is being written by process" in str(seen[0])
    assert [path.name for path in tmp_path.iterdir()] == ["cells.parquet"]
