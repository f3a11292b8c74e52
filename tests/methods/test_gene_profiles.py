"""From features of cells to profiles of genes: against the plain way, and what is left out."""

import warnings
from decimal import Decimal

import anndata
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from sklearn.decomposition import PCA

from grape_ops.cells import averages
from grape_ops.cells.averages import ControlStatistics, standardize_by_controls
from grape_ops.config import Config, EngineeredSettings, load_config, parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, NOTES, Task
from grape_ops.methods.cell_vectors import files_of
from grape_ops.methods.feature_files import feature_columns, parts, values_of
from grape_ops.methods.gene_profiles import CellProfiles, gene_profiles, in_words

ALL = EngineeredSettings(variance=1.0, clip=1e9)


def cells(seed: int = 0, n: int = 900, width: int = 6) -> tuple[CellProfiles, np.ndarray, np.ndarray]:
    """Correlated features of cells of 4 genes and controls (label 4) in 3 batches of other level and spread."""
    rng = np.random.default_rng(seed)
    labels, codes = rng.integers(0, 5, n), rng.integers(0, 3, n)
    values = (
        rng.normal(size=(n, width)) @ rng.normal(size=(width, width))
        + np.eye(5)[labels] @ rng.normal(size=(5, width)) * (labels != 4)[:, None]
    )
    raw = values * (1 + codes[:, None]) + 10 * codes[:, None]
    return profiles_of(raw, labels, codes), raw, values


def profiles_of(raw: np.ndarray, labels: np.ndarray, codes: np.ndarray) -> CellProfiles:
    control = labels == 4

    def read(controls_only):
        for rows in np.array_split(np.arange(len(raw)), 7):
            rows = rows[control[rows]] if controls_only else rows
            yield rows, raw[rows]

    return CellProfiles(labels, codes, control, tuple(f"f{i}" for i in range(raw.shape[1])), read)


def plainly(raw: np.ndarray, labels: np.ndarray, codes: np.ndarray) -> np.ndarray:
    out = raw.copy()
    for code in range(3):
        own = codes == code
        controls = raw[own & (labels == 4)]
        out[own] = (raw[own] - controls.mean(axis=0)) / controls.std(axis=0)
    return out


def test_profiles_agree_with_the_plain_way_in_memory():
    part, raw, _ = cells()
    vectors, facts = gene_profiles(part, 5, EngineeredSettings(variance=0.8, clip=1e9))
    scaled = plainly(raw, part.labels, part.codes)
    pca = PCA(n_components=facts["components"], svd_solver="full").fit(scaled)
    assert pca.explained_variance_ratio_.sum() >= 0.8 > pca.explained_variance_ratio_[:-1].sum()
    means = np.stack([scaled[part.labels == gene].mean(axis=0) for gene in range(5)]) @ pca.components_.T
    assert np.allclose(np.abs(vectors), np.abs(means), atol=1e-8)
    assert np.allclose(vectors[4], 0, atol=1e-8)


def test_typical_variation_gives_the_controls_unit_covariance():
    part, raw, _ = cells()
    settings = ALL.model_copy(update={"typical_variation": True})
    vectors, _ = gene_profiles(part, 5, settings)
    scaled = plainly(raw, part.labels, part.codes)
    means = np.stack([scaled[part.labels == gene].mean(axis=0) for gene in range(5)])
    whitening = np.linalg.inv(np.cov(scaled[part.labels == 4].T, bias=True))
    # Whitened axes are defined up to a rotation, which inner products do not see.
    assert np.allclose(vectors @ vectors.T, means @ whitening @ means.T, rtol=1e-6, atol=1e-8)


def test_undefined_and_unvarying_features_go_and_are_counted():
    part, raw, _ = cells()
    raw = np.column_stack([raw, np.full(len(raw), 3.0), raw[:, 0], raw[:, 1]])
    raw[::3, 7] = np.nan  # too often
    raw[5:9, 8] = np.inf  # seldom
    raw[20] = np.nan  # a cell nothing is known of
    vectors, facts = gene_profiles(profiles_of(raw, part.labels, part.codes), 5, ALL)
    assert (facts["constant"], facts["undefined"], facts["kept"]) == (["f6"], ["f7"], 7)
    assert facts["undefined_values"] == 4 and facts["cells_without_features"] == 1 and facts["cells"] == 900
    assert np.isfinite(vectors).all()
    assert in_words(facts).startswith("7 of 9 features in ") and "1 of 900 cells could not be measured" in in_words(
        facts
    )


