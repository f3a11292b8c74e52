"""What the page shows: maps, cards, guides, pictures, files; without a browser."""

import io
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.records import NuisanceScore, NuisanceScores
from grape_ops.explore.explorer_data import ExplorerData
from grape_ops.explore.guides_and_doubts import Reference, batch_warnings, cell_warnings, guide_table
from grape_ops.explore.map_view import MapView
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.report.projection import projections
from grape_ops.schema import GENE


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_overview_names_what_there_is(explorer):
    overview = explorer.overview("live")
    assert overview["genes"] == ["AAA", "BBB", "CCC", "DDD"]
    assert [(m["name"], m["runs"]) for m in overview["maps"]] == [("GRAPE M", 1), ("other", 3)]
    assert overview["aliases"] == {"OLDNAME": "CCC"}
    assert overview["complexes"][0] == {"name": "first complex", "genes": [0, 1]}
    assert overview["pixel_size"] == 0.5
    assert [piece for piece, why in overview["missing"].items() if why] == ["hits"]
    assert "grape-ops hits STORE --out hits" in overview["missing"]["hits"] and overview["findings"] is None
    assert not overview["simulated"]


@pytest.fixture(scope="module")
def tested(request_with_hits) -> ExplorerData:
    return ExplorerData(request_with_hits)


def test_the_overview_begins_with_the_genes_that_have_a_phenotype(tested):
    overview = tested.overview("live")
    assert overview["findings"]["hits"] == ["AAA", "CCC"] and overview["findings"]["n_genes"] == 3
    assert "4.0% of 150 pseudo-genes" in overview["findings"]["calibration"]
    assert overview["quiet"] == [1]  # DDD was not tested


def test_genes_are_coloured_by_what_hits_found_of_them(tested):
    for number in range(2):  # maps of other methods, too
        columns = {column["key"]: column for column in tested.view(number)["columns"]}
        assert columns["phenotype"]["codes"] == [0, 1, 0, -1]
        assert columns["log_q"]["values"] == [5.0, 0.30103, 5.0, None]
        assert columns["hit_effect"]["values"] == [1.5, 0.25, 1.5, None]


def test_the_card_tells_effect_guides_and_those_that_contradict(tested):
    card = tested.card(2)["phenotype"]
    assert (card["is_hit"], card["effect"], card["agree"], card["guides"]) == (True, 1.5, 1, 2)
    assert card["discordant"] == ["CCC-GUIDE-1"] and card["inactive"] == []
    assert card["by_guide"] == {"CCC-GUIDE-0": "agrees", "CCC-GUIDE-1": "contradicts"}
    assert tested.card(0)["phenotype"]["by_guide"]["AAA-GUIDE-1"] == "inactive"
    assert tested.card(1)["phenotype"]["is_hit"] is False and tested.card(3)["phenotype"] is None
    assert all(near["cosine"] >= 0 for near in tested.card(0)["maps"][0]["neighbours"])


def test_the_card_says_whether_a_place_repeats_between_halves_of_the_cells(explorer, compared):
    own, other = explorer.card(0)["maps"]
    assert own["place"] is None and "trust STORE --config RUN/config.yaml --out trust` says" in own["words"]
    found = ExplorerData(compared)
    own, other = found.card(0)["maps"]
    assert own["place"]["status"] == "significant" and "one training run" not in own["words"]
    assert other["place"] is None  # only the run's own method was compared
    assert found.card(1)["maps"][0]["place"]["status"] == "not significant"
    assert found.card(2)["maps"][0]["place"] is None


