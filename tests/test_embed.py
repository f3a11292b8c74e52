"""Gene vectors at the three positions."""

import shutil

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from grape_ops.config import EmbedSettings
from grape_ops.embed import embed, run_store, trained_nets, write_embedding
from grape_ops.errors import GrapeOpsError
from grape_ops.export.cell_vectors import write_cells
from grape_ops.train.checkpoint import checkpoints
from grape_ops.train.loop import train
from grape_ops.train.run_folder import Run, open_run


@pytest.fixture(scope="module")
def run(tiny_store, tiny_config, tmp_path_factory) -> Run:
    return train(tiny_store.path, tmp_path_factory.mktemp("embed") / "run", tiny_config)


def test_position_1_is_the_matrix_and_2_its_mapping(run):
    nets, _ = trained_nets(run, averaged=True)
    first, second = (embed(run.path, EmbedSettings(position=p)) for p in (1, 2))
    assert first.obs_names.tolist() == ["AAA", "BBB", "CCC", "DDD", "nontargeting"]
    np.testing.assert_array_equal(first.X, nets.embedding.weight.numpy())
    np.testing.assert_array_equal(second.X, nets.mapping(nets.embedding.weight).numpy())
    assert first.X.dtype == np.float32
    assert first.uns["method"] == "GRAPE M"
    assert first.obs["is_control"].tolist() == [False] * 4 + [True]


def test_position_3_reads_codes_back_from_restyled_cells(run, tiny_store):
    settings = EmbedSettings(position=3, cells_per_gene=7, batch_size=3)
    adata = embed(run.path, settings, seed=5)
    assert adata.X.shape == (5, 4)
    nets, _ = trained_nets(run, averaged=True)
    cells = np.random.default_rng([5, 2]).choice(len(tiny_store), 7, replace=False)
    images = torch.from_numpy(tiny_store.standardized(cells))
    with torch.no_grad():
        codes = nets.style_encoder(nets.restyle(images, torch.full((7,), 2)))
    np.testing.assert_allclose(adata.X[2], codes.mean(dim=0).numpy(), rtol=1e-4, atol=1e-5)
    again = embed(run.path, settings, seed=5)
    other = embed(run.path, settings, seed=6)
    np.testing.assert_array_equal(adata.X, again.X)
    assert not np.array_equal(adata.X, other.X)


def test_filtered_and_last_weights_differ_and_are_named(run):
    filtered, last = (embed(run.path, EmbedSettings(ema=ema)) for ema in (True, False))
    assert not np.array_equal(filtered.X, last.X)
    assert filtered.uns["grape"]["ema"] and not last.uns["grape"]["ema"]


def test_another_checkpoint_can_be_asked_for(run):
    first = checkpoints(run.path)[0]
    assert not np.array_equal(embed(run.path, EmbedSettings(), checkpoint=first).X, embed(run.path, EmbedSettings()).X)


