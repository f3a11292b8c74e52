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
from grape_ops.export.standard_cells import describe_cells
from grape_ops.export.standard_library import describe_guides
from grape_ops.features import store_features

pytest.importorskip("umap")
pytest.importorskip("cp_measure")
SHAPES = ("area", "eccentricity", "form_factor", "solidity")
CHANNELS = ("tubulin", "DNA", "actin")


ENSEMBL = {
    "POLR2A": "ENSG00000181222",
    "RPL4": "ENSG00000174444",
    "CCT2": "ENSG00000166226",
    "COG1": "ENSG00000166685",
    "SF3B1": "ENSG00000115524",
}


def gene_ids(folder: Path) -> str:
    lines = "".join(f"{symbol}\t{name}.7\n" for symbol, name in ENSEMBL.items())
    (folder / "hgnc.tsv").write_text("symbol\tensembl_gene_id\n" + lines)
    return str(folder / "hgnc.tsv")


@pytest.fixture(scope="module")
def submission(export_run_path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("standard")
    export = {"crops": 3, "barcodes": 2, "gene_ids": gene_ids(folder), "pixel_size": 0.65, "title": "My screen: \u00b5"}
    settings = parse_config({"features": {"workers": 1}, "export": export}, source="test")
    export_run(export_run_path, "ops-standard", folder / "submission", settings)
    return folder / "submission" / "My-screen"


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
    assert collection == {"collection": {"title": "My screen: \u00b5"}}
    template = yaml.safe_load((submission / "metadata/experimental_metadata.yaml").read_text())
    assert {"experiment", "cellular", "library", "phenotype", "microscope", "pipeline"} == set(template)
    assert template["experiment"]["title"] == "My screen: \u00b5" and template["pipeline"]["version"] == 1.0
    assert {path.name for path in submission.parent.parent.iterdir()} == {"hgnc.tsv", "submission"}
    assert not list(submission.parent.rglob(".draft-*"))


def test_library_rows(library):
    assert library["barcode"].is_unique and library["barcode"].str.fullmatch("[ACGT]+").all()
    assert library["protospacer_sequence"].str.fullmatch("[ACGT]{14,22}").all()
    assert (library["protospacer_adjacent_motif"] == "3' NGG").all()
    control = library["role"] == "control"
    assert set(library["role"]) == {"targeting", "control"}
    assert (library.loc[control, ["gene_id", "gene_symbol", "control_type"]] == "non-targeting").all(axis=None)
    assert (library.loc[~control, "control_type"] == "").all()
    assert library.loc[~control, "gene_id"].tolist() == [ENSEMBL[gene] for gene in library.loc[~control, "gene_symbol"]]
    # One perturbation per control guide, as in the standard's examples.
    assert (library.loc[control, "perturbation_id"] == "nontargeting_" + library.loc[control, "barcode"]).all()
    assert control.sum() == 3
    assert not library["perturbation_id"].str.lower().isin(["na", ""]).any()


def test_cell_rows(cells, library):
    assert cells["well_row"].str.fullmatch("[A-Z]").all() and set(cells["well_row"]) == {"A", "B"}
    assert cells["well_col"].dtype.kind == cells["tile"].dtype.kind == "i" and set(cells["well_col"]) == {1, 2}
    assert cells["x"].dtype == cells["y"].dtype == np.float64
    parts = cells["plate"] + "_" + cells["well_row"] + cells["well_col"].astype(str) + "_" + cells["tile"].astype(str)
    assert [uid.rsplit("_", 1)[0] for uid in cells["cell_uid"]] == parts.tolist()
    assert cells["cell_uid"].is_unique
    assert (cells["well"] == cells["well_row"] + cells["well_col"].astype(str)).all()
    assert (cells["is_control"] == cells["perturbation_id"].str.startswith("nontargeting_")).all()
    assert set(cells["class"]) == {"unclassified"} and "cell_class" not in cells
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


def test_numbers(aggregated, cells, export_run_path):
    assert aggregated.X.dtype == np.float32 and np.isfinite(aggregated.X).all()
    store = CropStore.open(export_run_path.parent / "store")
    measured = store_features(store)
    area = np.asarray(measured.values[:, measured.names.index("nucleus_AreaShape_Area")])
    gene = list(store.perturbations).index("CCT2")
    own = store.labels == gene
    assert np.isclose(aggregated["CCT2", "nucleus_area"].layers["mean"].item(), np.nanmean(area[own]), rtol=1e-5)
    assert np.array_equal(cells["nucleus_area"], area.astype(np.float32), equal_nan=True)
    correlation = aggregated[:, "cell_correlation_DNA_actin"].layers["mean"]
    assert (np.abs(correlation) <= 1).all()
    # X: the median over a gene's cells, in robust deviations of their batch's controls.
    deviations = np.full(len(store), np.nan)
    for batch in range(len(store.batches)):
        here = store.batch_codes == batch
        controls = area[here & store.cells["is_control"].to_numpy()]
        middle = np.nanmedian(controls)
        deviations[here] = (area[here] - middle) / (1.4826 * np.nanmedian(np.abs(controls - middle)))
    assert np.isclose(aggregated["CCT2", "nucleus_area"].X.item(), np.nanmedian(deviations[own]), rtol=1e-5)
    for name in ("p_values", "neg_log10_fdr"):
        assert aggregated.layers[name].shape == aggregated.shape and np.isfinite(aggregated.layers[name]).all()
    assert ((aggregated.layers["p_values"] >= 0) & (aggregated.layers["p_values"] <= 1)).all()
    assert (aggregated.layers["neg_log10_fdr"] >= 0).all()


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
        assert len(barcodes) == (1 if gene.startswith("nontargeting_") else 2) and set(barcodes) <= set(
            library["barcode"]
        )
        for barcode in barcodes:
            leaves = sorted(panel[gene][barcode].group_keys())
            assert leaves == [str(n) for n in range(len(leaves))] and 1 <= len(leaves) <= 3
            leaf = panel[gene][barcode][leaves[-1]]
            assert leaf.attrs["perturbation_id"] == gene
            image, ome = leaf["0"], leaf.attrs["ome"]
            assert image.shape == (1, 3, 1, 32, 32) and ome["version"] == "0.5"
            assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == list("TCZYX")
            units = {axis["name"]: axis.get("unit") for axis in ome["multiscales"][0]["axes"]}
            assert units == {"T": None, "C": None, "Z": "micrometer", "Y": "micrometer", "X": "micrometer"}
            transform = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
            assert transform["scale"] == [1, 1, 1, 0.65, 0.65]
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
        ("gene_symbol", "=SUM(A1)", r"Spreadsheets take =SUM\(A1\)|against more than one gene"),
    ],
)
def test_names_the_standard_cannot_hold_are_refused(export_run_path, tmp_path, column, value, message):
    settings = parse_config({"export": {"gene_ids": gene_ids(tmp_path)}}, source="test").export
    store = CropStore.open(export_run_path.parent / "store")
    store.cells.loc[0, column] = value
    with pytest.raises(GrapeOpsError, match=message):
        describe_cells(store, describe_guides(store, settings), settings)


