"""Inputs that are whole by their format's own rules, and not what a reader expects: sizes that nothing has, columns of
lists, objects in place of numbers, a small file that unpacks to gigabytes.

Each takes the folder of a reader's valid input and changes one file; whatever is then read must be what was meant, or
be refused.
"""

import gzip
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HUGE = 1 << 45
Craft = Callable[[Path], None]


def _npy(shape: str, dtype: str = "'<u2'", version: bytes = b"\x01\x00") -> bytes:
    head = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(head) + 1)
    return b"\x93NUMPY" + version + length + head + b"\n" + bytes(64)


NPY = {
    "size that nothing has": _npy(f"({HUGE}, 2, 16, 16)"),
    "negative size": _npy("(-24, 2, 16, 16)"),
    "size of 5,000 digits": _npy(f"({'9' * 5000},)", version=b"\x02\x00"),
    "Python objects": _npy("(24, 2, 16, 16)", "'|O'"),
    "header that nests": _npy("(" * 5000, version=b"\x02\x00"),
    "header that is no dict": b"\x93NUMPY\x01\x00\x05\x00[1,2]",
    "version that nobody knows": _npy("(24,)", version=b"\x09\x00"),
    "records": _npy("(24,)", "[('a', '<u2'), ('a', '<u2')]"),
}


def _column(file: str, change: Callable[[pa.Table], pa.Table]) -> Craft:
    def craft(folder: Path) -> None:
        pq.write_table(change(pq.read_table(folder / file)), folder / file)

    return craft


def _as(name: str, values: Callable[[pa.Table], pa.Array]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values(table))


def _table_crafts(file: str, number: str, text: str) -> dict[str, Craft]:
    """Columns of a parquet table that are of another type."""
    kinds: dict[str, Callable[[pa.Table], pa.Table]] = {
        "lists": _as(number, lambda t: pa.array([[1.0, 2.0]] * len(t))),
        "lists of text": _as(text, lambda t: pa.array([["A"]] * len(t))),
        "float16": _as(number, lambda t: pa.array(t[number].to_numpy().astype(np.float16))),
        "decimals": _as(number, lambda t: t[number].cast(pa.decimal128(38, 20))),
        "times": _as(number, lambda t: pa.array([0] * len(t), pa.timestamp("ns"))),
        "structs": _as(text, lambda t: pa.array([{"a": 1}] * len(t))),
        "maps": _as(text, lambda t: pa.array([[("a", 1)]] * len(t), pa.map_(pa.string(), pa.int64()))),
        "bytes": _as(text, lambda t: pa.array([b"\xff\xfe"] * len(t))),
        "nothing": _as(text, lambda t: pa.nulls(len(t))),
        "a column twice": lambda t: t.append_column(number, t[number]),
        "text twice": lambda t: t.append_column(text, t[text]),
        "no rows": lambda t: t.slice(0, 0),
        "packed names": _as(text, lambda t: t[text].dictionary_encode()),
    }
    return {f"parquet: {name}": _column(file, change) for name, change in kinds.items()}


def _bytes(file: str, data: bytes) -> Craft:
    def craft(folder: Path) -> None:
        (folder / file).write_bytes(data)

    return craft


def _bomb(file: str) -> Craft:
    """Two gigabytes of zeros, packed."""
    return lambda folder: _write_bomb(folder / file)


def _write_bomb(file: Path) -> None:
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for _ in range(40):
            packed.write(b"A\tB\n" * (1 << 21))