def test_report_and_explorer_draw_one_umap(request_, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("grape_ops.report.projection.umap", lambda vectors, seed: drawn.append(seed) or vectors[:, :2])
    vectors = np.random.default_rng(0).normal(size=(14, 3))
    names = [f"G{i}" for i in range(13, 0, -1)] + ["nontargeting"]
    adata = anndata.AnnData(vectors.astype(np.float32), pd.DataFrame(index=names))
    in_file_order = np.asarray(adata.X, np.float64)
    report = projections(in_file_order, 0, "mine", keep=tmp_path)["UMAP"]
    view = MapView("mine", [adata], Aliases(), 0, keep=tmp_path)
    explorer = view.planes["UMAP"]
    assert len(drawn) == 1
    at = dict(zip([*view.genes, *view.controls], explorer.tolist(), strict=True))
    assert [at[name] for name in names] == report.tolist()


def test_a_column_of_a_map_that_lacks_values_can_be_shown(request_, tmp_path):
    adata = anndata.read_h5ad(request_.groups[0].partition("=")[2].split(",")[0])
    adata.obs["is_hit"] = pd.array([True, False, None, True, None], dtype="boolean")
    adata.obs["n_wells"] = pd.array([123_456, 2, None, 3, None], dtype="Int64")
    adata.write_h5ad(tmp_path / "mapped.h5ad")
    explorer = ExplorerData(replace(request_, groups=(), maps=(tmp_path / "mapped.h5ad",)))
    columns = {column["key"]: column for column in explorer.view(1)["columns"]}
    assert columns["is_hit"]["codes"] == [1, 0, -1, 1]
    assert columns["n_wells"]["values"] == [123_456, 2, None, 3]
    assert {near["is_hit"] for near in explorer.card(0)["maps"][1]["neighbours"]} <= {True, False, None}


def test_a_nuisance_that_was_evaluated_is_shown_as_it_was(request_, explorer):
    known = NuisanceScores(NuisanceScore(0.5, 0.0, 0.1, 0.001, 4, 3, "GRAPE M"), None)
    view = MapView("GRAPE M", [explorer.inputs.vectors], Aliases(), 0, is_own=True)
    told = view.details(request_.evaluate, 0, None, known)["nuisance"]
    assert list(told) == ["batch"] and told["batch"]["value"] == 0.5 and told["batch"]["worrying"]
    own = explorer.details(0, 0)["nuisance"]
    assert all("No evidence" in score["words"] or "more than shuffled" in score["words"] for score in own.values())


def test_columns_are_those_of_the_map(explorer):
    columns = {column["key"]: column for column in explorer.view(1)["columns"]}
    assert columns["complex"]["levels"] == ["first complex", "second"]
    assert [columns["druggable"]["levels"][c] for c in columns["druggable"]["codes"]] == ["yes", "no", "yes", "no"]
    assert columns["n_cells"]["values"] == [10, 12, 10, 12]
    assert {"main_batch", "share in P1|A1"} <= set(columns)
    assert "is_control" not in columns


def test_planes_hold_genes_and_the_control(explorer):
    view = explorer.view(0)
    assert view["genes"] == [0, 1, 2, 3]
    assert [len(plane["x"]) for plane in view["planes"]] == [4]
    assert [control["name"] for control in view["controls"]] == ["nontargeting"]


def test_a_umap_in_the_file_is_taken_as_it_is(request_, tmp_path):
    adata = anndata.read_h5ad(request_.groups[0].partition("=")[2].split(",")[0])
    adata.obsm["X_umap"] = np.arange(10.0).reshape(5, 2)
    adata.write_h5ad(tmp_path / "mapped.h5ad")
    view = ExplorerData(replace(request_, groups=(), maps=(tmp_path / "mapped.h5ad",))).view(1)
    assert view["planes"][0]["name"] == "UMAP"
    assert view["planes"][0]["y"] == [1, 3, 5, 7]
    assert view["controls"][0]["x"][0] == 8


def test_a_map_that_holds_the_runs_own_vectors_is_not_shown_twice(request_, tmp_path):
    explorer = ExplorerData(request_)
    explorer.inputs.vectors.write_h5ad(tmp_path / "genes.h5ad")
    assert len(ExplorerData(replace(request_, groups=(), maps=(tmp_path / "genes.h5ad",))).map_views) == 1


def test_two_seeds_of_one_method_are_distinguished(request_, tmp_path):
    explorer = ExplorerData(request_)
    other = explorer.inputs.vectors.copy()
    other.X = other.X + 1
    (tmp_path / "seed7").mkdir()
    other.write_h5ad(tmp_path / "seed7" / "genes.h5ad")
    names = [
        m.name for m in ExplorerData(replace(request_, groups=(), maps=(tmp_path / "seed7" / "genes.h5ad",))).map_views
    ]
    assert names == ["GRAPE M", "GRAPE M (seed7/genes.h5ad)"]


def test_files_beside_the_run_join_and_what_is_no_map_is_reported(copied):
    request = replace(copied, groups=(), maps=())
    other = ExplorerData(request).inputs.vectors.copy()
    other.X, other.uns["method"] = other.X * 2, "beside"
    other.write_h5ad(copied.run.parent / "genes_other.h5ad")
    (copied.run.parent / "genes_broken.h5ad").write_text("not a map")
    explorer = ExplorerData(request)
    assert [view.name for view in explorer.map_views] == ["GRAPE M", "beside"]
    assert len(explorer.left_out) == 1 and explorer.left_out[0].startswith(
        "genes_broken.h5ad beside the run is left out"
    )
    with pytest.raises(GrapeOpsError, match="not an AnnData file"):
        ExplorerData(replace(request, maps=(copied.run.parent / "genes_broken.h5ad",)))


def test_neighbours_have_support_only_with_several_runs(explorer):
    card = explorer.card(0)
    one, three = (found["neighbours"] for found in card["maps"])
    assert "BBB" in {n["gene_symbol"] for n in one} <= {"BBB", "CCC", "DDD"}
    assert all(n["support"] is None for n in one)
    assert all(0 <= n["support"] <= 1 for n in three)
    assert next(n for n in one if n["gene_symbol"] == "BBB")["relation"] == "first complex"


def test_clusters_cover_all_genes(explorer):
    pytest.importorskip("igraph", reason="Leiden needs igraph")
    found = explorer.details(0, 1)
    assert len(found["cluster"]) == 4 and min(found["cluster"]) == 1
    assert explorer.clusterings(0) == ["Leiden, resolution 0.5", "Leiden, resolution 1"]
    with pytest.raises(GrapeOpsError, match="no clustering of number 2; there are 2"):
        explorer.details(0, 2)


def test_k_means_stands_in_where_k_is_set(request_):
    explorer = ExplorerData(replace(request_, groups=(), evaluate=request_.evaluate.model_copy(update={"k": 2})))
    assert explorer.clusterings(0) == ["k-means, k = 2"]
    assert set(explorer.details(0, 0)["cluster"]) == {1, 2}


def test_the_default_contrast_clips_few_cells_and_pictures_hold_more(explorer):
    montage = explorer.pictures()
    store = montage.store
    cells = store.standardized(np.arange(len(store)))
    for band, (view, span, told) in enumerate(
        zip(montage.channels, montage.ranges, explorer.overview("live")["channels"], strict=True)
    ):
        brightest = np.percentile(cells[:, band], 99.8, axis=(1, 2))
        assert (brightest > view.high + 1e-5).mean() < 0.02 and span.high >= view.high
        assert told["white"] == pytest.approx((view.high - view.low) / (span.high - span.low)) and told["white"] <= 1


def test_rows_of_a_sheet_are_what_the_description_says(explorer):
    montage, row = explorer.pictures(), explorer.row(1)
    rows = montage.describe(row, 0)["rows"]
    assert [r["kind"] for r in rows] == ["restyled", "knockout", "knockout"]
    view = pixels(montage.picture(row, 0))
    assert view.shape == (3 * 2 * 32, 4 * 32)
    store = montage.store
    for place, described in enumerate(rows[1:], start=1):
        cells = np.array([cell["cell"] for cell in described["cells"]])
        assert set(store.cells[GENE].iloc[cells]) == {"BBB"}
        assert set(store.cells["sgRNA"].iloc[cells]) == {described["label"]}
        crop = store.standardized(cells[:1])[0, 1]
        limits = montage.ranges[1]
        expected = np.clip((crop - limits.low) / (limits.high - limits.low), 0, 1) * 255
        shown = view[(place * 2 + 1) * 32 : (place * 2 + 2) * 32, :32]
        assert np.abs(shown - expected).max() <= 0.51


def test_control_cells_restyled_to_control_stand_beside_them(explorer):
    montage = explorer.pictures()
    rows = montage.describe_controls(0)["rows"]
    assert [row["kind"] for row in rows] == ["control", "unchanged"] and rows[0]["cells"] == rows[1]["cells"]
    view, size = pixels(montage.control_picture(0)), montage.store.crop_size
    strip = pixels(montage.strip(explorer.row(1), [rows[0]["cells"][0]["cell"]], montage.control_row, [0.0]))
    band = size * len(montage.channels)
    np.testing.assert_allclose(view[band : 2 * band, :size].astype(int), strip.astype(int), atol=1)


def test_the_control_row_is_the_same_for_every_gene_and_new_for_another_draw(explorer):
    montage = explorer.pictures()
    first = [cell["cell"] for cell in montage.describe_controls(0)["rows"][0]["cells"]]
    again = [cell["cell"] for cell in montage.describe(explorer.row(3), 0)["rows"][0]["cells"]]
    assert first == again
    assert first != [cell["cell"] for cell in montage.describe_controls(1)["rows"][0]["cells"]]


def test_a_strip_ends_at_the_gene(explorer):
    montage = explorer.pictures()
    strip, view = pixels(explorer.strip(2)), pixels(montage.picture(explorer.row(2), 0))
    assert strip.shape == (2 * 2 * 32, 3 * 32)
    # Rounding may differ by a grey level: other cells were in the batch.
    assert np.abs(strip[:64, 64:].astype(int) - view[:64, :32]).max() <= 1
    assert np.abs(strip[:64, :32].astype(int) - strip[:64, 64:]).max() > 0


def test_restyling_between_two_genes(explorer):
    ends = [pixels(explorer.restyled(0, 1, [mix], start)) for mix, start in ((0.0, 2), (1.0, 2), (1.0, None))]
    assert np.array_equal(ends[1], ends[2])
    assert np.array_equal(ends[0], pixels(explorer.restyled(0, 2, [1.0], None)))
    with pytest.raises(GrapeOpsError, match="no cell of number 9999"):
        explorer.restyled(9999, 1, [1.0], None)


def test_export_holds_the_genes_asked_for(explorer, tmp_path):
    (tmp_path / "chosen.h5ad").write_bytes(explorer.export(0, [3, 1]))
    chosen = anndata.read_h5ad(tmp_path / "chosen.h5ad")
    assert list(chosen.obs_names) == ["BBB", "DDD"]
    assert list(chosen.obs["complex"]) == ["first complex", "second"]
    whole = explorer.inputs.vectors
    assert np.array_equal(chosen.X, whole[["BBB", "DDD"]].X)
    assert chosen.obsm["X_pca"].shape == (2, 2)


def test_numbers_beyond_the_run_are_refused(explorer):
    for ask in (lambda: explorer.card(4), lambda: explorer.view(2), lambda: explorer.row(-1)):
        with pytest.raises(GrapeOpsError, match="There is no"):
            ask()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A simulated screen whose duds are known."""
    from grape_ops.preprocess.pipeline import preprocess
    from grape_ops.screen.layouts import open_screen
    from grape_ops.simulate.write_screen import simulate_screen

    folder = tmp_path_factory.mktemp("guides")
    overrides = (
        "simulate={complexes: 2, genes_per_complex: 2, cells_per_gene: 160, control_cells: 400, plates: 1}",
        "simulate.wells_per_plate=1",
        "simulate.dud_guides=0.4",
        "preprocess={crop_size: 32, workers: 1}",
    )
    config = load_config(overrides=overrides)
    simulate_screen(folder / "screen", config.simulate)
    preprocess(open_screen(folder / "screen", config.screen), folder / "store", config.preprocess)
    return folder


def test_guides_that_do_nothing_look_like_controls(simulated):
    import pandas as pd

    from grape_ops.cells.store import CropStore

    store = CropStore.open(simulated / "store")
    efficacy = pd.read_csv(simulated / "screen" / "library.csv").set_index("sgRNA")["efficacy"]
    reference = Reference.of(store, 0)
    rows = [entry for row in range(store.control_label) for entry in guide_table(store, row, reference, 0)]
    duds = [entry["effect"] for entry in rows if efficacy[entry["guide"]] == 0]
    working = [entry["effect"] for entry in rows if efficacy[entry["guide"]] > 0]
    assert len(duds) >= 3 and len(working) >= 6
    assert np.median(duds) < 1.5 < np.median(working)
    assert 0.7 < np.median(reference.effects) < 1.3


def test_warnings_say_what_to_doubt():
    def guide(name, effect, agreement):
        return {"guide": name, "n_cells": 40, "effect": effect, "agreement": agreement}

    assert cell_warnings(20, None, None) == ["Only 20 cells: vector and neighbours are uncertain."]
    assert "One guide only" in cell_warnings(90, [guide("g", 3.0, None)], 1.3)[0]
    quiet = [guide("a", 1.0, 0.1), guide("b", 1.1, -0.2)]
    assert "No evidence that any guide changes" in cell_warnings(90, quiet, 1.3)[0]
    against = [guide("a", 3.0, 0.9), guide("b", 3.0, 0.9), guide("c", 2.0, -0.5)]
    assert "Guide c changes" in cell_warnings(90, against, 1.3)[0]
    assert cell_warnings(90, against[:2], 1.3) == []
    # Where `grape-ops hits` tested the guides, its words stand in the table, and no others beside them.
    assert cell_warnings(90, quiet, 1.3, {"a": "agrees", "b": "no evidence"}) == []


def test_batch_warnings(explorer):
    view = explorer.map_views[0]
    assert not any("are from batch" in warning for warning in batch_warnings(view, "AAA", explorer.request.evaluate))
    skewed = ExplorerData(replace(explorer.request, groups=())).map_views[0]
    shares = skewed.table.obsm["batch_composition"]
    shares[list(skewed.genes).index("AAA")] = [0.95, 0.05]
    assert "95% of its cells are from batch P1|A1" in batch_warnings(skewed, "AAA", explorer.request.evaluate)[0]


def test_without_checkpoint_store_and_truth_the_page_says_why(copied):
    import shutil

    shutil.rmtree(copied.run / "checkpoints")
    explorer = ExplorerData(replace(copied, groups=(), maps=(), aliases=None))
    missing = explorer.overview("live")["missing"]
    assert "no checkpoint" in missing["maps"] and "no checkpoint" in missing["restyler"] and not missing["cells"]
    assert [row["kind"] for row in explorer.pictures().describe(0, 0)["rows"]] == ["knockout", "knockout"]
    assert str(copied.run) not in str(missing)


def test_a_file_of_vectors_without_cells_gives_a_card(request_, tmp_path):
    adata = anndata.AnnData(np.eye(3, dtype=np.float32), obs={"note": ["x"] * 3})
    adata.obs_names = ["AAA", "BBB", "NEW1"]
    adata.write_h5ad(tmp_path / "foreign.h5ad")
    explorer = ExplorerData(replace(request_, groups=(), maps=(tmp_path / "foreign.h5ad",)))
    new = explorer.genes.index("NEW1")
    card = explorer.card(new)
    assert card["n_cells"] is None and card["maps"][0] is None and len(card["maps"][1]["neighbours"]) == 2
    with pytest.raises(GrapeOpsError, match="NEW1 is in a map only"):
        explorer.row(new)
