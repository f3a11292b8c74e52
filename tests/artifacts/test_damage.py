"""Damaged files become words in one place, before memory is asked for."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from grape_ops.artifacts.damage import damage_in_words, read_json
from grape_ops.artifacts.declared_size import check_npz, load_npy
from grape_ops.artifacts.hdf5 import check_hdf5
from grape_ops.errors import GrapeOpsError


def _announcing(shape: str) -> bytes:
    head = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64)


@pytest.mark.parametrize("shape", [f"({1 << 45}, 4)", "(-1,)", "(1000,)", "(((("])
def test_an_array_that_declares_more_than_its_file_holds_is_refused(tmp_path: Path, shape: str) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(_announcing(shape))
    with pytest.raises(GrapeOpsError, match=r"a.npy (cannot be read|declares)"), damage_in_words(file):
        load_npy(file, str(file))


def test_numpy_may_write_one_array_behind_another_and_the_first_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, np.arange(12).reshape(3, 4))
        np.save(file, np.zeros(5))
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy", "a"), np.arange(12).reshape(3, 4))


def test_an_npz_that_unpacks_to_more_than_it_holds_or_than_is_allowed_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(100_000))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as packed:
        packed.writestr("notes.txt", "no array, which numpy leaves alone")
    check_npz(tmp_path / "a.npz")
    with pytest.raises(GrapeOpsError, match=r"a.npz unpacks to more than 1,000 bytes"):
        check_npz(tmp_path / "a.npz", most=1000)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as packed:
        packed.writestr("b.npy", _announcing(f"({1 << 45},)"))
        packed.writestr("c.npy", _announcing("(32,)"))
    with pytest.raises(GrapeOpsError, match=r"The array 'b' of .*b.npz declares 70.4 TB"):
        check_npz(tmp_path / "b.npz")
    check_npz(tmp_path / "b.npz", ["c"])


def test_hdf5_that_announces_more_than_it_holds_or_would_never_be_read_to_its_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.h5"
    with h5py.File(file, "w") as content:
        content["texts"] = ["one", "two"]
        content.create_dataset("zeros", data=np.zeros(1 << 20), compression="gzip")
    check_hdf5(file)
    data = file.read_bytes()
    place = data.index(b"GCOL")
    file.write_bytes(data[: place + 16] + bytes(64) + data[place + 80 :])
    with pytest.raises(ValueError, match="heap of texts"):
        check_hdf5(file)
    with h5py.File(file, "w") as content:
        content.create_dataset("x", shape=(1 << 45,), chunks=(1024,), dtype="f4")
    with pytest.raises(ValueError, match="x announces an array"):
        check_hdf5(file)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"a": 1', '{"a": null}', '{"a": "1"}', "[" * 100_000, "9" * 5000])
def test_json_of_another_shape_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(GrapeOpsError, match=r"record.json cannot be read as a record: "):
        read_json(file, "a record", {"a": int})
    file.write_text(json.dumps({"a": 1}))
    assert read_json(file, "a record", {"a": int}) == {"a": 1}


def test_hdf5_with_a_truth_value_that_is_neither_true_nor_false_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.h5"
    with h5py.File(file, "w") as content:
        place = content.create_dataset("is_control", data=[True, False]).id.get_offset()
        content["scalar"], content["none"] = True, np.zeros(0, bool)
    check_hdf5(file)
    data = bytearray(file.read_bytes())
    assert data[place : place + 2] == b"\x01\x00"
    data[place + 1] = 6
    file.write_bytes(data)
    with pytest.raises(ValueError, match="is_control holds a value that is neither true nor false"):
        check_hdf5(file)
