"""One folder with everything that examples read, made once for all of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import grape_ops as go
from grape_ops.cells.genes import write_gene_vectors

SMALL_SCREEN = {
    "complexes": 2,
    "genes_per_complex": 2,
    "cells_per_gene": 20,
    "control_cells": 40,
    "plates": 1,
    "wells_per_plate": 1,
    "tile_size": 256,
}
QUICK = {"permutations": 50, "kmeans_runs": 5, "bootstrap": 20, "sweep_max": 4, "leiden_runs": 2, "shuffles": 5}


@pytest.fixture(scope="package")
def one_process(jobs_here) -> Iterator[None]:
    """Do in this process what takes others: starting one costs more than all examples together."""
    with jobs_here(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("grape_ops.workers.core_count", lambda: 1)
        yield


@pytest.fixture(scope="package")
def made(tmp_path_factory, tiny_store, tiny_config, one_process) -> Path:
    """A folder with screen/, store/, run/, genes.h5ad, statistics.h5ad, truth.tsv and tiny.yaml."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(tiny_store.path, folder / "store")
    tree = tiny_config.model_dump(mode="json")
    tree["train"] |= {"steps": 4}
    tree["evaluate"] |= QUICK
    tree["preprocess"] |= {"workers": 1}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree | {"simulate": SMALL_SCREEN}))
    (folder / "truth.tsv").write_text("gene_symbol\tcomplex\nAAA\tone\nCCC\tone\nBBB\ttwo\nDDD\ttwo\n")
    go.simulate_screen(folder / "screen", folder / "tiny.yaml")
    go.train_model(folder / "store", folder / "run", folder / "tiny.yaml")
    write_gene_vectors(go.embed_genes(folder / "run"), folder / "genes.h5ad")
    go.run_method("statistics", folder / "store", out=folder / "statistics.h5ad")
    return folder


@pytest.fixture
def folder(made, one_process, monkeypatch) -> Path:
    """The same as the working folder; what is written there stays for later tests, so names are not used twice."""
    monkeypatch.chdir(made)
    return made
