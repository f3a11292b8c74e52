"""What M is initialised with: angles are kept, held-out cells are not seen, and runs go on from it bit for bit."""

import anndata as ad
import numpy as np
import pytest
import torch

from grape_ops.cells.batches import hold_out
from grape_ops.cells.gene_effects import CellSums
from grape_ops.config import ClassifierSettings, Config, EmbedSettings, lay_over, parse_config
from grape_ops.cosine import unit_rows
from grape_ops.embed import embed
from grape_ops.schema import INIT_FILE, METRICS_FILE
from grape_ops.train import initialize
from grape_ops.train.fit_classifier import new_classifier, train_classifier
from grape_ops.train.initialize import (
    cells_of_each,
    classifier_gene_effects,
    classifiers_to_train,
    sum_layers,
    turned_into,
)
from grape_ops.train.log import read_metrics
from grape_ops.train.loop import train


def test_turning_keeps_angles_and_lengths():
    rows = np.random.default_rng(0).normal(size=(6, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    turned = turned_into(rows, 9, torch.Generator().manual_seed(0))
    assert turned.shape == (6, 9)
    torch.testing.assert_close(turned @ turned.T, torch.from_numpy(rows @ rows.T).float(), rtol=1e-5, atol=1e-6)


def test_too_many_directions_are_cut_to_the_strongest():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(20, 3)), 0.01 * rng.normal(size=(20, 5))], axis=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    turned = turned_into(rows, 3, torch.Generator().manual_seed(0))
    assert (turned @ turned.T).numpy() == pytest.approx(rows @ rows.T, abs=0.01)


def initialized(config: Config) -> Config:
    """Return a configuration whose M is initialised with a tiny classifier's gene effects."""
    tree = config.model_dump(mode="json")
    lay_over(tree, "train.init={kind: classifier, classifier: {width: 4, max_width: 8, steps: 3, batch_size: 8}}")
    return parse_config(tree, "a test")


def test_a_run_that_starts_from_a_classifier_goes_on_bit_for_bit(tiny_store, tiny_config, tmp_path):
    config = initialized(tiny_config)
    whole = train(tiny_store.path, tmp_path / "whole", config)
    first = config.model_copy(update={"train": config.train.model_copy(update={"steps": 4})})
    train(tiny_store.path, tmp_path / "parts", first)
    parts = train(tiny_store.path, tmp_path / "parts", config, resume=True)
    for name in ("nets.safetensors", "average.safetensors", "optimizers.safetensors"):
        ours, theirs = (run.latest_checkpoint() / name for run in (whole, parts))
        assert ours.read_bytes() == theirs.read_bytes()


def test_m_begins_as_the_initialisation_says_and_that_can_be_evaluated(tiny_store, tiny_config, tmp_path):
    config = initialized(tiny_config)
    run = train(tiny_store.path, tmp_path / "run", config)
    first = ad.read_h5ad(run.path / INIT_FILE)
    assert first.obs_names.tolist() == run.genes.index.tolist()
    lengths = np.linalg.norm(first.X, axis=1)
    np.testing.assert_allclose(lengths, config.model.embedding_dim**0.5, rtol=1e-5)
    drift = np.abs(embed(run.path, EmbedSettings(ema=False)).X - first.X).max()
    rate = config.train.optimizer.embedding_learning_rate or config.train.optimizer.learning_rate
    assert next(read_metrics(run.path / METRICS_FILE)).keys() == {"step", "init_s"}
    assert 0 < drift < 5 * rate * config.train.steps


def test_more_networks_differ_and_are_read_side_by_side(tiny_store, tiny_config, monkeypatch):
    tree = initialized(tiny_config).model_dump(mode="json")
    lay_over(tree, "train.init.networks=2")
    widths = []
    zeros = CellSums.zeros

    def note(perturbations: int, batches: int, features: int) -> CellSums:
        widths.append(features)
        return zeros(perturbations, batches, features)

    monkeypatch.setattr(CellSums, "zeros", note)
    one = classifier_gene_effects(tiny_store, initialized(tiny_config))
    two = classifier_gene_effects(tiny_store, parse_config(tree, "a test"))
    assert widths[1] == 2 * widths[0]
    assert np.abs(two @ two.T - one @ one.T).max() > 1e-3  # the second network saw the cells in another way


