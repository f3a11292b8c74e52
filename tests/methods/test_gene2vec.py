"""Vectors of genes from files: every format, aliases, coverage."""

import gzip
import io
import os
import struct
import zipfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from grape_ops.config import Config, parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, NOTES, Task
from grape_ops.methods.vector_files import read_vectors

NAMES = ["AAA", "Bbb", "OLDC", "ELSE", "2"]
VECTORS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
DATA = Path(os.environ.get("GRAPE_OPS_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def written(folder: Path, kind: str) -> Path:
    file = folder / kind
    lines = [f"{name} " + " ".join(map(repr, map(float, row))) for name, row in zip(NAMES, VECTORS, strict=True)]
    frame = pd.DataFrame(VECTORS, index=NAMES)
    match kind:
        case "word2vec.txt":
            file.write_text("\n".join([f"{len(NAMES)} 4", *lines]) + "\n")
        case "headless.txt":
            file.write_text("\n".join(line + " " for line in lines))
        case "word2vec.txt.gz":
            file.write_bytes(gzip.compress("\n".join([f"{len(NAMES)} 4", *lines]).encode()))
        case "word2vec.bin" | "newlines.bin":
            end = b"\n" if kind.startswith("new") else b""
            rows = [n.encode() + b" " + struct.pack("<4f", *row) + end for n, row in zip(NAMES, VECTORS, strict=True)]
            file.write_bytes(b"5 4\n" + b"".join(rows))
        case "pandas.csv":
            frame.to_csv(file)
        case "named.tsv":
            frame.rename_axis("gene").add_prefix("v").to_csv(file, sep="\t")
        case "bare.csv":
            frame.to_csv(file, header=False)
        case "arrays.npz":
            np.savez(file, genes=np.array(NAMES), vectors=VECTORS)
        case "map.h5ad":
            anndata.AnnData(VECTORS, obs=pd.DataFrame(index=NAMES)).write_h5ad(file)
    return file


KINDS = [
    "word2vec.txt",
    "headless.txt",
    "word2vec.txt.gz",
    "word2vec.bin",
    "newlines.bin",
    "pandas.csv",
    "named.tsv",
    "bare.csv",
    "arrays.npz",
    "map.h5ad",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_vectors(tmp_path, kind):
    names, vectors = read_vectors(written(tmp_path, kind))
    assert names == NAMES and np.allclose(vectors, VECTORS, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"2 3\na 1 2 3\nb 1 2", "vector 2 .b. has not 3 numbers"),
        (b"3 2\na 1 2\nb 1 2", "announces 3 vectors of 2 numbers, but has 2: was it cut off"),
        (b"a,1,2\nb,1,x\n", "vector 2 .b. has not 2 numbers"),
        (b"2 4\nAAA " + struct.pack("<4f", *VECTORS[0]) + b"B ", "announces 2 vectors of 4 numbers, but ends after 1"),
        (b"9999999999 300\nAAA \x00\x00\x00\x00", "announces 9999999999 vectors of 300 numbers, but ends after 0"),
        (b"2 1\nAAA 0.5\nB\xff 0.25\n", "is not word2vec's binary format, or damaged"),
        (b"-3 4\nAAA \x00\x00\x00\x00", "announces -3 vectors"),
        (b"a 1 nan\nb 2 3", "not finite"),
        (b"", "holds no vectors"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, words):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(GrapeOpsError, match=words):
        read_vectors(tmp_path / "v")


@pytest.mark.parametrize(("kind", "words"), [("arrays.npz", "as .npz"), ("word2vec.txt.gz", "txt.gz cannot be read")])
def test_a_file_cut_off_while_copying_is_named(tmp_path, kind, words):
    file = written(tmp_path, kind)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(GrapeOpsError, match=words):
        read_vectors(file)


def test_an_array_that_announces_more_than_it_holds_is_refused_before_memory_is_asked_for(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)})
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as packed:
        packed.writestr("vectors.npy", header.getvalue())
    with pytest.raises(GrapeOpsError, match=r"'vectors' of .*v.npz declares 8,000.0 TB and holds 128 bytes"):
        read_vectors(tmp_path / "v.npz")


CUT = [(kind, True) for kind in ("word2vec.bin", "arrays.npz", "map.h5ad", "word2vec.txt.gz")]
WHOLE = [(kind, False) for kind in ("word2vec.bin", "arrays.npz", "word2vec.txt.gz", "pandas.csv")]


@pytest.mark.parametrize(("kind", "cut"), CUT + WHOLE)
def test_damage_anywhere_is_told_by_the_files_name_or_does_no_harm(tmp_path, kind, cut):
    whole = written(tmp_path, kind).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)] if cut else whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        (tmp_path / kind).write_bytes(data)
        message = ""
        try:
            names, vectors = read_vectors(tmp_path / kind)
        except GrapeOpsError as error:
            message = str(error)
        if message:
            assert kind in message
        else:
            assert len(names) == len(NAMES) and vectors.shape == VECTORS.shape
            if kind in ("arrays.npz", "word2vec.txt.gz"):
                assert names == NAMES and np.allclose(vectors, VECTORS, atol=1e-6)


