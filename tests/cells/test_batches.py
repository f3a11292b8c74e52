"""The balanced, seeded sampler and the way from the store to a minibatch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops, turn_and_mirror
from grape_ops.errors import GrapeOpsError

LABELS = np.repeat(np.arange(5), [3, 50, 8, 1, 20])
CPU = torch.device("cpu")


def drawn(sampler: Sampler, steps: int) -> np.ndarray:
    return np.concatenate([sampler.draw(step)[0] for step in range(steps)])


def test_every_round_holds_every_perturbation_once():
    cells = drawn(Sampler(LABELS, 5, batch_size=4, seed=0), 50)
    assert (np.sort(LABELS[cells].reshape(-1, 5), axis=1) == np.arange(5)).all()


def test_targets_come_equally_often_and_independently():
    sampler = Sampler(LABELS, 5, batch_size=10, seed=0)
    targets = np.concatenate([sampler.draw(step)[1] for step in range(500)])
    assert (np.bincount(targets) == 1000).all()
    labels = LABELS[drawn(sampler, 500)]
    table = np.histogram2d(labels, targets, bins=5)[0]
    assert abs(table / 200 - 1).max() < 0.3


def test_a_perturbations_cells_are_all_seen_before_one_comes_again():
    cells = drawn(Sampler(LABELS, 5, batch_size=5, seed=1), 50)
    for gene in range(5):
        own = cells[LABELS[cells] == gene]
        n = (gene == LABELS).sum()
        for start in range(0, len(own) - n + 1, n):
            assert len(set(own[start : start + n])) == n


def test_uniform_sampling_sees_every_cell_once_a_round():
    cells = drawn(Sampler(LABELS, 5, batch_size=41, seed=1, mode="uniform"), 4)
    assert sorted(cells[: len(LABELS)]) == list(range(len(LABELS)))


@settings(max_examples=25, deadline=None)
@given(step=st.integers(0, 10_000), seed=st.integers(0, 2**31), mode=st.sampled_from(["balanced", "uniform"]))
def test_a_draw_depends_on_seed_and_step_alone(step: int, seed: int, mode: str):
    fresh = Sampler(LABELS, 5, 8, seed, mode)
    used = Sampler(LABELS, 5, 8, seed, mode)
    for earlier in (step + 3, 0, step // 2):
        used.draw(earlier)
    for a, b in zip(fresh.draw(step), used.draw(step), strict=True):
        assert np.array_equal(a, b)


def test_other_seeds_draw_other_cells():
    assert not np.array_equal(drawn(Sampler(LABELS, 5, 20, 0), 3), drawn(Sampler(LABELS, 5, 20, 1), 3))


def test_a_perturbation_without_cells_is_an_error():
    with pytest.raises(GrapeOpsError, match="no cells"):
        Sampler(np.array([0, 2]), 3, 4, 0)


def test_turning_and_mirroring_gives_the_eight_symmetries():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    turned = turn_and_mirror(image.expand(8, 1, 3, 3), torch.arange(8))
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 8
    assert torch.equal(turned[0], image[0])
    assert (turned.flatten(1).sort(dim=1).values == torch.arange(9.0)).all()


def test_batches_are_the_stores_standardised_crops(tiny_store):
    sampler = Sampler(tiny_store.labels, len(tiny_store.perturbations), 8, 0)
    batch = BatchLoader(StandardizedCrops(tiny_store, CPU), sampler).fetch(3)
    cells, targets = sampler.draw(3)
    np.testing.assert_allclose(batch.images.numpy(), tiny_store.standardized(cells), rtol=1e-5, atol=1e-5)
    assert batch.labels.tolist() == tiny_store.labels[cells].tolist()
    assert batch.targets.tolist() == targets.tolist()


def test_processes_share_a_batch_without_changing_it(tiny_store):
    sampler = Sampler(tiny_store.labels, len(tiny_store.perturbations), 8, 0)
    whole = BatchLoader(StandardizedCrops(tiny_store, CPU), sampler, augment=True).fetch(5)
    parts = [
        BatchLoader(StandardizedCrops(tiny_store, CPU), sampler, augment=True, rank=r, world=2).fetch(5) for r in (0, 1)
    ]
    joined = torch.empty_like(whole.images)
    joined[0::2], joined[1::2] = parts[0].images, parts[1].images
    assert torch.equal(joined, whole.images)


def test_fetching_ahead_changes_nothing(tiny_store):
    sampler = Sampler(tiny_store.labels, len(tiny_store.perturbations), 8, 0)
    loader = BatchLoader(StandardizedCrops(tiny_store, CPU), sampler, augment=True)
    for step, batch in zip(range(2, 6), loader.batches(2, 6), strict=True):
        assert torch.equal(batch.images, loader.fetch(step).images)