def test_classifiers_with_cells_of_their_own_share_none_and_effects_are_read_from_all(
    tiny_store, tiny_config, monkeypatch
):
    tree = initialized(tiny_config).model_dump(mode="json")
    lay_over(tree, "train.init.networks=2")
    lay_over(tree, "train.init.cells_per_network=1")
    config = parse_config(tree, "a test")
    taught, read = [], []
    train, add = initialize.train_classifier, CellSums.add

    def note_training(store, settings, seed, cells, *rest):
        taught.append(cells)
        return train(store, settings, seed, cells, *rest)

    def note_reading(sums: CellSums, features: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> None:
        read.append(len(labels))
        add(sums, features, labels, batches)

    monkeypatch.setattr(initialize, "train_classifier", note_training)
    monkeypatch.setattr(CellSums, "add", note_reading)
    classifier_gene_effects(tiny_store, config)
    seen = np.flatnonzero(~hold_out(tiny_store.labels, config.train.holdout, config.seed))
    np.testing.assert_array_equal(np.sort(np.concatenate(taught)), seen)
    for part in taught:
        assert set(tiny_store.labels[part]) == set(tiny_store.labels)
    assert sum(read) == len(seen)


def test_a_perturbation_with_fewer_cells_than_classifiers_teaches_all_of_them():
    labels = np.array([0, 0, 0, 0, 1])
    first, second = cells_of_each(labels, np.arange(5), 2, seed=0)
    assert 4 in first and 4 in second
    assert sorted([*first, *second]) == [0, 1, 2, 3, 4, 4]


def test_few_cells_stay_together(tiny_store, tiny_config):
    tree = initialized(tiny_config).model_dump(mode="json")
    for setting in ("networks=4", "cells_per_network=10"):
        lay_over(tree, f"train.init.{setting}")
    lay_over(tree, "train.holdout=0.1")
    config = parse_config(tree, "a test")
    labels = np.repeat(np.arange(3), [25, 25, 500])  # 22 cells of the median perturbation are not held out
    assert classifiers_to_train(config, labels) == 2
    assert classifiers_to_train(config, labels[:5]) == 1


def test_the_initialisation_computes_as_training_does(tiny_store, tiny_config):
    tree = initialized(tiny_config).model_dump(mode="json")
    lay_over(tree, "train.precision=bf16-mixed")
    full = classifier_gene_effects(tiny_store, initialized(tiny_config))
    half = classifier_gene_effects(tiny_store, parse_config(tree, "a test"))
    assert np.isfinite(half).all() and not np.array_equal(full, half)
    assert (unit_rows(full) * unit_rows(half)).sum(axis=1).min() > 0.9


def test_held_out_cells_do_not_reach_the_initialisation(tiny_store, tiny_config, monkeypatch):
    tree = initialized(tiny_config).model_dump(mode="json")
    lay_over(tree, "train.holdout=0.3")
    config = parse_config(tree, "a test")
    seen = []

    def note(sums: CellSums, features: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> None:
        seen.append(len(labels))
        add(sums, features, labels, batches)

    add = CellSums.add
    monkeypatch.setattr(CellSums, "add", note)
    classifier_gene_effects(tiny_store, config)
    assert sum(seen) == (~hold_out(tiny_store.labels, 0.3, config.seed)).sum() < len(tiny_store)


def test_one_pass_gives_the_sums_of_two(tiny_store):
    sizes = [ClassifierSettings(width=width, max_width=8, batch_size=8) for width in (4, 6)]
    networks = [new_classifier(tiny_store, size, seed=1).eval() for size in sizes]
    cells = np.arange(len(tiny_store))
    both = sum_layers(networks, tiny_store, cells, layers=True, centred=True)
    apart = (
        sum_layers(networks, tiny_store, cells, layers=True, centred=False)[0],
        sum_layers(networks, tiny_store, cells, layers=False, centred=True)[1],
    )
    assert apart[0].by_gene.shape[1] == 2 * sum(sum(network.map_widths) for network in networks)
    assert apart[1].by_gene.shape[1] == 4 * sum(networks[0].map_widths)
    for one, other in zip(both, apart, strict=True):
        for name in ("counts", "by_gene", "by_batch", "products"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    ("kind", "judges", "count"), [("noise", "pixels", 0), ("noise", "features", 1), ("classifier", "pixels", 3)]
)
def test_no_classifier_is_trained_that_nothing_looks_at(
    tiny_store, tiny_config, tmp_path, monkeypatch, kind, judges, count
):
    tree = initialized(tiny_config).model_dump(mode="json")
    for override in (
        f"train.init.kind={kind}",
        "train.init.networks=3",
        f"model.discriminator.judges={judges}",
        "train.steps=1",
    ):
        lay_over(tree, override)
    trained = []

    def note(*arguments: object) -> object:
        trained.append(arguments)
        return train_classifier(*arguments)

    monkeypatch.setattr(initialize, "train_classifier", note)
    train(tiny_store.path, tmp_path / "run", parse_config(tree, "a test"))
    assert len(trained) == count
