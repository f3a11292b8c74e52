"""The rules of the OPS Data Standard 0.1.0, one by one, on a whole submission."""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from anndata import read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.export.formats import export_run
from grape_ops.features import store_features

pytest.importorskip("umap")
pytest.importorskip("cp_measure")
SHAPES = ("area", "eccentricity", "form_factor", "solidity")
CHANNELS = ("tubulin", "DNA", "actin")


@pytest.fixture(scope="module")
def submission(export_run_path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("standard") / "submission"
    settings = parse_config({"features": {"workers": 1}, "export": {"crops": 3, "barcodes": 2}}, source="test")
    export_run(export_run_path, "ops-standard", out, settings)
    return out / "run"


@pytest.fixture(scope="module")
def library(submission) -> pd.DataFrame:
    return pd.read_csv(submission / "metadata/perturbation_library.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def cells(submission) -> pd.DataFrame:
    return pd.read_parquet(submission / "cell_data.parquet")


@pytest.fixture(scope="module")
def aggregated(submission):
    return read_h5ad(submission / "visualizations/gene_map/aggregated_data.h5ad")


def test_files_lie_where_the_standard_says(submission):
    assert (submission.parent / "collection_metadata.yaml").is_file()
    collection = yaml.safe_load((submission.parent / "collection_metadata.yaml").read_text())
    assert collection == {"collection": {"title": "GRAPE gene map"}}
    template = yaml.safe_load((submission / "metadata/experimental_metadata.yaml").read_text())
    assert {"experiment", "cellular", "library", "phenotype", "microscope", "pipeline"} == set(template)
    assert not list(submission.parent.parent.glob(".*partial*"))


def test_library_rows(library):
    assert library["barcode"].is_unique and library["barcode"].str.fullmatch("[ACGT]+").all()
    assert library["protospacer_sequence"].str.fullmatch("[ACGT]{14,22}").all()
    assert (library["protospacer_adjacent_motif"] == "3' NGG").all()
    control = library["role"] == "control"
    assert set(library["role"]) == {"targeting", "control"}
    assert (library.loc[control, ["gene_id", "gene_symbol", "control_type"]] == "non-targeting").all(axis=None)
    assert (library.loc[~control, "control_type"] == "").all()
    assert not library["perturbation_id"].str.lower().isin(["na", ""]).any()


def test_cell_rows(cells, library):
    assert cells["well_row"].str.fullmatch("[A-Z]").all() and set(cells["well_row"]) == {"A", "B"}
    assert cells["well_col"].dtype.kind == cells["tile"].dtype.kind == "i" and set(cells["well_col"]) == {1, 2}
    assert cells["x"].dtype == cells["y"].dtype == np.float64
    parts = cells["plate"] + "_" + cells["well_row"] + cells["well_col"].astype(str) + "_" + cells["tile"].astype(str)
    assert [uid.rsplit("_", 1)[0] for uid in cells["cell_uid"]] == parts.tolist()
    assert cells["cell_uid"].is_unique
    known = library.set_index("barcode")["perturbation_id"]
    assert (cells["barcode"].map(known) == cells["perturbation_id"]).all()
    assert not any("|" in str(value) for value in cells.to_numpy().ravel()) and not any("|" in c for c in cells)


def test_observations(aggregated, cells, library):
    obs, unit = aggregated.obs, aggregated.uns["observation_unit"]
    assert list(unit) == ["perturbation_id"] and isinstance(unit[0], str)
    assert obs.index.name == "aggregate_id" and obs.index.is_unique
    assert (obs.index == obs[list(unit)].astype(str).agg("|".join, axis=1)).all()
    assert set(obs["perturbation_id"]) <= set(library["perturbation_id"])
    assert set(obs["perturbation_id"]) == set(cells["perturbation_id"])
    assert set(obs["perturbation_id"]) & set(library.loc[library["role"] == "control", "perturbation_id"])
    counts = cells.groupby("perturbation_id").size()
    assert obs["n_cells"].dtype.kind == "i" and (obs["n_cells"] == counts[obs.index].to_numpy()).all()
    assert obs["cluster_group_1"].dtype.kind == "i"


def test_features_are_exactly_the_standards(aggregated):
    expected = set()
    for part in ("nucleus", "cell"):
        expected |= {f"{part}_{name}" for name in SHAPES}
        names = ("mean", "integrated", "mass_displacement", "mean_edge", "std_edge", "mean_frac_0", "mean_frac_3")
        expected |= {f"{part}_{channel}_{name}" for channel in CHANNELS for name in names}
        expected |= {f"{part}_correlation_{a}_{b}" for a, b in itertools.combinations(sorted(CHANNELS), 2)}
    var = aggregated.var
    assert set(var.index) == expected and var.index.is_unique and var.index.name == "feature_id"
    assert set(var) == {"feature_name", "feature_type", "compartment"}
    assert var["compartment"].tolist() == [name.split("_")[0] for name in var.index]
    shapes = {f"{part}_{name}" for part in ("nucleus", "cell") for name in SHAPES}
    kinds = ["shape" if n in shapes else "correlation" if "_correlation_" in n else "intensity" for n in var.index]
    assert var["feature_type"].tolist() == kinds


def test_numbers(aggregated, export_run_path):
    assert aggregated.X.dtype == np.float32 and np.isfinite(aggregated.X).all()
    store = CropStore.open(export_run_path.parent / "store")
    measured = store_features(store)
    area = np.asarray(measured.values[:, measured.names.index("nucleus_AreaShape_Area")])
    gene = list(store.perturbations).index("CCT2")
    assert np.isclose(aggregated["CCT2", "nucleus_area"].X.item(), np.nanmean(area[store.labels == gene]), rtol=1e-5)
    correlation = aggregated[:, "cell_correlation_DNA_actin"].X
    assert (np.abs(correlation) <= 1).all()
    for name in ("p_values", "neg_log10_fdr"):
        assert aggregated.layers[name].shape == aggregated.shape and np.isfinite(aggregated.layers[name]).all()
    assert ((aggregated.layers["p_values"] >= 0) & (aggregated.layers["p_values"] <= 1)).all()
    assert (aggregated.layers["neg_log10_fdr"] >= 0).all()
    assert (aggregated["nontargeting"].layers["p_values"] == 1).all()


def test_embeddings_and_keys(aggregated):
    assert all(value.shape[1] == 2 for key, value in aggregated.obsm.items() if key.startswith("X_"))
    assert aggregated.uns["default_embedding"] == "X_umap" and "X_umap" in aggregated.obsm
    assert aggregated.obsm["grape"].shape[0] == len(aggregated)
    assert aggregated.uns["schema_version"] == "0.1.0" and aggregated.uns["title"]
    assert aggregated.uns["neg_log10_fdr_threshold"] == 1.30103
    assert set(aggregated.uns) == {
        "observation_unit",
        "default_embedding",
        "schema_version",
        "title",
        "neg_log10_fdr_threshold",
    }


def test_every_perturbation_has_example_crops(submission, aggregated, library, cells, export_run_path):
    root = zarr.open_group(submission / "visualizations/gene_map/examples.zarr", mode="r")
    assert root.metadata.zarr_format == 3 and list(root.group_keys()) == ["tubulin_DNA_actin"]
    panel = root["tubulin_DNA_actin"]
    assert set(panel.group_keys()) == set(aggregated.obs_names)
    store = CropStore.open(export_run_path.parent / "store")
    crops = {store.read([n])[0].tobytes(): n for n in range(len(store))}
    for gene in panel.group_keys():
        barcodes = list(panel[gene].group_keys())
        assert len(barcodes) == 2 and set(barcodes) <= set(library["barcode"])
        for barcode in barcodes:
            leaves = sorted(panel[gene][barcode].group_keys())
            assert leaves == [str(n) for n in range(len(leaves))] and 1 <= len(leaves) <= 3
            leaf = panel[gene][barcode][leaves[-1]]
            assert leaf.attrs["perturbation_id"] == gene
            image, ome = leaf["0"], leaf.attrs["ome"]
            assert image.shape == (1, 3, 1, 32, 32) and ome["version"] == "0.5"
            assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == list("TCZYX")
            assert [channel["label"] for channel in ome["omero"]["channels"]] == list(CHANNELS)
            for shown in ome["omero"]["channels"]:
                window = shown["window"]
                assert len(shown["color"]) == 6 and 0 <= window["start"] < window["end"] <= window["max"] == 65535
            assert ome["omero"]["channels"][1]["color"] == "4D6BFF"  # DNA, as in every other picture
            cell = crops[np.ascontiguousarray(image[0, :, 0]).tobytes()]
            assert cells["barcode"].iloc[cell] == barcode and cells["perturbation_id"].iloc[cell] == gene


def test_a_user_library_gives_ids_and_sequences(export_run_path, tmp_path):
    store = CropStore.open(export_run_path.parent / "store")
    guides = store.cells[["sgRNA", "gene_symbol"]].drop_duplicates("sgRNA")
    table = guides.assign(
        gene_id=[f"ENSG{n:011d}.3" for n in range(len(guides))],
        barcode=guides["sgRNA"].str[:10],
        protospacer_sequence=guides["sgRNA"],
    )
    table.to_csv(tmp_path / "library.csv", index=False)
    from grape_ops.export.standard_library import describe_guides

    settings = parse_config({"export": {"library": str(tmp_path / "library.csv")}}, source="test").export
    found = describe_guides(store, settings).library
    assert found["barcode"].str.len().eq(10).all() and found["protospacer_sequence"].str.len().eq(20).all()
    targeting = found[found["role"] == "targeting"]
    assert targeting["gene_id"].str.fullmatch(r"ENSG\d{11}").all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("sgRNA", "guide 7", r"protospacers of 14 to 22 letters|barcodes of the letters A, C, G and T; 1 are not"),
        ("well", "Well1", r"export.wells=\{Well1: A1\}"),
        ("plate", "P|1", r"joins names by \|"),
    ],
)
def test_names_the_standard_cannot_hold_are_refused(export_run_path, column, value, message):
    from grape_ops.export.standard_library import describe_cells, describe_guides

    store = CropStore.open(export_run_path.parent / "store")
    store.cells.loc[0, column] = value
    with pytest.raises(GrapeOpsError, match=message):
        describe_cells(store, describe_guides(store, Config().export), Config().export)


def test_a_full_folder_is_left_alone(export_run_path, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(GrapeOpsError, match="is not empty"):
        export_run(export_run_path, "ops-standard", tmp_path, Config())
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    assert re.match("x", (tmp_path / "mine").read_text())