def test_genes_without_ensembl_ids_stop_the_export(export_run_path, tmp_path):
    with pytest.raises(GrapeOpsError, match=r"5 of 5 genes have none.*export.gene_ids=FILE"):
        export_run(export_run_path, "ops-standard", tmp_path / "out", Config())
    (tmp_path / "ids.csv").write_text("gene_symbol,ensembl_id\nCCT2,ENSG00000166226\nCOG1,NA\n")
    settings = parse_config({"export": {"gene_ids": str(tmp_path / "ids.csv")}}, source="test")
    with pytest.raises(GrapeOpsError, match="4 of 5 genes have none, as COG1"):
        export_run(export_run_path, "ops-standard", tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_feature_definitions_list_every_feature(submission, aggregated, cells):
    table = pd.read_csv(submission / "metadata/feature_definitions.csv", dtype=str, keep_default_na=False)
    assert table["feature_id"].tolist() == aggregated.var_names.tolist() and set(table["feature_id"]) <= set(cells)
    known = table.set_index("feature_id")
    assert known.loc["nucleus_DNA_mean", "channel"] == "DNA" and known.loc[
        "cell_area", ["channel", "unit"]
    ].tolist() == [
        "",
        "pixels",
    ]


def test_control_types_classes_and_the_screens_own_ids_are_kept(export_run_path, tmp_path):
    store = CropStore.open(export_run_path.parent / "store")
    controls = sorted(store.cells.loc[store.cells["is_control"], "sgRNA"].unique())
    kinds = {controls[0]: "intergenic"}
    cells = store.cells.assign(cell_id=np.arange(len(store)) + 1000.0)
    cells["class"] = "mitotic"
    cells["control_type"] = cells["sgRNA"].map(kinds).fillna("")
    store.cells = cells
    settings = parse_config({"export": {"gene_ids": gene_ids(tmp_path)}}, source="test").export
    guides = describe_guides(store, settings)
    found = guides.library[guides.library["role"] == "control"].set_index("barcode")
    assert found["control_type"].to_dict() == {g: kinds.get(g, "non-targeting") for g in controls}
    assert found.loc[controls[0], "perturbation_id"] == f"intergenic_{controls[0]}"
    table = describe_cells(store, guides, settings)
    assert [uid.rsplit("_", 1)[1] for uid in table["cell_uid"]] == [str(n + 1000) for n in range(len(store))]
    assert set(table["class"]) == set(table["cell_class"]) == {"mitotic"}


@pytest.mark.parametrize(
    "text", ["experiment: {screen_title: x}\n", "- a\n", "experiment: [\n", "experiment: {title: 3}\n"]
)
def test_metadata_without_a_title_are_refused_before_anything_is_measured(export_run_path, tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    settings = parse_config({"export": {"experimental_metadata": str(tmp_path / "mine.yaml")}}, source="test")
    with pytest.raises(GrapeOpsError, match=r"export.experimental_metadata names .*mine.yaml"):
        export_run(export_run_path, "ops-standard", tmp_path / "out", settings)


def test_a_full_folder_is_left_alone(export_run_path, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(GrapeOpsError, match="is not empty"):
        export_run(export_run_path, "ops-standard", tmp_path, Config())
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    assert re.match("x", (tmp_path / "mine").read_text())
