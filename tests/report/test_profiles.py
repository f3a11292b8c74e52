"""The heat map of genes by statistics: what it measures, and the order of its rows and columns."""

import numpy as np
import pytest

from grape_ops.methods.statistics import crop_statistics, statistic_names
from grape_ops.report.inputs import gather
from grape_ops.report.profiles import by_channel, clustered, gene_deviations, profiles


def test_deviations_are_medians_over_robust_spreads_of_control_cells(tiny_store):
    names, found = gene_deviations(tiny_store, {"control again": tiny_store.control_label, "AAA": 0}, 0)
    assert names == ["control again", "AAA"]
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    control, gene = (
        crop_statistics(tiny_store.standardized(np.flatnonzero(tiny_store.labels == row)))
        for row in (tiny_store.control_label, 0)
    )
    middle = np.median(control, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(control - middle), axis=0), 1e-6)
    np.testing.assert_allclose(found[1], (np.median(gene, axis=0) - middle) / spread, rtol=1e-3, atol=1e-3)


def test_alike_genes_are_neighbours():
    order = clustered(np.array([[0.0, 5.0], [9.0, 0.0], [0.1, 5.0], [9.1, 0.2]])).tolist()
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 2)), frozenset((1, 3))}


def test_statistics_stand_by_channel_and_group():
    channels = ("DNA", "actin")
    columns = by_channel(channels)
    assert sorted(place for _, _, place in columns) == list(range(len(statistic_names(channels))))
    assert list(dict.fromkeys((channel, group) for channel, group, _ in columns)) == [
        *((channel, group) for channel in channels for group in ("intensity", "texture", "radial")),
        ("", "between channels"),
    ]


def test_the_heat_map_shows_genes_with_a_phenotype_only(full_run, write_hits_folder, tmp_path):
    is_hit = {"AAA": True, "BBB": False, "CCC": True}
    hits = write_hits_folder(tmp_path / "hits", full_run.record["store_fingerprint"], is_hit)
    inputs = gather(full_run.path, tmp_path / "r.html", store_path=None, scores=None, truth=None, hits=hits)
    (trace,) = profiles(inputs)["data"]
    assert sorted(trace["y"]) == ["AAA", "CCC"] and np.isfinite(trace["z"]).all()
    assert trace["zmin"] == pytest.approx(-trace["zmax"])


def test_without_hits_there_is_no_heat_map(full_run, tmp_path):
    assert profiles(gather(full_run.path, tmp_path / "r.html", store_path=None, scores=None, truth=None)) is None
