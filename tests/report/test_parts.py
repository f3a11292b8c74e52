"""The parts behind the page: which genes and cells are shown, projections, and the plain words."""

import base64
import io
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from anndata import read_h5ad
from PIL import Image

from grape_ops.config import merged, parse_config
from grape_ops.embed import trained_nets, write_embedding
from grape_ops.evaluate.records import ComplexScores, NuisanceScore, NuisanceScores
from grape_ops.evaluate.scores import without_nan
from grape_ops.groundtruth import GroundTruth
from grape_ops.plotting.pictures import ChannelView
from grape_ops.report import projection
from grape_ops.report.cell_pictures import CELLS, cell_pictures, choose_genes, strips
from grape_ops.report.data_quality import dropped_rows, flat_field_text, table_rows
from grape_ops.report.inputs import ReportInputs, gather
from grape_ops.report.projection import nearest_genes, neighbours_in_words, principal_components, projections
from grape_ops.report.provenance import cost_rows
from grape_ops.report.report_figures import complex_scores, phenotype_shares
from grape_ops.report.scores import own_entry, score_table
from grape_ops.report.summary import conclusions
from grape_ops.report.training_figures import map_along_training


@pytest.fixture(scope="module")
def inputs(full_run, tmp_path_factory) -> ReportInputs:
    out = tmp_path_factory.mktemp("out") / "report.html"
    return gather(full_run.path, out, store_path=None, scores=None, truth=None)


def with_scores(inputs: ReportInputs, **changes) -> ReportInputs:
    entry = replace(inputs.scores[0], **changes)
    return replace(inputs, scores=[entry, *inputs.scores[1:]])


def test_genes_are_shown_by_turns_over_complexes(inputs):
    nets, _ = trained_nets(inputs.run, averaged=inputs.averaged)
    names = [inputs.genes[row] for row in choose_genes(inputs, nets)]
    assert sorted(names) == sorted(inputs.genes)
    assert {inputs.complexes_of(name)[0] for name in names[:2]} == {"first", "second"}
    some = replace(inputs, truth=GroundTruth.of("t", {"one": ["AAA", "BBB"]}))
    names = [inputs.genes[row] for row in choose_genes(some, nets)]
    assert names[0] in ("AAA", "BBB")


def test_a_picture_shows_pixels_between_the_limits():
    crops = np.zeros((2, 1, 8, 8), np.float32)
    crops[0, 0, 0, 0], crops[1] = -5.0, 2.0
    (uri,) = strips(crops, [ChannelView("DNA", "#ffffff", -1.0, 1.0)])
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    assert picture.shape == (8, 16)
    assert picture[0, 0] == 0 and picture[4, 4] in (127, 128, 129) and (picture[:, 8:] == 255).all()


def test_pictures_share_contrast_and_control_cells(inputs):
    pictures = cell_pictures(inputs, inputs.store)
    assert [gene["name"] for gene in pictures["genes"]] and pictures["n"] == CELLS
    assert all(len(gene["restyled"]) == len(gene["knockout"]) == 2 for gene in pictures["genes"])
    assert len(pictures["control"]) == 2
    assert pictures["channels"][0]["low"] < pictures["channels"][0]["high"]


def test_components_keep_distances_of_a_plane():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 2))
    plane, share = principal_components(points @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2])
    assert share == pytest.approx(1)
    gaps = [np.linalg.norm(p[:, None] - p[None], axis=2) for p in (points, plane)]
    np.testing.assert_allclose(*gaps, atol=1e-9)
    same, share = principal_components(np.ones((4, 3)))
    assert share == 0 and not same.any()


def test_without_umap_or_with_few_genes_components_remain(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(20, 6))
    assert [name.split(" ")[0] for name in projections(vectors[:11], 0)] == ["PCA"]
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    assert [name.split(" ")[0] for name in projections(vectors, 0)] == ["PCA"]


def test_umap_comes_first_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(projection, "find_spec", lambda name: object())
    monkeypatch.setattr(projection, "umap", lambda vectors, seed: np.zeros((len(vectors), 2)))
    assert next(iter(projections(np.eye(12), 0))) == "UMAP"


def test_nearest_genes_are_by_cosine():
    near, cosine = nearest_genes(np.array([[1.0, 0], [5, 1], [0, 1], [-1, 0]]), 2)
    assert near[0].tolist() == [1, 2]
    assert cosine[0, 0] == pytest.approx(5 / np.sqrt(26))


