"""The weakly supervised network: balance, learning, reproducibility."""

import copy

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from grape_ops.cells.averages import standardize_by_controls
from grape_ops.cells.batches import Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import ClassifierSettings, parse_config
from grape_ops.cosine import unit_rows
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, Task
from grape_ops.methods.classifier import classifier_means, classifier_vectors
from grape_ops.methods.statistics import read_statistics
from grape_ops.train import fit_classifier
from grape_ops.train.fit_classifier import EarlyStopping, held_cells, new_classifier, train_classifier

SMALL = ClassifierSettings(width=8, max_width=32, steps=150, batch_size=32)


@pytest.fixture
def store(two_phenotypes: CropStore) -> CropStore:
    return two_phenotypes


def test_genes_of_one_phenotype_come_together(store):
    torch.set_num_threads(1)
    vectors = classifier_means(train_classifier(store, SMALL, 0), store)
    assert vectors.obs_names.tolist() == ["SPOT1", "SPOT2", "STRIPE1", "STRIPE2", "nontargeting"]
    unit = vectors.X[:4] / np.linalg.norm(vectors.X[:4], axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert min(cosine[0, 1], cosine[2, 3]) > 0.9 > 0.5 > cosine[:2, 2:].max()
    assert np.abs(vectors.X[4]).max() < 1e-4  # controls are the origin


def test_equal_seeds_give_equal_networks(store):
    torch.set_num_threads(1)
    short = SMALL.model_copy(update={"steps": 3})
    one, two, other = (train_classifier(store, short, seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_it_computes_as_training_does(store, tmp_path):
    torch.set_num_threads(1)
    short = SMALL.model_copy(update={"steps": 3})
    trees = [
        parse_config({"train": {"init": {"classifier": short.model_dump()}, "precision": precision}}, "a test")
        for precision in ("32-true", "bf16-mixed")
    ]
    full, half = (classifier_vectors(Task(store, tree, 0, tmp_path)).X for tree in trees)
    assert np.isfinite(half).all() and not np.array_equal(full, half)
    assert (unit_rows(full[:4]) * unit_rows(half[:4])).sum(axis=1).min() > 0.9  # controls are the origin
    assert METHODS["classifier"].decisive(trees[0]) != METHODS["classifier"].decisive(trees[1])


def test_every_gene_is_drawn_equally_often(store):
    crops = StandardizedCrops(store, torch.device("cpu"))
    loader = fit_classifier._loader(crops, SMALL, 0, np.arange(len(store)))
    cells = np.concatenate([loader.sampler.draw(step)[0] for step in range(10)])
    assert (np.bincount(store.labels[cells]) == 64).all()


def test_jitter_changes_gain_and_offset_of_each_channel_and_nothing_else():
    images = torch.randn(3, 2, 8, 8)
    assert fit_classifier.jittered(images, 0, torch.Generator()) is images
    changed = fit_classifier.jittered(images, 0.5, torch.Generator().manual_seed(0))
    flat, other = images.flatten(2), changed.flatten(2)
    for crop, channel in np.ndindex(3, 2):
        line = np.polyfit(flat[crop, channel], other[crop, channel], 1)
        assert np.polyval(line, flat[crop, channel]) == pytest.approx(other[crop, channel].numpy(), abs=1e-5)
        assert abs(line[0] - 1) > 1e-3 and abs(line[1]) > 1e-3


def test_depth_follows_the_crop_and_too_much_of_it_is_refused(store):
    network = new_classifier(store, SMALL, 0)
    halvings = sum(layer.stride == (2, 2) for layer in network.trunk if isinstance(layer, torch.nn.Conv2d))
    assert halvings == 2  # 16 px -> 4 px
    with pytest.raises(GrapeOpsError, match="blocks=5 halvings leave nothing of a crop of 16 px"):
        new_classifier(store, SMALL.model_copy(update={"blocks": 5}), 0)


def test_it_stops_when_the_cells_set_aside_have_long_fared_no_better(store, monkeypatch):
    """The network memorises its cells: it is sure of a gene that is wrong for cells it has not seen."""
    monkeypatch.setattr(fit_classifier, "PATIENCE", 200)
    crops = StandardizedCrops(store, torch.device("cpu"))
    cells = np.arange(0, len(store), 7)
    truth = torch.nn.functional.one_hot(torch.from_numpy(store.labels[cells]).long(), 5).float()
    for quality, told in (([0, 1, 2, 1, 1, 1, 1], 500), ([0, 1, 2, 3, 4, 5, 6], None), ([3, 2, 1, 0], 300)):
        stopping, stopped = EarlyStopping(crops, cells, store.labels), None
        for look, good in enumerate(quality, start=1):
            monkeypatch.setattr(fit_classifier, "features_of", lambda *_, good=good: (good * truth).numpy())
            if stopping.has_seen_enough(torch.nn.Identity(), 100 * look):
                stopped = 100 * look
                break
        assert stopped == told


def test_with_no_cells_set_aside_it_does_all_steps(store):
    assert not EarlyStopping(StandardizedCrops(store, torch.device("cpu")), np.arange(0), store.labels).has_seen_enough(
        torch.nn.Identity(), 10**9
    )


def test_it_ends_early_where_cells_differ_by_chance_only(store, monkeypatch):
    """Labels dealt at random can only be memorised."""
    torch.set_num_threads(1)
    monkeypatch.setattr(fit_classifier, "LOOK_EVERY", 10)
    monkeypatch.setattr(fit_classifier, "PATIENCE", 10)
    looks = []
    judged = EarlyStopping.has_seen_enough
    monkeypatch.setattr(EarlyStopping, "has_seen_enough", lambda *given: looks.append(given[2]) or judged(*given))
    shuffled = copy.copy(store)
    shuffled.labels = np.random.default_rng(0).permutation(store.labels)
    train_classifier(shuffled, SMALL.model_copy(update={"steps": 400}), 0)
    assert looks[-1] < 400


def test_cells_set_aside_are_not_learnt_from(store, monkeypatch):
    seen = []
    draw = Sampler.draw
    monkeypatch.setattr(Sampler, "draw", lambda self, step: seen.append(drawn := draw(self, step)) or drawn)
    short = SMALL.model_copy(update={"steps": 30, "holdout": 0.25})
    train_classifier(store, short, 3, cells=np.arange(200))
    learnt = np.unique(np.concatenate([cells for cells, *_ in seen]))
    held = np.flatnonzero(held_cells(store.labels[:200], 0.25, 3))
    assert len(held) == 50 and not np.isin(learnt, held).any() and learnt.max() < 200


def test_no_more_cells_are_set_aside_than_it_takes(monkeypatch):
    monkeypatch.setattr(fit_classifier, "MOST_HELD", 30)
    labels = np.repeat(np.arange(5), 100)
    held = held_cells(labels, 0.5, 0)
    assert held.sum() == 30 and (held_cells(labels, 0.5, 0) == held).all()
    assert held_cells(labels, 0, 0).sum() == 0


def test_what_is_kept_is_an_average_of_the_weights_and_their_statistics(store):
    torch.set_num_threads(1)
    kept = train_classifier(store, SMALL.model_copy(update={"steps": 40}), 0)
    assert not kept.training and not any(weight.requires_grad for weight in kept.parameters())
    noise, average, spread = torch.randn(4000, generator=torch.Generator().manual_seed(0)), torch.tensor(99.0), {}
    for updates, weight in enumerate(5 + noise, start=1):
        average = fit_classifier._moved(average, weight, updates)
        spread[updates] = abs(float(average) - 5)
    assert spread[1] == pytest.approx(abs(float(noise[0])), abs=1e-5)  # where it began is forgotten at once
    assert max(spread[step] for step in range(1000, 4001)) < 0.25  # one in 400 of the noise's variance


@pytest.mark.filterwarnings("error")
def test_layers_of_a_single_pixel_have_no_deviation(store):
    halvings = int(np.log2(store.crop_size))
    network = new_classifier(store, SMALL.model_copy(update={"blocks": halvings}), 0).eval()
    images = torch.randn(2, len(store.channels), store.crop_size, store.crop_size)
    assert torch.isfinite(network.layers(images)).all()


def test_an_untrained_network_is_read_as_the_trained_one(store, tmp_path):
    torch.set_num_threads(1)
    config = parse_config({"train": {"accelerator": "cpu", "init": {"classifier": SMALL.model_dump()}}}, "test")
    one, again, other = (METHODS["untrained"].run(Task(store, config, seed, tmp_path)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.X, again.X)
    assert not np.array_equal(one.X, other.X) and one.uns["method"] == "untrained"
    network = new_classifier(store, SMALL, 0).eval()
    np.testing.assert_array_equal(one.X, classifier_means(network, store).X)
    assert np.abs(one.X[4]).max() < 1e-4  # controls are the origin


def test_sphered_features_are_those_of_controls_with_equal_spread(store, tmp_path):
    config = parse_config({"baselines": {"engineered": {"clip": 1e9}}}, "test")
    made = METHODS["statistics_sphered"].run(Task(store, config, 0, tmp_path))
    _, read = read_statistics(store)
    scaled = standardize_by_controls(read(np.arange(len(store))), store)
    controls = store.labels == store.control_label
    components = PCA(n_components=0.95, svd_solver="full", whiten=True).fit(scaled[controls])
    means = np.stack([scaled[store.labels == label].mean(axis=0) for label in range(5)])
    wanted = means @ components.components_.T / np.sqrt(components.explained_variance_)
    np.testing.assert_allclose(made.X @ made.X.T, wanted @ wanted.T, rtol=0.05, atol=0.05)
    plain = METHODS["statistics"].run(Task(store, config, 0, tmp_path))
    assert made.uns["method"] == "statistics_sphered" and made.n_vars < plain.n_vars


def test_every_sphered_row_counts_the_settings_of_its_features():
    changed = parse_config({"train": {"init": {"classifier": {"steps": 7}}}, "features": {"texture_levels": 8}}, "test")
    whitened = parse_config({"baselines": {"engineered": {"variance": 0.5}}}, "test")
    plain = parse_config({}, "test")
    for name in ("statistics", "engineered", "classifier"):
        method = METHODS[f"{name}_sphered"]
        assert method.decisive(whitened) != method.decisive(plain) and method.needs == METHODS[name].needs
        assert (method.decisive(changed) == method.decisive(plain)) == (name == "statistics")
