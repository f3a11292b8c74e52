"""Self-supervision across batches: which cells are compared, the loss, and what is learnt."""

import dataclasses

import numpy as np
import pytest
import torch

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, Task, check_methods
from grape_ops.methods.classifier import classifier_means
from grape_ops.methods.consistency import consistency_loss, train_consistency
from grape_ops.methods.paired_groups import PairedGroups
from grape_ops.schema import GENE, GUIDE


def settings(**own) -> Config:
    network = {"width": 8, "max_width": 32}
    consistency = {"steps": 60, "groups": 5, "cells_per_group": 6} | own
    tree = {"accelerator": "cpu", "init": {"classifier": network}}
    return parse_config({"train": tree, "baselines": {"consistency": consistency}}, "a test")


def test_genes_of_one_phenotype_come_together(two_phenotypes, tmp_path):
    vectors = METHODS["consistency"].run(Task(two_phenotypes, settings(), 0, tmp_path))
    assert vectors.obs_names.tolist() == ["SPOT1", "SPOT2", "STRIPE1", "STRIPE2", "nontargeting"]
    unit = vectors.X[:4] / np.linalg.norm(vectors.X[:4], axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert min(cosine[0, 1], cosine[2, 3]) > 0.9 > 0.5 > cosine[:2, 2:].max()
    assert np.abs(vectors.X[4]).max() < 1e-4  # controls are the origin
    assert vectors.uns["method"] == "consistency"


def test_equal_seeds_give_equal_networks_which_are_read_as_the_classifier_is(two_phenotypes, tmp_path):
    tasks = [Task(two_phenotypes, settings(steps=2), seed, tmp_path) for seed in (0, 0, 1)]
    one, again, other = (METHODS["consistency"].run(task).X for task in tasks)
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    np.testing.assert_array_equal(classifier_means(train_consistency(tasks[0]), two_phenotypes).X, one)


def test_two_groups_of_a_guide_lie_in_two_batches_and_others_beside_them(tiny_store):
    """Four genes of two guides, the first with three cells in either well."""
    groups, guides = PairedGroups(tiny_store, 4, 2, seed=3), tiny_store.cells[GUIDE].to_numpy()
    for step in range(20):
        cells, _ = groups.draw(step)
        assert np.array_equal(cells, groups.draw(step)[0])
        sides = cells.reshape(2, 4, 2)
        batches = tiny_store.batch_codes[sides].reshape(2, -1)
        assert (batches == batches[:, :1]).all() and batches[0, 0] != batches[1, 0]
        assert all(len(set(group)) == 2 for group in sides.reshape(8, 2))
        labels = tiny_store.labels[sides].transpose(1, 0, 2).reshape(4, -1)
        assert (labels == labels[:, :1]).all() and len(set(labels[:, 0])) == 4
        for label, one_gene in zip(labels[:, 0], guides[sides].transpose(1, 0, 2).reshape(4, -1), strict=True):
            assert label == tiny_store.control_label or len(set(one_gene)) == 1


def test_a_gene_stands_for_its_guides_where_they_have_too_few_cells(tiny_store):
    """Six cells of a gene in a well are three of each guide: groups of five take cells of both."""
    groups, guides = PairedGroups(tiny_store, 5, 5, seed=0), tiny_store.cells[GUIDE].to_numpy()
    of_genes = [g for step in range(10) for g in groups.draw(step)[0].reshape(10, 5)]
    mixed = [g for g in of_genes if tiny_store.labels[g[0]] != tiny_store.control_label]
    assert all(len(set(guides[group])) == 2 for group in mixed if len(set(group)) == 5)
    assert all(len(set(tiny_store.cells[GENE].to_numpy()[group])) == 1 for group in mixed)


def test_genes_of_one_well_each_are_refused_in_words(tiny_store, monkeypatch):
    wells = np.where(tiny_store.labels == 0, 0, 1)
    alone = CropStore(tiny_store.path, tiny_store.meta, tiny_store._places, tiny_store._shards, "gene")
    alone.batch_codes, table = wells, tiny_store.table()
    names = ["A1" if well == 0 else f"B{label}" for well, label in zip(wells, tiny_store.labels, strict=True)]
    place = table.column_names.index("well")
    monkeypatch.setattr(alone, "table", lambda columns: table.set_column(place, "well", [names]).select(columns))
    alone.batch_codes = tiny_store.labels  # a batch per gene
    with pytest.raises(GrapeOpsError, match="every gene of the store lies in one well"):
        check_methods([METHODS["consistency"]], alone, settings())
    check_methods([METHODS["consistency"]], tiny_store, settings())


def test_wells_are_compared_where_a_store_is_one_batch(tiny_store):
    one_batch = CropStore(
        tiny_store.path,
        tiny_store.meta,
        dataclasses.replace(tiny_store._places, batch=np.zeros_like(tiny_store.batch_codes)),
        tiny_store._shards,
        "gene",
    )
    wells = tiny_store.cells["well"].to_numpy()
    cells = PairedGroups(one_batch, 3, 2, seed=0).draw(0)[0].reshape(2, -1)
    assert {len(set(wells[side])) for side in cells} == {1} and wells[cells[0, 0]] != wells[cells[1, 0]]


def test_the_loss_is_lowest_where_groups_agree_and_heeds_no_shift_of_a_place():
    groups = torch.eye(4).repeat_interleave(3, dim=0)
    agreeing, shuffled = torch.cat([groups, groups]), torch.cat([groups, groups.roll(3, dims=0)])
    assert consistency_loss(agreeing, 3, 0.1) < 1e-3 < 5 < consistency_loss(shuffled, 3, 0.1)
    shifted = torch.cat([groups, groups + torch.tensor([9.0, -4.0, 0.0, 2.0])])
    assert consistency_loss(shifted, 3, 0.1) == pytest.approx(float(consistency_loss(agreeing, 3, 0.1)), abs=1e-4)
    nothing = consistency_loss(torch.ones(24, 4), 3, 0.1)
    assert nothing == pytest.approx(np.log(4), abs=1e-5)