def test_what_a_cosine_is_worth_is_said_where_there_are_pairs_enough():
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    assert "5% have a cosine above 0." in neighbours_in_words(vectors)
    assert "one training run" not in neighbours_in_words(vectors, runs=3)
    assert neighbours_in_words(vectors[:5], runs=3) == "This map has too few genes to say which cosine is unusual."


def test_a_lone_gene_has_no_nearest():
    near, cosine = nearest_genes(np.ones((1, 4)), 5)
    assert near.shape == cosine.shape == (1, 0)


def test_the_row_of_this_run_is_named(inputs):
    assert own_entry(inputs.scores, inputs) is inputs.scores[0]
    other = with_scores(inputs, method="GRAPE F(M)")
    assert own_entry(other.scores, other) is None
    assert own_entry(None, inputs) is None


def test_of_two_maps_of_one_name_none_is_taken_for_this_run(inputs):
    both = [inputs.scores[0], replace(inputs.scores[0], method="GRAPE M (other)")]
    assert own_entry(both, inputs) is None


@pytest.fixture
def written(full_run, tmp_path):
    """The run's vectors, at another position than its settings name, as the pipeline puts them beside a report."""
    write_embedding(full_run.path, tmp_path / "genes.h5ad", position=2)
    shutil.copy(full_run.path.parent / "scores.json", tmp_path)
    return tmp_path / "genes.h5ad"


def gathered(run, file) -> ReportInputs:
    return gather(run.path, file.parent / "report.html", store_path=None, scores=None, truth=None)


def test_written_vectors_are_read(full_run, written, monkeypatch):
    monkeypatch.setattr("grape_ops.report.inputs.embed", None)
    found = gathered(full_run, written)
    assert found.own_method == "GRAPE F(M)" and found.averaged == found.vectors.uns["grape"]["ema"]
    np.testing.assert_array_equal(found.vectors.X, read_h5ad(written).X)
    assert found.scores is not None


@pytest.mark.parametrize("change", ["weights", "checkpoint", "seed", "genes", "damage", "no origin"])
def test_vectors_of_another_run_or_checkpoint_are_not_taken(full_run, written, change):
    adata = read_h5ad(written)
    match change:
        case "weights":  # another run of the same seed, as long
            adata.uns["grape"]["weights"] = "0" * 64
        case "checkpoint":
            adata.uns["grape"]["checkpoint"] = "step_00000001"
        case "seed":
            adata.uns["grape"]["seed"] = 1
        case "genes":
            adata = adata[::-1].copy()
        case "no origin":
            del adata.uns["grape"]
    adata.write_h5ad(written)
    if change == "damage":
        written.write_bytes(written.read_bytes()[:1000])
    found = gathered(full_run, written)
    assert found.vectors.uns["method"] == "GRAPE M" and list(found.vectors.obs_names) == list(full_run.genes.index)
    assert found.scores is None and "of another run or checkpoint" in found.missing["scores"]
    asked = gather(full_run.path, written, store_path=None, scores=written.with_name("scores.json"), truth=None)
    assert asked.scores and own_entry(asked.scores, asked) is None


def test_the_best_of_each_column_is_marked(inputs):
    table = score_table(inputs.scores, inputs.scores[0])
    best = max(entry.map.value for entry in inputs.scores)
    marked = [cells[0].text for _, _, cells in table.rows if cells[0].best]
    assert set(marked) == {f"{best:.3f}"}
    assert table.rows[-1][0] == "chance (random maps)"
    assert [own for _, own, _ in table.rows] == [True, False, False]


def test_words_follow_the_p_value(inputs):
    part = inputs.scores[0].map
    sure = with_scores(inputs, map=replace(part, p_value=0.0001))
    unsure = with_scores(inputs, map=replace(part, p_value=0.2))
    assert any("than chance explains" in line for line in conclusions(sure)[0])
    assert any("not significant" in line for line in conclusions(unsure)[1])
    assert not any("than chance explains" in line for line in conclusions(unsure)[0])


def test_words_warn_of_batches_overfitting_and_few_cells(inputs):
    nuisance = NuisanceScores(NuisanceScore(0.5, 0.0, 0.1, 0.001, 4, 3, "GRAPE M"), None)
    falling = [{"step": s, "map": m, "map_ema": m} for s, m in ((1, 0.3), (2, 0.6), (3, 0.4))]
    worried = replace(with_scores(inputs, nuisance=nuisance), metrics=falling)
    text = " ".join(conclusions(worried)[1])
    assert "share batches" in text and "overfitting" in text and "fewer than 50 cells" in text
    assert "share batches" not in " ".join(conclusions(inputs)[1])