def test_a_cell_nothing_is_known_of_does_not_count():
    part, raw, _ = cells()
    lost = raw.copy()
    lost[part.labels == 0] = np.where(np.arange((part.labels == 0).sum())[:, None] % 2, np.nan, raw[part.labels == 0])
    half, _ = gene_profiles(profiles_of(lost, part.labels, part.codes), 5, ALL)
    without = ~np.isnan(lost).all(axis=1)
    kept = profiles_of(raw[without], part.labels[without], part.codes[without])
    plain, _ = gene_profiles(kept, 5, ALL)
    assert np.allclose(half @ half.T, plain @ plain.T)


def test_wild_values_are_cut():
    part, raw, _ = cells()
    wild = raw.copy()
    wild[np.flatnonzero(part.labels == 0)[0], 0] = 1e9
    settings = ALL.model_copy(update={"clip": 8.0})
    tame, cut = (gene_profiles(profiles_of(x, part.labels, part.codes), 5, settings)[0] for x in (raw, wild))
    assert np.abs(tame @ tame.T - cut @ cut.T).max() < 1


def test_nothing_left_says_why():
    part, _, _ = cells()
    with pytest.raises(GrapeOpsError, match="None of 2 features is left: 2 do not vary"):
        gene_profiles(profiles_of(np.ones((900, 2)), part.labels, part.codes), 5, ALL)


def test_blocks_change_nothing(tiny_store, monkeypatch):
    features = np.random.default_rng(0).normal(size=(len(tiny_store), 3))
    whole = standardize_by_controls(features, tiny_store)
    monkeypatch.setattr(averages, "BLOCK", 5)
    assert np.allclose(standardize_by_controls(features, tiny_store), whole, rtol=1e-12)


def test_a_batch_without_controls_is_measured_against_all_of_them():
    rng = np.random.default_rng(0)
    features, codes = 100 + rng.normal(size=(60, 2)), np.arange(60) % 2
    statistics = ControlStatistics.of([(codes, features)], 3)
    lonely = statistics.standardize(features, np.full(60, 2))
    np.testing.assert_allclose(lonely.mean(axis=0), 0, atol=1e-9)
    assert lonely.std(axis=0) == pytest.approx([1, 1], rel=0.1)


def test_engineered_features_find_the_planted_brightness(tiny_store, tmp_path):
    pytest.importorskip("cp_measure")
    config = parse_config({"features": {"workers": 1, "cache": str(tmp_path)}}, "test")
    adata = METHODS["engineered"].run(Task(tiny_store, config, 0, tmp_path / "work"))
    assert adata.obs_names.tolist() == list(tiny_store.perturbations)
    assert adata.uns["features"]["cpu_seconds"] > 0 and "features in" in adata.uns[NOTES][0]
    unit = adata.X[:4] / np.linalg.norm(adata.X[:4], axis=1, keepdims=True)
    cosine = unit @ unit.T  # AAA and CCC are brighter in DNA, BBB and DDD in actin
    assert min(cosine[0, 2], cosine[1, 3]) > max(cosine[0, 1], cosine[2, 3])


def funks_table(store, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    genes = [*store.perturbations[:-1], "nontargeting"] * 40
    table = pd.DataFrame({"sgRNA_0": "g", "gene_symbol_0": genes, "plate": "P", "well": ["A1", "A2"] * 100, "tile": 3})
    table["cell_i"], table["class_predict_1"] = rng.uniform(0, 1000, 200), 0
    table["nucleus_dapi_mean"] = rng.normal(5, 1, 200) + 3 * table["gene_symbol_0"].isin(["AAA", "BBB"])
    table["cell_tubulin_std"] = rng.normal(5, 1, 200) + 3 * table["gene_symbol_0"].isin(["CCC"])
    table["cell_gh2ax_int"] = 1
    return table


def described(store, file, tmp_path, **more) -> Task:
    return Task(
        store,
        parse_config({"baselines": {"profiles": {"table": str(file), "match": "genes", **more}}}, "test"),
        0,
        tmp_path,
    )


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".csv.gz"])
def test_a_released_table_is_treated_the_same(tiny_store, tmp_path, suffix):
    file = tmp_path / f"cp{suffix}"
    table = funks_table(tiny_store)
    if suffix == ".parquet":
        table.set_index("sgRNA_0").to_parquet(file)
    else:
        table.to_csv(file, sep="\t" if suffix == ".tsv" else ",", index=False)
    adata = METHODS["profiles"].run(described(tiny_store, file, tmp_path))
    assert adata.uns["features"]["features"] == 3 and adata.uns["features"]["constant"] == ["cell_gh2ax_int"]
    unit = adata.X[:4] / np.linalg.norm(adata.X[:4], axis=1, keepdims=True)
    assert (unit @ unit.T)[0, 1] > 0.95 > 0.5 > (unit @ unit.T)[0, 2]


