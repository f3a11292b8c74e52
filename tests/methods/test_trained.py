"""Baselines that train GRAPE's networks: IMPA's configuration, and GRAPE at all positions."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from grape_ops.config import Config, parse_config
from grape_ops.embed import trained_nets
from grape_ops.methods import METHODS, NOTES, Task
from grape_ops.methods.grape import grape_maps
from grape_ops.methods.impa import impa_config, some_cells_of_each
from grape_ops.train.run import open_run


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    impa = {"embedding_dim": 6, "noise_dim": 3}
    tree = tiny_config.model_dump() | {"baselines": {"impa": impa}}
    return parse_config(tree | {"train": tree["train"] | {"steps": 4, "evaluate_every": 0}}, "test")


def test_impas_configuration_is_what_it_says(config):
    own = impa_config(config, 6, seed=5)
    assert (own.model.noise_dim, own.model.mapping_layers, own.seed) == (3, 1, 5)
    assert own.train.loss.diversity == 1 and not own.train.ema.enabled
    assert own.model.generator == config.model.generator and own.train.steps == config.train.steps


def test_impas_given_vectors_stay_and_its_vectors_are_codes_of_real_cells(tiny_store, config, tmp_path):
    given = anndata.AnnData(np.arange(8, dtype=np.float32).reshape(2, 4), obs=pd.DataFrame(index=["AAA", "CCC"]))
    given.write_h5ad(tmp_path / "given.h5ad")
    own = config.baselines.model_copy(
        update={"impa": config.baselines.impa.model_copy(update={"embedding": tmp_path / "given.h5ad"})}
    )
    task = Task(tiny_store, config.model_copy(update={"baselines": own}), 0, tmp_path / "work")
    adata = METHODS["impa"].run(task)
    assert adata.shape == (5, config.model.style_dim) and np.isfinite(adata.X).all()
    assert "given.h5ad gives the vectors of 2 of 5" in adata.uns[NOTES][0]
    nets, _ = trained_nets(open_run(tmp_path / "work/run"), averaged=False)
    kept = nets.embedding.weight[[0, 2]].numpy()
    matrix = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(kept, (matrix - matrix.mean(axis=0)) / matrix.std())
    assert (METHODS["impa"].run(task).X == adata.X).all()  # a finished training is not done again
    other = Task(tiny_store, config, 1, tmp_path / "other")
    assert METHODS["impa"].run(other).shape == (5, config.model.style_dim)


def test_at_most_so_many_cells_of_each():
    labels = np.repeat([0, 1, 2], [2, 30, 10])
    cells = some_cells_of_each(labels, 5, seed=0)
    assert np.bincount(labels[cells]).tolist() == [2, 5, 5] and (np.diff(cells) > 0).all()
    assert (cells == some_cells_of_each(labels, 5, seed=0)).all()
    assert (cells != some_cells_of_each(labels, 5, seed=1)).any()


def test_grape_gives_all_positions_of_one_training(tiny_store, config, tmp_path):
    maps = grape_maps(Task(tiny_store, config, 3, tmp_path))
    assert list(maps) == [f"GRAPE {p}{e}" for e in ("", ", no EMA") for p in ("M", "F(M)", "E")]
    nets, _ = trained_nets(open_run(tmp_path / "run"), averaged=True)
    assert open_run(tmp_path / "run").config.seed == 3
    with torch.no_grad():
        assert np.array_equal(maps["GRAPE M"].X, nets.embedding().numpy())
    assert not np.array_equal(maps["GRAPE M"].X, maps["GRAPE M, no EMA"].X)