def test_words_tell_what_does_not_confound_and_that_nothing_overfits(inputs):
    nuisance = NuisanceScores(NuisanceScore(-0.1, -0.2, 0.1, 0.3, 4, 3, "GRAPE M"), None)
    lines = [{"step": step, "d_seen_logit": 1.0, "d_unseen_logit": 1.2} for step in range(3)]
    can, cannot = conclusions(replace(with_scores(inputs, nuisance=nuisance), metrics=lines))
    assert any("No evidence that neighbouring genes share batches more than shuffled ones" in line for line in can)
    assert any("logits differ by −0.20" in line for line in can)
    assert not any("overfit" in line for line in cannot)


def test_unseen_cells_that_score_far_higher_are_not_called_like_the_seen_ones(inputs):
    lines = [{"step": step, "d_seen_logit": -2.5, "d_unseen_logit": 1.0} for step in range(3)]
    can, cannot = conclusions(replace(inputs, metrics=lines))
    assert not any("like those it has trained on" in line for line in can)
    assert any("their logit is 3.50 higher" in line for line in cannot)


def test_words_tell_that_m_did_not_begin_with_noise(inputs):
    config = parse_config(
        merged(inputs.run.config.model_dump(mode="json"), {"train": {"init": {"kind": "classifier"}}}), "a test"
    )
    started = replace(inputs, run=replace(inputs.run, config=config))
    assert any("init.h5ad" in line for line in conclusions(started)[1])
    assert not any("init.h5ad" in line for line in conclusions(inputs)[1])


def test_the_time_of_the_initialisation_is_a_part_of_the_cost(inputs):
    assert not any("initialisation of M" in what for what, _ in cost_rows(inputs))
    begun_twice = [{"step": 0, "init_s": 50.0}, {"step": 0, "init_s": 70.0}, *inputs.metrics]
    assert dict(cost_rows(replace(inputs, metrics=begun_twice)))["initialisation of M (the classifier)"] == "2 minutes"


def test_without_scores_the_words_give_map_but_no_verdict(inputs):
    can, cannot = conclusions(replace(inputs, scores=None))
    assert not can and any("`grape-ops evaluate` computes" in line for line in cannot)
    blind = replace(inputs, scores=None, truth=None)
    assert any("nothing to evaluate it with" in line for line in conclusions(blind)[1])


def test_curves_need_more_than_a_chance_level():
    assert map_along_training([]) is None
    assert map_along_training([{"step": 1, "map_chance": 0.1}]) is None
    figure = map_along_training([{"step": 1, "map": 0.5, "map_chance": 0.1}])
    assert [trace["name"] for trace in figure["data"]] == ["M, no EMA", "chance"]


def test_complexes_that_a_method_lacks_stay_empty(inputs):
    nan, one = math.nan, inputs.scores[0]
    both = ComplexScores(("a", "b"), (3, 2), (0.5, nan), (0.1, nan), (0.4, nan), (0.1, nan), (0.1, nan))
    single = ComplexScores(("a",), (3,), (0.7,), (0.1,), (0.6,), (0.1,), (0.1,))
    figure = without_nan(complex_scores([replace(one, complexes=both), replace(one, complexes=single)]))
    assert figure["data"][0]["x"] == [None, 0.5] and figure["data"][1]["x"] == [None, 0.7]
    assert complex_scores([]) is None


def test_lines_beside_a_mark_are_broken_and_their_markup_is_not():
    part = np.array([0.5])
    figure = phenotype_shares(["<b>"], [0.9], part, part, part, [("share < 1", "significant")], [True])
    assert figure["data"][0]["hovertext"] == ["<b>&lt;b&gt;</b><br>share &lt; 1<br>significant"]


def test_quality_in_words():
    quality = {"cells_in_table": 200, "cells_kept": 150, "cells_dropped": {"no gene symbol": 50}}
    assert dropped_rows(quality)[1] == ("left out: no gene symbol", "50 (25.0%)")
    assert dropped_rows({}) == []
    entry = {"what": "mitotic cells", "count": 1200, "fate": "kept", "setting": "screen.mitotic"}
    assert table_rows({"table": [entry]}) == [("mitotic cells", "1,200", "kept", "screen.mitotic")]
    field = {"groups": 2, "applied": {"DNA": 2, "actin": 1}, "not_applied": ["P1|A1 actin"]}
    assert "DNA in 2, actin in 1" in flat_field_text({"flat_field": field})
    assert "P1|A1 actin" in flat_field_text({"flat_field": field})
    assert flat_field_text({"flat_field": {"groups": 0}}) == "Illumination was not corrected."
    assert flat_field_text({}) == ""