@pytest.mark.parametrize("where", ["uns/note", "obs/extra"])
def test_maps_of_a_newer_anndata_are_told_by_name(tmp_path, where):
    map_ = anndata.AnnData(VECTORS, obs=pd.DataFrame({"extra": range(5)}, index=NAMES), uns={"note": "hello"})
    map_.write_h5ad(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "r+") as file:
        file[where].attrs["encoding-type"] = "something-newer"
    with pytest.raises(GrapeOpsError, match=r"m.h5ad was written by a newer anndata than the installed"):
        read_vectors(tmp_path / "m.h5ad")


def test_no_format_brings_in_numbers_that_are_none(tmp_path):
    np.savez(tmp_path / "v.npz", genes=np.array(NAMES), vectors=np.full_like(VECTORS, np.nan))
    with pytest.raises(GrapeOpsError, match="not finite"):
        read_vectors(tmp_path / "v.npz")


def test_arrays_that_do_not_belong_together_are_listed(tmp_path):
    np.savez(tmp_path / "v.npz", genes=np.array(NAMES[:3]), vectors=VECTORS)
    with pytest.raises(GrapeOpsError, match=r"it has genes .*\(3,\), vectors float32 \(5, 4\)"):
        read_vectors(tmp_path / "v.npz")
    with pytest.raises(GrapeOpsError, match="no file of gene vectors"):
        read_vectors(tmp_path / "none.txt")


def task(store, tmp_path, **settings) -> Task:
    return Task(store, parse_config({"baselines": {"gene2vec": settings}}, "test"), 0, tmp_path)


def test_genes_are_matched_by_symbol_alias_and_case_and_coverage_is_told(tiny_store, tmp_path):
    file = written(tmp_path, "pandas.csv")
    found = METHODS["gene2vec"].run(task(tiny_store, tmp_path, vectors=str(file)))
    assert found.obs_names.tolist() == ["AAA", "BBB"] and np.allclose(found.X, VECTORS[:2], atol=1e-6)
    assert found.uns[NOTES] == ["vectors of 2 of 4 screened genes; without: CCC, DDD"]
    (tmp_path / "aliases.tsv").write_text("alias\tsymbol\nOLDC\tCCC\n")
    aliased = task(tiny_store, tmp_path, vectors=str(file), aliases=str(tmp_path / "aliases.tsv"))
    assert METHODS["gene2vec"].run(aliased).obs_names.tolist() == ["AAA", "BBB", "CCC"]


def test_a_file_of_other_genes_and_no_file_are_errors(tiny_store, tmp_path):
    (tmp_path / "v.txt").write_text("X 1 2\nY 3 4\n")
    with pytest.raises(GrapeOpsError, match="vectors of 0 of the 4 screened genes.*aliases=FILE"):
        METHODS["gene2vec"].run(task(tiny_store, tmp_path, vectors=str(tmp_path / "v.txt")))
    with pytest.raises(GrapeOpsError, match="gene2vec.vectors=FILE"):
        METHODS["gene2vec"].run(Task(tiny_store, Config(), 0, tmp_path))


def test_the_real_file_is_read():
    file = DATA / "gene2vec/rxrx1_gene2vec_1071x200.csv.gz"
    if not file.is_file():
        pytest.skip("no ../shared/data")
    names, vectors = read_vectors(file)
    assert vectors.shape == (1071, 200) and names[:2] == ["A4GALT", "A4GNT"] and np.isclose(vectors[0, 0], 0.13559963)
