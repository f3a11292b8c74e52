"""Baselines that train GRAPE's networks: IMPA's configuration, and GRAPE at all positions."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from grape_ops.cells.batches import Sampler, StandardizedCrops
from grape_ops.config import Config, GeneratorSettings, InitSettings, ViewSettings, load_config, parse_config
from grape_ops.embed import trained_nets
from grape_ops.methods import METHODS, NOTES, Task
from grape_ops.methods.grape import grape_maps
from grape_ops.methods.impa import impa_config, some_cells_of_each
from grape_ops.methods.impa_networks import ImpaRecipe, NoisyLoader, NoisyMapping
from grape_ops.schema import METRICS_FILE
from grape_ops.train.log import read_metrics
from grape_ops.train.loop import train
from grape_ops.train.run_folder import open_run


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    impa = {"embedding_dim": 6, "noise_dim": 3}
    tree = tiny_config.model_dump() | {"baselines": {"impa": impa}}
    return parse_config(tree | {"train": tree["train"] | {"steps": 4, "evaluate_every": 0}}, "test")


def test_impas_configuration_is_what_it_says(config):
    own = impa_config(config, 6, seed=5)
    assert (own.model.mapping_layers, own.seed) == (1, 5) and not own.train.ema.enabled
    assert own.model.generator == config.model.generator and own.train.steps == config.train.steps


def test_impas_configuration_leaves_out_what_the_package_adds(config):
    recommended = load_config("recommended.yaml")
    own = impa_config(recommended, 6, seed=5)
    sizes = recommended.model.generator.model_dump(include={"width", "max_width", "down_blocks", "middle_blocks"})
    assert own.model.generator.model_dump() == GeneratorSettings().model_dump() | sizes
    assert (own.model.discriminator.judges, own.seen_through, own.train.together) == ("pixels", None, 1)
    assert own.train.views == ViewSettings() and own.train.init == InitSettings()
    assert (own.train.loss.match, own.train.loss.r1, own.train.optimizer.falling) == (0, 1, 0)
    assert own.train.steps == recommended.train.steps and own.train.augment


def test_each_crop_gets_two_draws_of_noise_that_a_step_decides(tiny_store):
    crops, sampler = StandardizedCrops(tiny_store, torch.device("cpu")), Sampler(tiny_store.labels, 5, 8, 0)
    one, again, next_one = (NoisyLoader(3, crops, sampler).fetch(step) for step in (1, 1, 2))
    assert one.noise.shape == one.other_noise.shape == (8, 3)
    assert not torch.equal(one.noise, one.other_noise) and not torch.equal(one.noise, next_one.noise)
    assert torch.equal(one.noise, again.noise)
    assert torch.equal(torch.cat([part.other_noise for part in one.parts(2)]), one.other_noise)
    halves = [NoisyLoader(3, crops, sampler, rank=rank, world=2).fetch(1).noise for rank in (0, 1)]
    assert torch.equal(torch.stack(halves, dim=1).flatten(0, 1), one.noise)


def test_noise_beside_a_vector_changes_its_style(config):
    mapping = NoisyMapping(3, config.model)
    vectors = torch.randn(4, config.model.embedding_dim)
    assert torch.equal(mapping(vectors), mapping(vectors, torch.zeros(4, 3)))
    assert not torch.equal(mapping(vectors), mapping(vectors, torch.ones(4, 3)))


def test_impas_diversity_is_logged_and_can_be_left_out(tiny_store, config, tmp_path):
    vectors = np.zeros((5, 6), np.float32)
    for weight in (1.0, 0.0):
        settings = config.baselines.impa.model_copy(update={"diversity": weight})
        own = impa_config(config, 6, seed=0)
        out = tmp_path / f"run-{weight}"
        train(tiny_store.path, out, own, recipe=ImpaRecipe(vectors, settings))
        lines = [line for line in read_metrics(out / METRICS_FILE) if "cycle" in line]
        assert lines and all(("diversity" in line) == (weight > 0) for line in lines)


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
    run = open_run(tmp_path / "work/run")
    recipe = ImpaRecipe(np.zeros((5, 4), np.float32), own.impa)
    nets, _ = trained_nets(run, averaged=False, nets=recipe.networks(run))
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
