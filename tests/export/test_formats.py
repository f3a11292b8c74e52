"""Gene maps, clusters and crops for other tools."""

from importlib.util import find_spec

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.embed import embed
from grape_ops.errors import GrapeOpsError
from grape_ops.export.formats import export_run
from grape_ops.screen.crop_files import h5sc_channels
from grape_ops.train.run_folder import Run, open_run


def test_genes_open_in_scanpys_format(export_run_path, tmp_path):
    export_run(export_run_path, "h5ad", tmp_path / "out" / "genes.h5ad", Config())
    adata = read_h5ad(tmp_path / "out" / "genes.h5ad")
    assert adata.obs_names.tolist() == ["CCT2", "COG1", "POLR2A", "RPL4", "SF3B1", "nontargeting"]
    assert np.array_equal(adata.X, embed(export_run_path, open_run(export_run_path).config.embed).X)
    planes = [key for key in adata.obsm if key.startswith("X_")]
    assert planes and all(adata.obsm[key].shape == (6, 2) for key in planes)
    # cellxgene refuses tables in obsm, and looks for a plane; UMAP is drawn from four genes on.
    assert all(isinstance(value, np.ndarray) for value in adata.obsm.values())
    assert "X_umap" in planes or find_spec("umap") is None
    assert adata.uns["method"].startswith("GRAPE")


def test_clusters_are_two_columns(export_run_path, tmp_path):
    pytest.importorskip("igraph")
    export_run(export_run_path, "clusters", tmp_path / "clusters.tsv", Config())
    table = pd.read_csv(tmp_path / "clusters.tsv", sep="\t")
    assert list(table) == ["gene_symbol", "cluster"] and len(table) == 5
    assert "nontargeting" not in set(table["gene_symbol"]) and table["cluster"].min() == 1


def test_h5sc_holds_masks_and_crops(export_run_path, tmp_path):
    export_run(export_run_path, "h5sc", tmp_path / "cells.h5sc", Config())
    store = CropStore.open(export_run_path.parent / "store")
    names, places = h5sc_channels(tmp_path / "cells.h5sc")
    assert names == list(store.channels) and places == [2, 3, 4]
    with h5py.File(tmp_path / "cells.h5sc") as file:
        images = file["obsm/single_cell_images"]
        assert images.shape == (len(store), 5, 32, 32) and images.dtype == np.float16
        every = np.arange(len(store))
        assert np.abs(images[:, 2:] - store.read(every) / 65535).max() < 1e-3
        masks = images[:, :2]
        assert set(np.unique(masks)) == {0, 1} and (masks[:, 0] <= masks[:, 1]).all()
    adata = read_h5ad(tmp_path / "cells.h5sc")
    assert adata.obs["scportrait_cell_id"].tolist() == every.tolist()
    assert adata.obs["gene_symbol"].tolist() == store.cells["gene_symbol"].tolist()


def test_exports_of_a_simulated_screen_say_so(export_run_path, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "simulated", True)
    export_run(export_run_path, "h5sc", tmp_path / "cells.h5sc", Config())
    assert "of the simulated crop store" in read_h5ad(tmp_path / "cells.h5sc").uns["single_cell_images"]["origin"]
    assert embed(export_run_path, open_run(export_run_path).config.embed).uns["simulated"]


def test_unknown_formats_and_folders_are_refused(export_run_path, tmp_path):
    with pytest.raises(GrapeOpsError, match="no format 'csv'; there are: h5ad, ops-standard, clusters, h5sc"):
        export_run(export_run_path, "csv", tmp_path / "x", Config())
    with pytest.raises(GrapeOpsError, match="is a folder; name a file"):
        export_run(export_run_path, "h5ad", tmp_path, Config())


def test_files_of_others_are_not_replaced(export_run_path, tmp_path, capsys):
    for form, name in (("clusters", "library.tsv"), ("h5sc", "cells.h5sc"), ("h5ad", "genes.h5ad")):
        mine = tmp_path / name
        mine.write_text("gene_symbol\tsgRNA\n")
        with pytest.raises(GrapeOpsError, match="exists and is not"):
            export_run(export_run_path, form, mine, Config())
        assert mine.read_text() == "gene_symbol\tsgRNA\n"
    again = tmp_path / "again.h5sc"
    for _ in range(2):
        export_run(export_run_path, "h5sc", again, Config())
    assert capsys.readouterr().err.count(f"an earlier {again} was replaced") == 1


def test_clusters_need_no_plane(export_run_path, tmp_path, monkeypatch):
    pytest.importorskip("igraph")
    monkeypatch.setattr("grape_ops.export.gene_map.projections", lambda *_: pytest.fail("UMAP was computed"))
    export_run(export_run_path, "clusters", tmp_path / "clusters.tsv", Config())
    export_run(export_run_path, "clusters", tmp_path / "clusters.tsv", Config())
