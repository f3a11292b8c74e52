"""Regions and features of single crops, and the table of a whole store."""

import json

import numpy as np
import pytest

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import FeatureSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.features import crop_features, find_regions, nucleus_channel, store_features
from grape_ops.features import table as table_module

pytest.importorskip("cp_measure")
CHANNELS = ("DNA", "actin")
SIZE = 40


def disk(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.hypot(rows - y, columns - x) <= radius


def cell(nucleus: float = 6, body: float = 12, brightness: float = 1.0, neighbour: bool = False) -> np.ndarray:
    """A drawn crop (2, SIZE, SIZE) uint16: DNA in the nucleus, actin in the body."""
    rng = np.random.default_rng(int(nucleus * 100 + body))
    dna, actin = 20_000 * disk(20, 20, nucleus), 15_000 * brightness * disk(20, 20, body)
    if neighbour:
        dna, actin = dna + 60_000 * disk(20, 36, 6) * ~disk(20, 20, nucleus), actin + 15_000 * disk(20, 38, 12)
    noisy = np.stack([dna, np.minimum(actin, 30_000)]) + rng.normal(500, 60, (2, SIZE, SIZE))
    return np.clip(noisy, 0, 65535).astype(np.uint16)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_nucleus_and_body_are_found_where_they_were_drawn():
    nucleus, body = find_regions(cell(), 0)
    assert overlap(nucleus, disk(20, 20, 6)) > 0.85 and overlap(body, disk(20, 20, 12)) > 0.8
    assert (nucleus <= body).all()


def test_a_brighter_neighbour_neither_hides_nor_joins_the_central_cell():
    nucleus, body = find_regions(cell(neighbour=True), 0)
    assert overlap(nucleus, disk(20, 20, 6)) > 0.8
    assert not (body & disk(20, 36, 5)).any()


def test_an_empty_crop_has_no_cell():
    assert not any(region.any() for region in find_regions(np.zeros((2, SIZE, SIZE), np.uint16), 0))
    corner = np.stack([1000 * disk(3, 3, 3), np.zeros((SIZE, SIZE))]).astype(np.uint16)
    assert not find_regions(corner, 0)[0].any()


def test_touching_nuclei_are_parted():
    dna = 20_000 * (disk(20, 20, 6) | disk(20, 31, 6))
    nucleus, _ = find_regions(np.stack([dna, dna]).astype(np.uint16), 0)
    assert overlap(nucleus, disk(20, 20, 6)) > 0.8


def test_the_dna_channel_is_told_by_its_name():
    assert nucleus_channel(("A594", "DAPI-1", "GFP")) == 1 and nucleus_channel(("x", "Hoechst 33342")) == 1
    assert nucleus_channel(("a", "b"), "b") == 1
    with pytest.raises(GrapeOpsError, match="No channel seems to show nuclei among actin, tubulin.*nucleus_channel"):
        nucleus_channel(("actin", "tubulin"))
    with pytest.raises(GrapeOpsError, match="More than one channel"):
        nucleus_channel(("DAPI", "H2B"))
    with pytest.raises(GrapeOpsError, match="no channel 'dna'.*there are: DNA, actin"):
        nucleus_channel(CHANNELS, "dna")


def test_features_measure_what_was_drawn():
    crops = np.stack([cell(), cell(brightness=1.6), cell(nucleus=8)])
    names, values = crop_features(crops, CHANNELS, 0)
    assert values.shape == (3, len(names)) and values.dtype == np.float32 and len(set(names)) == len(names)
    of = dict(zip(names, values.T, strict=True))
    assert np.allclose(of["nucleus_AreaShape_Area"], [disk(20, 20, r).sum() for r in (6, 6, 8)], rtol=0.12)
    ratio = of["cell_Intensity_MeanIntensity_actin"][1] / of["cell_Intensity_MeanIntensity_actin"][0]
    assert 1.5 < ratio < 1.65
    inside = np.where(find_regions(crops[0], 0)[0], crops[0, 0], 0)
    assert np.isclose(of["nucleus_Intensity_IntegratedIntensity_DNA"][0], inside.sum(), rtol=1e-5)
    assert abs(of["cell_AreaShape_Eccentricity"][0]) < 0.5
    assert not any(word in name for name in names for word in ("Location", "Center_", "BoundingBoxM", "Orientation"))


def test_a_cells_features_do_not_hang_on_the_cells_beside_it():
    crops = np.stack([cell(5 + i % 4, 10 + i % 5) for i in range(9)])
    full = FeatureSettings(full=True)
    names, together = crop_features(crops, CHANNELS, 0, settings=full)
    assert len(names) > len(crop_features(crops[:1], CHANNELS, 0)[0])
    for i in (0, 4, 8):
        assert np.allclose(
            crop_features(crops[i : i + 1], CHANNELS, 0, settings=full)[1][0], together[i], equal_nan=True
        )


def test_pixel_types_agree_and_others_are_refused():
    crops = np.stack([cell(), cell(7, 13)])
    names, values = crop_features(crops, CHANNELS, 0)
    again = crop_features(crops / 65535, CHANNELS, 0)[1]
    assert np.allclose(values, again, equal_nan=True)
    small = (crops >> 8).astype(np.uint8)
    area = names.index("cell_AreaShape_Area")
    assert np.allclose(crop_features(small, CHANNELS, 0)[1][:, area], values[:, area], rtol=0.05)
    with pytest.raises(GrapeOpsError, match="floats between 0 and 1; these are float64 from"):
        crop_features(crops / 65535 - 0.5, CHANNELS, 0)
    with pytest.raises(GrapeOpsError, match="3 channels"):
        crop_features(crops, ("a", "b", "c"), 0)


def test_cells_without_a_nucleus_are_nan_and_masks_of_the_user_are_taken():
    crops = np.stack([cell(), np.zeros((2, SIZE, SIZE), np.uint16)])
    names, values = crop_features(crops, CHANNELS, 0)
    assert np.isnan(values[1]).all() and not np.isnan(values[0]).all()
    masks = np.zeros((2, 2, SIZE, SIZE), np.uint8)
    masks[:, 0], masks[:, 1] = disk(20, 20, 3) * 7, disk(20, 20, 5)
    area = crop_features(crops, CHANNELS, 0, masks)[1][:, names.index("nucleus_AreaShape_Area")]
    assert (area == disk(20, 20, 3).sum()).all()
    with pytest.raises(GrapeOpsError, match="nucleus and cell of each crop; got"):
        crop_features(crops, CHANNELS, 0, masks[:, :1])


@pytest.fixture
def store(tmp_path) -> CropStore:
    import pandas as pd

    crops = np.stack([cell(5 + i % 3, 10 + i % 4) for i in range(30)])
    crops[7] = 0
    table = pd.DataFrame(
        {"gene_symbol": ["nontargeting", "A", "B"] * 10, "sgRNA": "g", "is_control": [True, False, False] * 10}
        | {"plate": "P", "well": "A1", "tile": "0", "batch": "P|A1", "shard": "P_A1", "row": range(30)}
    )
    write_store(tmp_path / "store", {"P_A1": crops}, table, CHANNELS)
    return CropStore.open(tmp_path / "store")


def test_a_stores_features_are_measured_once_and_go_on_after_a_stop(store, monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK", 8)
    settings = FeatureSettings(workers=1)
    straight = np.array(crop_features(store.read(slice(None)), CHANNELS, 0)[1])
    measured: list[int] = []
    real = table_module._measure_block

    def stopping(*arguments):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(arguments[-2])
        return real(*arguments)

    monkeypatch.setattr(table_module, "_measure_block", stopping)
    with pytest.raises(KeyboardInterrupt):
        store_features(store, settings)
    measured.clear()
    monkeypatch.setattr(table_module, "_measure_block", lambda *a: measured.append(a[-2]) or real(*a))
    found = store_features(store, settings)
    assert sorted(measured) == [2, 3] and found.without_nucleus == 1
    assert np.array_equal(found.values, straight, equal_nan=True)
    assert store_features(store, settings).path == found.path and len(measured) == 2
    assert found.path.parent == store.path.with_name("store.features")
    assert json.loads((found.path / "features.json").read_text())["nucleus_channel"] == "DNA"


def test_two_processes_measure_the_same(store, monkeypatch, tmp_path):
    monkeypatch.setattr(table_module, "BLOCK", 8)
    one = store_features(store, FeatureSettings(workers=1))
    two = store_features(store, FeatureSettings(workers=2, cache=tmp_path / "elsewhere"))
    assert two.path.name == one.path.name and np.array_equal(one.values, two.values, equal_nan=True)


def test_the_workers_of_a_cluster_measure_the_same_and_go_on(store, cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(table_module, "BLOCK", 8)
    here = store_features(store, FeatureSettings(workers=1))
    settings = FeatureSettings(scheduler=cluster.scheduler_address, cache=tmp_path / "elsewhere")
    measure, ran = table_module.ClusterWorkers.run, []

    def stopping(self, first, then=()):
        for result in measure(self, first, then):
            ran.append(result[0])
            yield result
            if len(ran) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(table_module.ClusterWorkers, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        store_features(store, settings)
    there = store_features(store, settings)
    assert sorted(ran) == [0, 1, 2, 3]
    assert there.path.name == here.path.name and np.array_equal(here.values, there.values, equal_nan=True)


def test_other_settings_or_masks_have_a_table_of_their_own(store, tmp_path):
    settings = FeatureSettings(workers=1)
    plain = store_features(store, settings)
    masks = np.stack([np.stack([disk(20, 20, 3), disk(20, 20, 6)])] * 30)
    np.save(tmp_path / "masks.npy", masks)
    own = store_features(store, settings.model_copy(update={"masks": tmp_path / "masks.npy"}))
    assert own.path != plain.path and own.without_nucleus == 0
    np.save(tmp_path / "few.npy", masks[:3])
    with pytest.raises(GrapeOpsError, match="few.npy are .3, 2.*need .30, 2"):
        store_features(store, settings.model_copy(update={"masks": tmp_path / "few.npy"}))
    with pytest.raises(GrapeOpsError, match="no file of masks"):
        store_features(store, settings.model_copy(update={"masks": tmp_path / "none.npy"}))


def test_a_cache_that_cannot_be_written_is_named(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GrapeOpsError, match="--set features.cache=FOLDER"):
        store_features(store, FeatureSettings(workers=1, cache=tmp_path / "file"))