def test_what_is_written_reads_back_with_counts_and_batches(run, tiny_store, tmp_path):
    write_embedding(run.path, tmp_path / "deep" / "genes.h5ad", position=2)
    adata = anndata.read_h5ad(tmp_path / "deep" / "genes.h5ad")
    assert adata.obs["n_cells"].sum() == len(tiny_store)
    assert adata.obs["n_guides"].tolist() == [2] * 5
    shares = adata.obsm["batch_composition"]
    assert isinstance(shares, np.ndarray) and list(adata.uns["batch_names"]) == list(tiny_store.batches)
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_a_moved_store_is_asked_for_and_a_foreign_one_refused(run, tiny_store, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(run.path, moved / "run")
    with pytest.raises(GrapeOpsError, match="--store"):
        run_store(open_run(moved / "run"))
    assert len(run_store(open_run(moved / "run"), tiny_store.path)) == len(tiny_store)
    shutil.copytree(tiny_store.path, tmp_path / "store")
    file = tmp_path / "store" / "store.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(GrapeOpsError, match="not the crop store"):
        run_store(run, tmp_path / "store")


def test_a_run_without_checkpoints_or_filter_says_so(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(GrapeOpsError, match="no checkpoint"):
        embed(tmp_path / "run", EmbedSettings())
    with pytest.raises(GrapeOpsError, match="not a run folder"):
        embed(tmp_path, EmbedSettings())


def test_our_earlier_vectors_are_replaced_and_said_and_those_of_others_refused(run, tmp_path, capsys):
    out = tmp_path / "genes.h5ad"
    write_embedding(run.path, out, position=1)
    write_embedding(run.path, out, position=2)
    assert "was replaced" in capsys.readouterr().err
    assert anndata.read_h5ad(out).uns["method"] == "GRAPE F(M)"
    foreign = anndata.AnnData(np.ones((2, 3), np.float32))
    foreign.uns["method"] = "years of work"
    foreign.write_h5ad(tmp_path / "mine.h5ad")
    (tmp_path / "notes.txt").write_text("notes")
    for name in ("mine.h5ad", "notes.txt"):
        with pytest.raises(GrapeOpsError, match="is not a file of gene vectors of grape-ops"):
            write_embedding(run.path, tmp_path / name)
    assert anndata.read_h5ad(tmp_path / "mine.h5ad").uns["method"] == "years of work"


def test_hits_are_joined_and_a_gene_that_was_not_tested_is_not_called_one_without_a_phenotype(
    run, write_hits_folder, tmp_path
):
    store = run.record["store_fingerprint"]
    hits = write_hits_folder(tmp_path / "hits", store, {"AAA": True, "BBB": False, "CCC": True})
    write_embedding(run.path, tmp_path / "genes.h5ad", hits=hits)
    obs = anndata.read_h5ad(tmp_path / "genes.h5ad").obs
    assert obs["is_hit"].tolist() == [True, False, True, pd.NA, pd.NA]
    np.testing.assert_array_equal(obs["hit_effect"], [1.5, 0.25, 1.5, np.nan, np.nan])
    assert {"hit_p_value", "hit_q_value", "guides_agree"} <= set(obs)
    write_embedding(run.path, tmp_path / "plain.h5ad")
    assert "is_hit" not in anndata.read_h5ad(tmp_path / "plain.h5ad").obs


def test_hits_of_another_store_are_refused(run, write_hits_folder, tmp_path):
    other = write_hits_folder(tmp_path / "other", "0" * 64, {"AAA": True})
    with pytest.raises(GrapeOpsError, match="those of another crop store than the run's"):
        write_embedding(run.path, tmp_path / "genes.h5ad", hits=other)
    with pytest.raises(GrapeOpsError, match="There is no result of `grape-ops hits`"):
        write_embedding(run.path, tmp_path / "genes.h5ad", hits=tmp_path)
    (other / "hits.json").write_text("{}")
    with pytest.raises(GrapeOpsError, match="it does not say store, settings, calibration"):
        write_embedding(run.path, tmp_path / "genes.h5ad", hits=other)
    strangers = write_hits_folder(tmp_path / "strangers", run.record["store_fingerprint"], {"XYZ": True})
    with pytest.raises(GrapeOpsError, match="None of the rows of these vectors"):
        write_embedding(run.path, tmp_path / "genes.h5ad", hits=strangers)
    assert not (tmp_path / "genes.h5ad").exists()


def test_codes_of_real_cells_are_what_e_reads(run, tiny_store, tmp_path):
    part = run.config.model_copy(update={"features": run.config.features.model_copy(update={"channels": ("DNA",)})})
    with pytest.raises(GrapeOpsError, match="codes cannot be restricted"):
        write_cells(run.path, tmp_path / "codes.h5ad", part, level="cell")
    write_cells(run.path, tmp_path / "codes.h5ad", run.config, level="cell")
    cells = anndata.read_h5ad(tmp_path / "codes.h5ad")
    nets, _ = trained_nets(run, averaged=True)
    with torch.no_grad():
        codes = nets.style_encoder(torch.from_numpy(tiny_store.standardized(np.arange(len(tiny_store)))))
    np.testing.assert_allclose(cells.X, codes.numpy(), rtol=1e-4, atol=1e-5)
    assert cells.uns["method"] == "codes" and cells.obs["row"].tolist() == tiny_store.cells["row"].tolist()
    write_cells(run.path, tmp_path / "guides.h5ad", run.config, level="guide")
    assert anndata.read_h5ad(tmp_path / "guides.h5ad").obs["n_cells"].sum() == len(tiny_store)
    with pytest.raises(GrapeOpsError, match="keeps no classifier: .*--features learned trains one"):
        write_cells(run.path, tmp_path / "n.h5ad", run.config, level="cell", features="network")