def test_a_table_that_does_not_fit_says_what_is_missing(tiny_store, tmp_path):
    table, make = funks_table(tiny_store), METHODS["profiles"].run
    file = tmp_path / "t.csv"
    with pytest.raises(GrapeOpsError, match="baselines.profiles.table=FILE"):
        make(Task(tiny_store, Config(), 0, tmp_path))
    with pytest.raises(GrapeOpsError, match="no table of features"):
        make(described(tiny_store, file, tmp_path))
    table.rename(columns={"gene_symbol_0": "target"}).to_csv(file, index=False)
    with pytest.raises(GrapeOpsError, match="profiles.columns.gene_symbol=COLUMN"):
        make(described(tiny_store, file, tmp_path))
    assert make(described(tiny_store, file, tmp_path, columns={"gene_symbol": "target"})).n_obs == 5
    table[table["gene_symbol_0"] != "DDD"].to_csv(file, index=False)
    adata = make(described(tiny_store, file, tmp_path))
    assert "DDD" not in adata.obs_names and "1 of 5 perturbations are not in the table: DDD" in adata.uns[NOTES][1]
    table.iloc[:20].to_csv(file, index=False)
    with pytest.raises(GrapeOpsError, match="4 rows of controls, too few.*gene2vec.vectors=FILE"):
        make(described(tiny_store, file, tmp_path))
    table[["gene_symbol_0", "plate", "well", "tile"]].to_csv(file, index=False)
    with pytest.raises(GrapeOpsError, match="no numeric columns that could be features"):
        make(described(tiny_store, file, tmp_path))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz"])
def test_a_damaged_table_of_features_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PAR1\x1f\x8b\xff\xfe no table")
    with pytest.raises(GrapeOpsError, match=f"{name} cannot be read as a table of features"):
        list(parts(tmp_path / name, None))


@pytest.mark.parametrize("row", ["c2,0.5", "c2,0.5,1.5,2.5"], ids=["too few", "too many"])
def test_a_row_that_does_not_fit_the_columns_is_refused(tmp_path, row):
    (tmp_path / "t.csv").write_text(f"id,area,texture\nc1,0.1,0.2\n{row}\nc3,0.3,0.4\n")
    with pytest.raises(GrapeOpsError, match="where the first line names 3 columns"):
        list(parts(tmp_path / "t.csv", ["area", "texture"]))


def test_text_becomes_numbers_where_all_of_a_column_are(tmp_path):
    text = "id,whole,part,signed,word,flag\n007,1, 2.5,+1e-3,n1,True\n008,NA,nan,-inf,NA,False\n"
    (tmp_path / "t.csv").write_text(text)
    (part,) = parts(tmp_path / "t.csv", None)
    assert part.id.tolist() == [7, 8] and part.signed.tolist() == [1e-3, -np.inf]
    np.testing.assert_array_equal(part[["whole", "part"]], [[1, 2.5], [np.nan, np.nan]])
    assert part.word.tolist() == ["n1", None] and part.flag.tolist() == ["True", "False"]
    assert feature_columns(tmp_path / "t.csv", ["id"]).names == ("whole", "part", "signed")


