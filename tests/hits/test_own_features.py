"""Per-cell vectors of somebody else are tested as ours are, and channels can be tested alone."""

import copy
import json
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import grape_ops as go
from grape_ops.cells.averages import blocks
from grape_ops.cli import app
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.significance import benjamini_hochberg
from grape_ops.features.channels import columns_of_channels, feature_compartments
from grape_ops.hits.cell_features import cell_features
from grape_ops.hits.feature_sources import feature_sources
from grape_ops.hits.find_hits import find_hits
from grape_ops.hits.write_hits import write_hits
from grape_ops.methods import METHODS, NOTES, Task, check_methods
from grape_ops.methods.statistics import read_statistics
from grape_ops.plotting.hits_figures import channels_figure

PAGE = (Path(__file__).parents[2] / "docs/own-features.md").read_text()


@pytest.fixture(scope="module")
def vectors(tiny_store):
    """Our own statistics, as somebody else's table would hold them."""
    names, read = read_statistics(tiny_store)
    values = np.concatenate([read(rows) for rows in blocks(np.arange(len(tiny_store)))])
    return pd.DataFrame(values, columns=[f"z{number}" for number in range(len(names))])


def settings(*files, **more):
    tables = f"baselines.profiles.table={json.dumps([str(file) for file in files])}"
    rest = [f"{name}={value}" for name, value in more.items()]
    return load_config(overrides=["hits.features=profiles", "hits.pseudo_genes=5", tables, *rest])