def _npz(file: str, member: str, data: bytes) -> Craft:
    def craft(folder: Path) -> None:
        with np.load(folder / file) as there:
            kept = {name: there[name] for name in there.files if name != member}
        np.savez(folder / file, **kept)
        with zipfile.ZipFile(folder / file, "a", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(f"{member}.npy", data)

    return craft


def _hdf5(file: str, change: Callable[[h5py.File], None]) -> Craft:
    def craft(folder: Path) -> None:
        with h5py.File(folder / file, "a") as content:
            change(content)

    return craft


def _replaced(name: str, *, keep: bool = True, **dataset: object) -> Callable[[h5py.File], None]:
    def change(content: h5py.File) -> None:
        notes = dict(content[name].attrs) if keep else {}
        del content[name]
        content.create_dataset(name, **dataset).attrs.update(notes)

    return change


def _linked(name: str, link: object) -> Callable[[h5py.File], None]:
    def change(content: h5py.File) -> None:
        del content[name]
        content[name] = link

    return change


def _h5ad_crafts(file: str, name: str) -> dict[str, Craft]:
    """Parts of an AnnData that are not what they were."""

    def newer(content: h5py.File) -> None:
        content[name].attrs["encoding-version"] = "9.0.0"

    def unknown(content: h5py.File) -> None:
        content[name].attrs["encoding-type"] = "awkward-cube"

    def a_loop(content: h5py.File) -> None:
        content["uns/loop"] = content["/"]

    return {
        "HDF5: newer encoding": _hdf5(file, newer),
        "HDF5: unknown encoding": _hdf5(file, unknown),
        "HDF5: size that nothing has": _hdf5(file, _replaced(name, shape=(HUGE, 4), chunks=(1, 4), dtype="f4")),
        "HDF5: one number": _hdf5(file, _replaced(name, data=1.0)),
        "HDF5: text": _hdf5(file, _replaced(name, data="x")),
        "HDF5: loop of links": _hdf5(file, _linked(name, h5py.SoftLink(f"/{name}"))),
        "HDF5: another file": _hdf5(file, _linked(name, h5py.ExternalLink("elsewhere.h5", "/X"))),
        "HDF5: missing": _hdf5(file, lambda content: content.__delitem__(name)),
        "HDF5: a loop of groups": _hdf5(file, a_loop),
    }


def _zarr_crafts(version: int) -> dict[str, Craft]:
    array = "screen/phenotyping.zarr/A/1/0/0/" + ("zarr.json" if version == 3 else ".zarray")

    def changed(**keys: object) -> Craft:
        def craft(folder: Path) -> None:
            notes = json.loads((folder / array).read_text())
            (folder / array).write_text(json.dumps(notes | keys))

        return craft

    def grid(*shape: int) -> dict[str, object]:
        regular = {"name": "regular", "configuration": {"chunk_shape": shape}}
        return {"chunk_grid": regular} if version == 3 else {"chunks": shape}

    codec = {"codecs": [{"name": "nope"}]} if version == 3 else {"compressor": {"id": "nope"}}
    kind = "data_type" if version == 3 else "dtype"
    return {
        "zarr: size that nothing has": changed(shape=[1, 2, 1, HUGE, HUGE]),
        "zarr: negative size": changed(shape=[1, 2, 1, -48, 64]),
        "zarr: fewer axes": changed(shape=[48, 64]),
        "zarr: chunks of nothing": changed(**grid(0, 0, 0, 0, 0)),
        "zarr: chunks that nothing holds": changed(**grid(1, 1, 1, HUGE, HUGE)),
        "zarr: another type": changed(**{kind: "float64" if version == 3 else "<f8"}),
        "zarr: unknown type": changed(**{kind: "quaternion"}),
        "zarr: unknown codec": changed(**codec),
        "zarr: another format": changed(zarr_format=9),
    }  # fmt: skip


def _tag(file: str, code: int, value: int) -> Craft:
    """Change the value of a tag of a TIFF's first page."""

    def craft(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, place)[0] == code:
                struct.pack_into("<HII", data, place + 2, 4, 1, value)
        (folder / file).write_bytes(data)

    return craft


def _loop(folder: Path) -> None:
    """Let a TIFF's page point to itself as the next one."""
    data = bytearray((folder / "P1_A1_1.tif").read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    (folder / "P1_A1_1.tif").write_bytes(data)


TIFF: dict[str, Craft] = {
    "TIFF: width that nothing has": _tag("P1_A1_1.tif", 256, 0xFFFFFFF0),
    "TIFF: height that nothing has": _tag("P1_A1_1.tif", 257, 0xFFFFFFF0),
    "TIFF: width of nothing": _tag("P1_A1_1.tif", 256, 0),
    "TIFF: half the width": _tag("P1_A1_1.tif", 256, 32),
    "TIFF: unknown compression": _tag("P1_A1_1.tif", 259, 60000),
    "TIFF: samples that nothing has": _tag("P1_A1_1.tif", 277, 60000),
    "TIFF: loop of pages": _loop,
}


def _lmdb_size(folder: Path) -> None:
    data = (folder / "crops.lmdb").read_bytes()
    (folder / "crops.lmdb").write_bytes(data[: len(data) // 2 // 4096 * 4096])


def _safetensors(head: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(head) if length is None else length) + head


def _nets(folder: Path, data: bytes) -> None:
    """Put other weights into the last checkpoint, with a record that says they are whole."""
    import hashlib

    last = sorted((folder / "run/checkpoints").iterdir())[-1]
    record = json.loads((last / "state.json").read_text())
    for name in ("nets.safetensors", "average.safetensors"):
        (last / name).write_bytes(data)
        record["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (last / "state.json").write_text(json.dumps(record))


_F32 = {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}
RUN: dict[str, Craft] = {
    "checkpoint: header that nothing holds": lambda f: _nets(f, _safetensors(b"{}", HUGE)),
    "checkpoint: no networks": lambda f: _nets(f, _safetensors(b"{}")),
    "checkpoint: tensor that nothing holds": lambda f: _nets(f, _safetensors(json.dumps({"x": _F32}).encode())),
    "checkpoint: header that nests": lambda f: _nets(f, _safetensors(b"[" * 9000)),
    "checkpoint: empty": lambda f: _nets(f, b""),
}

_BILLION_LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
_ODD_TEXTS = {
    "YAML: laughs": _BILLION_LAUGHS,
    "YAML: deep": "x: " + "[" * 50_000,
    "YAML: digits": f"seed: {'9' * 5000}",
    "YAML: a date that is none": "seed: 2020-99-99",
    "YAML: a loop": "train: &t {steps: *t}",
    "YAML: a Python object": "seed: !!python/object/apply:os.getcwd []",
    "YAML: a list as key": "? [a, b]\n: 1\n",
    "YAML: several documents": "seed: 1\n---\nseed: 2\n",
    "YAML: numbers as keys": "1: 2\n",
    "YAML: control characters": "seed: \x07\n",
}
_STAMPS = (
    "null", "[]", "{}", '{"identity": null, "finished": null}', '{"identity": 1}', "[" * 50_000, "9" * 5000, "NaN",
)  # fmt: skip
CRAFTED: dict[str, dict[str, Craft]] = {
    "cells parquet": _table_crafts("cells.parquet", "y", "well") | _table_crafts("cells.parquet", "x", "gene_symbol"),
    "features parquet": _table_crafts("features.parquet", "feature_2", "gene_symbol"),
    "cells csv.gz": {"gz: bomb": _bomb("cells.csv.gz")},
    "truth gz": {"gz: bomb": _bomb("truth.tsv.gz")},
    "cells h5ad": _h5ad_crafts("cells.h5ad", "obs") | _h5ad_crafts("cells.h5ad", "obs/y"),
    "map h5ad": _h5ad_crafts("genes.h5ad", "X") | _h5ad_crafts("genes.h5ad", "obs"),
    "crops h5sc": _h5ad_crafts("crops.h5sc", "obsm/single_cell_images"),
    "crops npy": {f"npy: {name}": _bytes("crops.npy", data) for name, data in NPY.items()},
    "crops npz": {f"npz: {name}": _npz("crops.npz", "crops", data) for name, data in NPY.items()},
    "vectors npz": {f"npz: {name}": _npz("v.npz", "vectors", data) for name, data in NPY.items()},
    "zarr v3": _zarr_crafts(3),
    "zarr v2": _zarr_crafts(2),
    "TIFF": TIFF,
    "TIFF, tiled and packed": TIFF,
    "OME-TIFF": TIFF,
    "crops LMDB": {"LMDB: half of its pages": _lmdb_size},
    "run and checkpoint": RUN,
    "config YAML": {name: _bytes("config.yaml", text.encode()) for name, text in _ODD_TEXTS.items()},
    "pipeline YAML": {name: _bytes("pipeline.yaml", text.encode()) for name, text in _ODD_TEXTS.items()},
    "screen.yaml": {name: _bytes("screen.yaml", text.encode()) for name, text in _ODD_TEXTS.items()},
    "stamp JSON": {
        f"JSON: {text[:20]}": _bytes(".grape-ops/step.json", text.encode())
        for text in _STAMPS
    },
}  # fmt: skip