def test_a_column_that_is_there_twice_is_named(tmp_path):
    table = pyarrow.table([[1.0], [2.0]], names=["area", "area"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(GrapeOpsError, match="the column area more than once"):
        list(parts(tmp_path / "t.parquet", None))


def test_numbers_held_as_decimals_or_texts_are_features(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=20).round(3)
    table = pd.DataFrame({"gene_symbol": "A", "plate": ["007"] * 20, "decimal": [Decimal(f"{v:.3f}") for v in values]})
    table = table.assign(text=[str(v) for v in values], chosen=pd.Categorical([str(v) for v in values]), word="x")
    table.to_parquet(tmp_path / "t.parquet")
    found = feature_columns(tmp_path / "t.parquet", [])
    assert found.names == ("decimal", "text", "chosen")
    assert found.notes == ("1 column of t.parquet without numbers left out: word",)
    (part,) = values_of(tmp_path / "t.parquet", found.names)
    np.testing.assert_allclose(part, np.tile(values[:, None], 3), rtol=1e-6)
    commas = table[["gene_symbol", "text"]].assign(text=table.text.str.replace(".", ","), either="1,234")
    commas.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    found = feature_columns(tmp_path / "t.tsv", [])
    assert found.names == ("text",) and "left out: either" in found.notes[0]
    np.testing.assert_allclose(next(values_of(tmp_path / "t.tsv", ["text"]))[:, 0], values, rtol=1e-6)


IDS_OF_CELLS = (
    "id object_id nucleus_id cell_index cell_id label number index uid cell_uid object nucleus row_id fov field_id "
    "image_id plate_number batch_index orig_index global_id ObjectNumber Metadata_x"
)


@pytest.mark.parametrize("name", IDS_OF_CELLS.split())
def test_ids_are_no_features(tmp_path, name):
    pd.DataFrame({name: np.arange(9)[::-1], "area": 0.5}).to_csv(tmp_path / "t.csv", index=False)
    assert feature_columns(tmp_path / "t.csv", []).names == ("area",)


@pytest.mark.parametrize("name", ["nucleus_area", "shape_index", "solidity", "mean_fluid", "row_mean", "mitotic_index"])
def test_measurements_with_names_like_ids_are_features(tmp_path, name):
    pd.DataFrame({name: [3, 1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    assert feature_columns(tmp_path / "t.csv", []).names == (name,)


def test_a_column_that_only_counts_upwards_is_told(tmp_path):
    table = pd.DataFrame({"order": np.arange(9) * 3.0, "area": [0.5] * 8 + [1], "whole": [1, 2, 3, 4, 5, 6, 7, 8, 8]})
    table.to_csv(tmp_path / "t.csv", index=False)
    found = feature_columns(tmp_path / "t.csv", [])
    assert found.names == ("order", "area", "whole") and len(found.notes) == 1
    assert found.notes[0] == (
        "1 column of t.csv only counting upwards from row to row, taken as features: order; if they are ids, "
        "--set baselines.profiles.drop=[order]"
    )


def test_a_feature_that_goes_on_with_words_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("grape_ops.methods.feature_files._ROWS_AT_ONCE", 4)
    pd.DataFrame({"area": ["1.5"] * 4 + ["large"] * 4}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(GrapeOpsError, match="The feature area of .* begins with numbers, and then holds 'large'"):
        list(values_of(tmp_path / "t.parquet", feature_columns(tmp_path / "t.parquet", []).names))


def test_blanks_around_the_names_of_features_are_none(tmp_path):
    table = pd.DataFrame({" area ": [1.0, 2.0], "gene_symbol ": ["A", "B"]})
    for name in ("t.csv", "t.parquet"):
        table.to_csv(tmp_path / name, index=False) if name == "t.csv" else table.to_parquet(tmp_path / name)
        assert feature_columns(tmp_path / name, []).names == ("area",)
        assert next(parts(tmp_path / name, ["gene_symbol"])).gene_symbol.tolist() == ["A", "B"]


def test_an_anndata_without_x_or_with_a_feature_twice_is_refused_in_words(tmp_path):
    twice = anndata.AnnData(np.ones((3, 2), np.float32))
    twice.var_names = ["area", "area"]
    with warnings.catch_warnings(action="ignore"):
        twice.write_h5ad(tmp_path / "twice.h5ad")
    with pytest.raises(GrapeOpsError, match=r"twice\.h5ad .*has the feature area more than once"):
        list(parts(tmp_path / "twice.h5ad", ["area"]))
    anndata.AnnData(shape=(3, 2), layers={"raw": np.ones((3, 2))}).write_h5ad(tmp_path / "raw.h5ad")
    with pytest.raises(GrapeOpsError, match=r"raw\.h5ad .*has no X.*layers are not read"):
        list(parts(tmp_path / "raw.h5ad", None))


def test_a_file_of_features_named_twice_is_refused(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("")
    with pytest.raises(GrapeOpsError, match="is named twice"):
        files_of(load_config(overrides=[f"baselines.profiles.table=[{file},{tmp_path}/sub/../t.csv]"]))
