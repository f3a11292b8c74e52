import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from grape_ops.cells.batches import StandardizedCrops
from grape_ops.cells.standardize import PixelSums, control_sums, merge_sums
from grape_ops.cells.store import CropStore
from grape_ops.cells.store_record import meta_checksum
from grape_ops.cells.writer import put_crops, shard_names, start_shard, write_store
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CONTROL_LABEL, UNFINISHED_DIR

SHARDS = ("P1_A1", "P1_A2", "P2_A1")
PER_SHARD = 9


def table() -> pd.DataFrame:
    rows = []
    for shard in SHARDS:
        plate, well = shard.split("_")
        for row in range(PER_SHARD):
            gene = "nontargeting" if row < 3 else ("TP53", "ACTB")[row % 2]
            cell = {"gene_symbol": gene, "sgRNA": f"{gene}_{row}", "plate": plate, "well": well, "tile": "1"}
            place = {"batch": f"{plate}|{well}", "shard": shard, "row": row, "score": row / 7}
            rows.append(cell | {"y": 1.0, "x": 2.0, "is_control": row < 3} | place)
    return pd.DataFrame(rows)


def make(path: Path, kind: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(0)
    top = np.iinfo(kind).max
    crops = {name: rng.integers(0, top, (PER_SHARD, 2, 16, 16), endpoint=True, dtype=kind) for name in SHARDS}
    write_store(path, crops, table(), ("DNA", "actin"), quality={"cells_kept": 27}, provenance={"screen": "s"})
    return np.concatenate(list(crops.values()))


@pytest.fixture
def store(tmp_path):
    make(tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("kind", ["uint16", "uint8"])
def test_reads_what_was_written_in_the_order_asked(tmp_path, kind):
    crops = make(tmp_path / "store", kind)
    opened = CropStore.open(tmp_path / "store")
    order = np.random.default_rng(1).integers(0, len(crops), 50)
    assert (opened.read(order) == crops[order]).all() and opened.read(order).dtype == kind
    assert (opened.read([5, 2]) == crops[[5, 2]]).all()
    assert (opened.read(slice(3, 20, 4)) == crops[3:20:4]).all()
    assert opened.read([]).shape == (0, 2, 16, 16)
    with pytest.raises(IndexError):
        opened.read([len(crops)])


def test_knows_its_cells_genes_and_batches(store):
    opened = CropStore.open(store)
    assert len(opened) == 27 and opened.channels == ("DNA", "actin") and opened.crop_size == 16
    assert opened.perturbations == ("ACTB", "TP53", "nontargeting")
    genes = np.array(opened.perturbations)[opened.labels]
    assert (genes == table()["gene_symbol"]).all()
    assert (np.array(opened.batches)[opened.batch_codes] == table()["batch"]).all()
    assert opened.labels.dtype == opened.batch_codes.dtype == np.int64
    assert opened.cells["score"].tolist() == table()["score"].tolist()
    assert opened.meta["provenance"]["screen"] == "s" and "grape-ops" in opened.meta["provenance"]["versions"]


def test_controls_have_mean_zero_and_sd_one_in_every_batch(store):
    opened = CropStore.open(store)
    for code in range(len(opened.batches)):
        rows = np.flatnonzero((opened.batch_codes == code) & opened.cells["is_control"])
        crops = opened.standardized(rows)
        assert crops.dtype == np.float32
        assert np.allclose(crops.mean(axis=(0, 2, 3)), 0, atol=1e-5)
        assert np.allclose(crops.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_standardized_is_the_formula(store):
    opened = CropStore.open(store)
    cells = np.array([20, 1, 13])
    mean, sd = (
        table[opened.batch_codes[cells]][:, :, None, None] for table in (opened.control_mean, opened.control_sd)
    )
    assert np.allclose(opened.standardized(cells), (opened.read(cells) / 65535 - mean) / sd, atol=1e-4)


def test_pickles_as_a_path(store):
    opened = CropStore.open(store)
    parcel = pickle.dumps(opened)
    assert len(parcel) < 1000
    assert (pickle.loads(parcel).read([3, 4]) == opened.read([3, 4])).all()


def test_verify_finds_a_flipped_bit(store):
    CropStore.open(store).verify()
    shard = store / "shards" / "P1_A2.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(GrapeOpsError, match=r"P1_A2\.npy changed"):
        CropStore.open(store).verify()


def test_verify_finds_an_edited_description(store):
    opened = CropStore.open(store)
    _edit_by_hand(store)
    with pytest.raises(GrapeOpsError, match=r"store\.json was changed since it was written"):
        opened.verify()


def _edit(store: Path, **changes: object) -> None:
    meta = json.loads((store / "store.json").read_text()) | changes
    (store / "store.json").write_text(json.dumps(meta | {"checksum": meta_checksum(meta)}))


def _edit_by_hand(store: Path) -> None:
    meta = json.loads((store / "store.json").read_text())
    meta["batches"][0]["mean"][0] += 0.1
    (store / "store.json").write_text(json.dumps(meta))


def _begin_only(store: Path) -> None:
    shutil.rmtree(store)
    (store / UNFINISHED_DIR).mkdir(parents=True)


def _change_a_cell(store: Path) -> None:
    cells = pd.read_parquet(store / "cells.parquet")
    cells.loc[3, "gene_symbol"] = "ACTB"
    cells.to_parquet(store / "cells.parquet")


def _replace(file: Path, old: bytes, new: bytes) -> None:
    file.write_bytes(file.read_bytes().replace(old, new, 1))


DAMAGE = {
    "no such folder": (lambda s: s.rename(s.with_name("gone")), "no crop store at"),
    "half-written": (lambda s: (s / "store.json").unlink(), "half-written crop store .*: go on with --resume"),
    "before the first crop": (_begin_only, "half-written crop store .*: go on with --resume"),
    "cut table of contents": (lambda s: (s / "store.json").write_text('{"format": "gr'), "cannot be read"),
    "foreign json": (lambda s: (s / "store.json").write_text('{"name": "x"}'), "does not belong to a crop store"),
    "newer version": (lambda s: _edit(s, version=99), "format version 99"),
    "missing keys": (
        lambda s: (s / "store.json").write_text('{"format": "grape-ops crop store", "version": 1}'),
        "lacks",
    ),
    "unknown pixels": (lambda s: _edit(s, pixel_type="float16"), "lacks a known pixel_type"),
    "edited by hand": (_edit_by_hand, r"store\.json was changed since it was written"),
    "missing shard": (lambda s: (s / "shards/P2_A1.npy").unlink(), r"P2_A1\.npy is missing"),
    "short shard": (lambda s: (s / "shards/P2_A1.npy").write_bytes(b"\x93NUMPY"), "is 6 bytes long"),
    "broken header": (
        lambda s: (s / "shards/P2_A1.npy").write_bytes(bytes((s / "shards/P2_A1.npy").stat().st_size)),
        r"P2_A1\.npy cannot be read",
    ),
    "broken bracket": (
        lambda s: _replace(s / "shards/P2_A1.npy", b")", b"("),  # numpy fails to take its header apart
        r"P2_A1\.npy cannot be read",
    ),
    "other channels": (lambda s: _edit(s, channels=["one"]), "holds uint16"),
    "missing cells": (lambda s: (s / "cells.parquet").unlink(), r"cells\.parquet is missing"),
    "changed cells": (_change_a_cell, r"cells\.parquet is missing or changed"),
    "other number of cells": (lambda s: _edit(s, n_cells=3), "has not 3 rows"),
    "missing statistics": (lambda s: _edit(s, batches=[]), "27 are of batches without statistics"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_a_clear_error(store, name):
    harm, message = DAMAGE[name]
    harm(store)
    with pytest.raises(GrapeOpsError, match=message):
        CropStore.open(store)


def test_writer_refuses_what_does_not_fit(tmp_path):
    crops = {name: np.zeros((PER_SHARD, 2, 16, 16), dtype=np.uint16) for name in SHARDS}
    bad = {
        "lacks the columns batch": (crops, table().drop(columns="batch"), "ab"),
        "one of": (crops | {"P1_A1": crops["P1_A1"].astype(float)}, table(), "ab"),
        "do not fit 3 names": (crops, table(), "abc"),
        "does not name each once": (crops | {"P1_A1": crops["P1_A1"][:4]}, table(), "ab"),
        "3 batches without control cells": (crops, table().assign(is_control=False), "ab"),
    }
    for number, (message, (some, cells, names)) in enumerate(bad.items()):
        with pytest.raises(GrapeOpsError, match=message):
            write_store(tmp_path / str(number), some, cells, names)
        with pytest.raises(GrapeOpsError):
            CropStore.open(tmp_path / str(number))
    make(tmp_path / "full")
    with pytest.raises(GrapeOpsError, match="not empty"):
        make(tmp_path / "full")


def test_written_twice_is_the_same_bytes(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_unfinished_shard_is_filled_in_any_order(tmp_path):
    crops = np.random.default_rng(0).integers(0, 99, (6, 1, 4, 4), dtype=np.uint16)
    file, offset = start_shard(tmp_path, "s", crops.shape, "uint16")
    for first in (4, 0, 2):
        put_crops(file, offset, first, crops[first : first + 2])
    assert file.name == "s.npy.partial" and (np.load(file) == crops).all()


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_shard_names_are_plain_and_their_own(places):
    names = shard_names(places)
    assert set(names) == set(places)
    assert len({name.lower() for name in names.values()}) == len(names)
    assert all(name and "/" not in name and not name.startswith(".") for name in names.values())


@given(hnp.arrays("uint16", (5, 2, 3, 3)), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_pixel_sums_are_numpys_mean_and_sd_however_split(crops, cut):
    whole = PixelSums.of(crops)
    assert PixelSums.of(crops[:cut]) + PixelSums.of(crops[cut:]) == whole
    mean, sd = whole.mean_and_sd(65535)
    scaled = crops / 65535
    assert np.allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    assert np.allclose(sd, np.maximum(scaled.std(axis=(0, 2, 3)), 1 / 65535), rtol=1e-7)


def test_a_batch_may_lie_in_several_shards():
    crops = np.random.default_rng(0).integers(0, 99, (8, 1, 4, 4), dtype=np.uint8)
    batch, control = np.array(list("aabbaabb")), np.arange(8) % 2 == 0
    parts = [control_sums(crops[i : i + 4], batch[i : i + 4], control[i : i + 4]) for i in (0, 4)]
    assert merge_sums(parts) == control_sums(crops, batch, control)


def test_pixels_come_back_from_network_input(store):
    """Standardising on a device and rounding back gives every stored pixel, and what lies beyond is clipped."""
    opened = CropStore.open(store)
    cells = np.arange(len(opened))
    images = StandardizedCrops(opened, torch.device("cpu"))(cells)
    scale = opened.pixel_scale(torch.device("cpu"))
    pixels, clipped = scale.pixels(images, opened.batch_codes[cells])
    assert clipped == 0
    np.testing.assert_array_equal(pixels.numpy(), opened.read(cells))
    pixels, clipped = scale.pixels(images + 1e6, opened.batch_codes[cells])
    assert clipped == images.numel() and (pixels == opened.pixel_max).all()


def test_controls_have_the_last_label(store):
    opened = CropStore.open(store)
    assert opened.perturbations[opened.control_label] == CONTROL_LABEL == opened.perturbations[-1]
