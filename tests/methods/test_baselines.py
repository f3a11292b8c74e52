import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grape_ops.cells.averages import average_by_gene, standardize_by_controls
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, Task, write_baseline
from grape_ops.methods.statistics import BLOCKS, QUANTILES, RINGS, crop_statistics, statistic_names
from grape_ops.schema import CONTROL_LABEL, OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES, UNS_METHOD

GENES = ("nontargeting", "nontargeting", "BRIGHT", "DULL")
PER_BATCH = 80


def make_store(path, gain: tuple[float, float] = (1.0, 1.0)) -> CropStore:
    """Write two batches of noise that differ in gain; cells of BRIGHT have a brighter middle."""
    rng = np.random.default_rng(0)
    rows, crops = [], {}
    for number, shard in enumerate(("P_A1", "P_A2")):
        images = rng.normal(9000, 1500, (PER_BATCH, 2, 32, 32))
        for row in range(PER_BATCH):
            gene = GENES[row % 4]
            images[row, 0, 12:20, 12:20] += 6000 * (gene == "BRIGHT")
            place = {"plate": "P", "well": shard[2:], "tile": "0", "batch": shard, "shard": shard, "row": row}
            rows.append({"gene_symbol": gene, "sgRNA": f"{gene}{row % 8}", "is_control": row % 4 < 2} | place)
        crops[shard] = np.clip(images * gain[number], 0, 65535).astype(np.uint16)
    write_store(path, crops, pd.DataFrame(rows), ("DNA", "actin"))
    return CropStore.open(path)


def made(method: str, store: CropStore, seed: int = 0) -> anndata.AnnData:
    quick = parse_config({"train": {"init": {"classifier": {"steps": 2}}}}, "test")
    return METHODS[method].run(Task(store, quick, seed, store.path.with_name("work")))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    return make_store(tmp_path_factory.mktemp("store") / "store")


@pytest.mark.parametrize("method", ["random", "statistics", "classifier", "gene_effects"])
def test_every_baseline_gives_one_row_a_gene(store, method):
    vectors = made(method, store)
    assert vectors.obs_names.tolist() == list(store.perturbations) == ["BRIGHT", "DULL", CONTROL_LABEL]
    assert vectors.X.dtype == np.float32 and np.isfinite(vectors.X).all()
    assert vectors.obs[OBS_N_CELLS].tolist() == [40, 40, 80] and vectors.obs[OBS_N_GUIDES].tolist() == [2, 2, 4]
    assert vectors.obs[OBS_IS_CONTROL].tolist() == [False, False, True]
    assert vectors.uns[UNS_METHOD] == method


def test_random_vectors_are_those_of_the_papers_random_row(store):
    first, again, other = (made("random", store, seed).X for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert first.shape[1] == 500 and first.min() >= 0 and first.max() < 1 and abs(first.mean() - 0.5) < 0.05


def test_statistics_tell_the_phenotype_and_only_it(store):
    vectors = made("statistics", store)
    table = pd.DataFrame(vectors.X, vectors.obs_names, vectors.var_names)
    assert table.loc["BRIGHT", "ring_0_DNA"] > 3
    assert table.loc["BRIGHT", [f"ring_{RINGS - 1}_DNA", "mean_actin", "ring_0_actin"]].abs().max() < 1
    assert table.loc["DULL"].abs().max() < 1 and table.loc[CONTROL_LABEL].abs().max() < 1e-4


def test_a_batchs_gain_does_not_show(tmp_path, store):
    vectors = [made("statistics", s).X for s in (store, make_store(tmp_path / "s", gain=(1.0, 0.5)))]
    assert np.abs(vectors[0] - vectors[1]).max() < 0.05


def test_statistics_of_known_images():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32), (16, 16))
    crops = np.stack([np.full((16, 16), 3, np.float32), ramp, -ramp])[None]
    found = pd.Series(crop_statistics(crops)[0], statistic_names(("flat", "ramp", "mirror")))
    assert found["mean_flat"] == 3 and found["sd_flat"] == found["gradient_flat"] == found["granularity_2_flat"] == 0
    assert found["mean_ramp"] == 7.5 and np.isclose(found["sd_ramp"], np.arange(16).std())
    assert found["gradient_ramp"] == 1  # one step to the right, none downwards
    assert np.isclose(found["granularity_8_ramp"], 4)
    assert found["quantile_0.5_ramp"] in (7, 8)
    assert np.allclose([found[f"ring_{r}_flat"] for r in range(RINGS)], 3)
    assert np.isclose(found["correlation_ramp_mirror"], -1) and found["correlation_flat_ramp"] == 0
    assert len(found) == 3 * (3 + len(QUANTILES) + RINGS + len(BLOCKS)) + 3


@given(turns=st.integers(0, 3), mirror=st.booleans(), size=st.sampled_from([32, 40]))
@settings(max_examples=16, deadline=None)
def test_statistics_do_not_see_turns_and_mirrors(turns, mirror, size):
    crops = np.random.default_rng(0).gamma(2, 1, (3, 2, size, size)).astype(np.float32)
    turned = np.rot90(crops, turns, axes=(2, 3))
    turned = turned[..., ::-1] if mirror else turned
    assert np.allclose(crop_statistics(crops), crop_statistics(np.ascontiguousarray(turned)), atol=1e-3)


def test_standardized_controls_have_mean_zero_and_sd_one_in_every_batch(store):
    features = np.random.default_rng(0).normal(5, 2, (len(store), 4)) * (1 + store.batch_codes[:, None])
    features[:, 3] = 7
    scaled = standardize_by_controls(features, store)
    for code in range(2):
        controls = scaled[(store.batch_codes == code) & (store.labels == 2)]
        assert np.allclose(controls.mean(axis=0), 0) and np.allclose(controls[:, :3].std(axis=0), 1)
    assert (scaled[:, 3] == 0).all()


def test_average_is_the_mean_over_cells(store):
    features = np.random.default_rng(0).normal(size=(len(store), 3))
    vectors = average_by_gene(features, store, "mine")
    for code in range(3):
        assert np.allclose(vectors.X[code], features[store.labels == code].mean(axis=0), atol=1e-6)


def test_written_baselines_can_be_read_and_unknown_ones_are_named(store, tmp_path):
    write_baseline("random", store.path, tmp_path / "deep/random.h5ad", seed=3)
    assert (anndata.read_h5ad(tmp_path / "deep/random.h5ad").X == made("random", store, 3).X).all()
    with pytest.raises(GrapeOpsError, match="There is no method impaa; there are: random, .*module:function"):
        write_baseline("impaa", store.path, tmp_path / "x.h5ad")
    with pytest.raises(GrapeOpsError, match="is a folder; name a file"):
        write_baseline("random", store.path, tmp_path)
    with pytest.raises(GrapeOpsError, match="0 or more; got -1"):
        write_baseline("random", store.path, tmp_path / "x.h5ad", seed=-1)
    assert [file.name for file in tmp_path.iterdir()] == ["deep"]