def test_files_side_by_side_give_what_the_same_features_of_ours_give(tiny_store, vectors, tmp_path):
    crops = tiny_store.cells[["shard", "row"]]
    keyed = pd.concat([crops, vectors.iloc[:, :20]], axis=1).sample(frac=1, random_state=0)
    keyed.to_parquet(tmp_path / "by_crop.parquet")
    named = tiny_store.cells[["gene_symbol", "well"]]
    pd.concat([named, vectors.iloc[:, 20:]], axis=1).to_csv(tmp_path / "in_order.csv", index=False)
    files = settings(tmp_path / "by_crop.parquet", tmp_path / "in_order.csv")
    found = find_hits(tiny_store, files)
    ours = find_hits(tiny_store, load_config(overrides=["hits.pseudo_genes=5"]))
    plain = [name for name in found.genes if not name.startswith(("p_", "top_"))] + ["p_value"]
    pd.testing.assert_frame_equal(found.genes[plain], ours.genes[plain], rtol=1e-4)
    profiles = METHODS["profiles"].run(Task(tiny_store, files, 0, tmp_path))
    vectors.assign(**crops).to_parquet(tmp_path / "all.parquet")
    alone = METHODS["profiles"].run(Task(tiny_store, settings(tmp_path / "all.parquet"), 0, tmp_path))
    np.testing.assert_allclose(profiles.X @ profiles.X.T, alone.X @ alone.X.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore")
def test_an_anndata_of_some_cells_is_read_and_what_it_lacks_is_counted(tiny_store, vectors, tmp_path, suffix):
    file = tmp_path / f"encoder{suffix}"
    made = anndata.AnnData(vectors.to_numpy(), tiny_store.cells[["shard", "row"]].set_axis(vectors.index.astype(str)))
    made.var_names = ["image", *made.var_names[1:]]  # a name that a table would not take for a feature's
    made.X[:, 3] = np.nan
    made = made[::-1][4:].copy()  # without four cells of the last gene
    made.write_h5ad(file) if suffix == ".h5ad" else made.write_zarr(file)
    (source,) = feature_sources(tiny_store, settings(file))
    assert len(source.names) == vectors.shape[1] and source.cells.tolist() == list(range(len(tiny_store) - 4))
    np.testing.assert_array_equal(source.read(np.array([9, 4]))[:, 5], vectors.iloc[[9, 4], 5])
    found = find_hits(tiny_store, settings(file))
    assert found.genes.set_index("gene_symbol")["n_cells"].to_dict() == {"AAA": 10, "BBB": 12, "CCC": 10, "DDD": 8}
    assert found.notes[0] == f"4 of {len(tiny_store)} cells are not in {file.name}"
    assert "1 of 39 features are too often undefined (NaN)" in found.notes[1]
    assert found.notes[0] in METHODS["profiles"].run(Task(tiny_store, settings(file), 0, tmp_path)).uns[NOTES]


def test_features_undefined_in_more_controls_than_allowed_are_left_out(tiny_store, vectors, tmp_path):
    controls = np.flatnonzero(tiny_store.cells["is_control"])
    assert len(controls) == 16
    holes = vectors.assign(**tiny_store.cells[["shard", "row"]])
    holes.loc[controls[::8], "z0"] = np.nan  # 2 of 16
    holes.loc[controls[::4], "z1"] = np.nan  # 4 of 16
    holes.to_parquet(tmp_path / "t.parquet")
    for most, left_out in ((0.12, {"z0", "z1"}), (0.125, {"z1"}), (0.25, set())):
        (features,) = cell_features(tiny_store, settings(tmp_path / "t.parquet", **{"hits.most_undefined": most}))
        assert {"z0", "z1"} - set(features.names) == left_out


def test_files_that_are_not_of_these_cells_are_refused(tiny_store, vectors, tmp_path):
    file = tmp_path / "t.parquet"
    cells = tiny_store.cells[["gene_symbol", "well"]]
    cases = {
        "not the store's 60 cells in their order": vectors.assign(
            **cells.sample(frac=1, random_state=0).to_dict("list")
        ),
        "shard, row: 0 of the store's 60 cells are found": vectors.assign(shard="other", row=range(len(vectors))),
        "nor shard and row of the crop": vectors,
        "name another gene": vectors.assign(
            **tiny_store.cells[["shard", "row"]], gene_symbol=np.roll(tiny_store.cells["gene_symbol"], 8)
        ),
    }
    for words, table in cases.items():
        table.to_parquet(file)
        with pytest.raises(GrapeOpsError, match=words):
            find_hits(tiny_store, settings(file))
    genes = tiny_store.cells["gene_symbol"].replace({"AAA": "ZZZ"})
    vectors.assign(**tiny_store.cells[["shard", "row"]], gene_symbol=genes).to_parquet(file)
    (source,) = feature_sources(tiny_store, settings(file))
    assert "10 of 60 rows of t.parquet name another gene" in source.notes[0]
    with pytest.raises(GrapeOpsError, match="reads rows as none"):
        find_hits(tiny_store, settings(file, **{"baselines.profiles.match": "genes"}))
    (tmp_path / "t.h5ad").write_bytes(b"no HDF5")
    for name in ("t.h5ad", "none.zarr"):
        with pytest.raises(GrapeOpsError, match="is not a table of features, or it is damaged|There is no table"):
            find_hits(tiny_store, settings(tmp_path / name))


def test_the_example_of_the_page_runs(tiny_store, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("store").symlink_to(tiny_store.path)
    exec(compile(code, "own-features.md", "exec"), {})
    for call in re.findall(r"^grape-ops (.*)$", PAGE, flags=re.MULTILINE)[:2]:
        answer = CliRunner().invoke(app, [*call.split(), "--set", "hits.pseudo_genes=5"])
        assert answer.exit_code == 0, (call, answer.output, answer.exception)
    assert len(pd.read_csv("hits/genes.tsv", sep="\t")) == 4 and Path("hits/channels.tsv").exists()


def test_channels_are_tested_alone_and_restrict_what_is_measured(tiny_store):
    few = "hits.pseudo_genes=5"
    whole = find_hits(tiny_store, load_config(overrides=[few]))
    found, genes = whole.channels, whole.genes.set_index("gene_symbol")
    assert set(found["name"]) == {"DNA", "actin"} and (found["kind"] == "channel").all() and len(found) == 8
    dna = found[found["name"] == "DNA"].set_index("gene_symbol")
    np.testing.assert_allclose(dna["p_value"], genes.loc[dna.index, "p_DNA"])
    np.testing.assert_allclose(found["q_value"], benjamini_hochberg(found["p_value"].to_numpy()))  # over all rows
    assert (dna["effect"] >= 0).all()
    part = find_hits(tiny_store, load_config(overrides=[few, "features.channels=[actin]"]))
    alone = part.genes.set_index("gene_symbol")
    np.testing.assert_allclose(alone["p_actin"], genes.loc[alone.index, "p_actin"], rtol=1e-3)
    assert "p_DNA" not in alone and set(part.channels["name"]) == {"actin"}
    assert channels_figure(whole.genes.assign(is_hit=True), found) is not None
    assert channels_figure(whole.genes.assign(is_hit=True), found[:0]) is None
    learned = load_config(overrides=["hits.features=learned", "features.channels=[DNA]"])
    with pytest.raises(GrapeOpsError, match="cannot be restricted to channels"):
        find_hits(tiny_store, learned)


def test_the_test_of_each_channel_is_calibrated_on_pseudo_genes_too(tiny_store, tmp_path):
    dealt = copy.copy(tiny_store)
    own, number = tiny_store.cells["sgRNA"], np.arange(len(tiny_store)) % 6
    dealt.cells = tiny_store.cells.assign(sgRNA=own.where(~tiny_store.cells["is_control"], [f"nt{n}" for n in number]))
    found = write_hits(dealt, tmp_path / "hits", load_config(overrides=["hits.pseudo_genes=8"]))
    assert {name: len(p_values) for name, p_values in found.pseudo_by_channel.items()} == {"DNA": 8, "actin": 8}
    assert not np.array_equal(found.pseudo_by_channel["DNA"], found.pseudo_by_channel["actin"])
    facts = json.loads((tmp_path / "hits" / "hits.json").read_text())
    assert facts["calibration"]["by_channel"] == found.channel_rates() and "Of each channel alone: DNA " in str(found)
    assert facts["feature_settings"] == []


def test_channels_count_in_the_identity_of_what_they_restrict(tiny_store, tmp_path, capsys):
    whole, part = load_config(), load_config(overrides=["features.channels=[DNA]"])
    for name in ("statistics", "engineered", "profiles"):
        assert METHODS[name].decisive(whole) != METHODS[name].decisive(part)
    assert METHODS["classifier"].decisive(whole) == METHODS["classifier"].decisive(part)
    made = METHODS["statistics"].run(Task(tiny_store, part, 0, tmp_path))
    assert made.n_vars == 19 and all(name.endswith("_DNA") for name in made.var_names)
    with pytest.raises(GrapeOpsError, match="There is no channel tubulin .*there are: DNA, actin"):
        check_methods([METHODS["statistics"]], tiny_store, load_config(overrides=["features.channels=[tubulin]"]))
    check_methods([METHODS["statistics"], METHODS["grape"]], tiny_store, part)
    assert "grape read all channels" in capsys.readouterr().err
    with pytest.raises(GrapeOpsError, match="untrained reads all channels .*What can be: statistics, "):
        go.run_method("untrained", tiny_store, config=part)


def test_the_option_channels_restricts_what_a_baseline_is_made_of(tiny_store, tmp_path):
    call = ["baseline", "statistics", str(tiny_store.path), "--out", str(tmp_path / "s.h5ad"), "--channels", "actin"]
    assert CliRunner().invoke(app, call).exit_code == 0
    names = anndata.read_h5ad(tmp_path / "s.h5ad").var_names
    assert len(names) == 19 and all(name.endswith("_actin") for name in names)


def test_the_option_scheduler_is_for_engineered_features_and_reaches_them(tiny_store, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    pytest.importorskip("cp_measure")
    monkeypatch.setattr("grape_ops.workers.WAIT_SECONDS", 1)
    call = ["hits", str(tiny_store.path), "--out", str(tmp_path / "hits"), "--scheduler", "tcp://127.0.0.1:9"]
    for features, words in (("statistics", "--scheduler is for"), ("engineered", "answers at tcp://127.0.0.1:9")):
        answer = CliRunner().invoke(app, [*call, "--features", features])
        assert isinstance(answer.exception, GrapeOpsError) and words in str(answer.exception)


def test_names_tell_channels_and_compartments():
    names = ("cell_Mean_DNA", "cell_AreaShape_Area", "nucleus_Corr_DNA_actin", "nucleus_Mean_actin")
    channels = ("DNA", "actin")
    assert columns_of_channels(names, channels, ()) is None
    assert columns_of_channels(names, channels, ("DNA",)).tolist() == [0]
    assert columns_of_channels(names, channels, ("DNA", "actin")).tolist() == [0, 2, 3]
    assert columns_of_channels(("Mean_DNA_2", "Corr_DNA_DNA_2"), ("DNA", "DNA_2"), ("DNA_2",)).tolist() == [0]
    assert columns_of_channels(("Mean_F_actin", "Mean_actin"), ("actin", "F_actin"), ("actin",)).tolist() == [1]
    with pytest.raises(GrapeOpsError, match="No feature is of DNA alone"):
        columns_of_channels(("z1", "z2"), channels, ("DNA",))
    assert {name: c.tolist() for name, c in feature_compartments(names).items()} == {"nucleus": [2, 3], "cell": [0, 1]}
