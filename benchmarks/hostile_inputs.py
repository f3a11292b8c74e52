"""What the package reads: for each reader a small valid input, and how it is read.

``build`` fills a folder and returns the files that may be damaged; ``read`` gives plain values (arrays, tables, dicts)
whose shape and content can be compared.
"""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import lmdb
import numpy as np
import pandas as pd
import tifffile
import yaml
import zarr

from grape_ops.artifacts.steps import Step, do
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import ScreenSettings, load_config
from grape_ops.embed import write_embedding
from grape_ops.evaluate.evaluate_files import evaluate_files, read_map
from grape_ops.evaluate.maps import gene_map
from grape_ops.evaluate.scores import read_scores, score_table
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.groundtruth.truth import load_pairs, load_truth
from grape_ops.methods.method import Task
from grape_ops.methods.profiles import profile_vectors
from grape_ops.methods.vector_files import read_vectors
from grape_ops.pipeline import read_pipeline
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, TILE, WELL, X, Y
from grape_ops.screen.layouts import open_screen
from grape_ops.train.checkpoint import checkpoints
from grape_ops.train.loop import train
from grape_ops.train.run import open_run

Files = Sequence[str]
GENES, CHANNELS, SIZE = ("AAAS", "BUB3", "CDC20", "DDX5"), ("DNA", "actin"), 32
TINY = (
    f"preprocess.crop_size={SIZE}",
    "preprocess.workers=1",
    "model.embedding_dim=8",
    "model.style_dim=4",
    "model.mapping_width=8",
    "model.generator={width: 4, max_width: 8, down_blocks: 2, middle_blocks: 1}",
    "model.discriminator={width: 4, max_width: 8, blocks: 3}",
    "model.style_encoder={width: 4, max_width: 8, blocks: 3}",
    "train.batch_size=8",
    "train.steps=6",
    "train.checkpoint_every=2",
    "train.log_every=1",
    "train.ema={every: 2, decay: 0.5}",
    "train.threads=1",
)


@dataclass(frozen=True)
class Reader:
    """One way in which the package reads files.

    Attributes
    ----------
    build : fills a folder; returns the files in it that may be damaged.
    read : reads the folder: plain values, in which content that was left out with a word counts as told.
    whole : whether checksums cover all, so that no other value may pass unnoticed.
    """

    build: Callable[[Path], Files]
    read: Callable[[Path], Any]
    whole: bool = False


def cells_table() -> pd.DataFrame:
    """Twenty-four cells of four genes and controls, on two tiles."""
    genes = [*GENES, CONTROL_LABEL, CONTROL_LABEL] * 4
    return pd.DataFrame(
        {
            GENE: genes,
            GUIDE: [f"{'ACGT'[i % 4] * 8}{'ACGT'[i // 6] * 4}" for i in range(24)],
            PLATE: "P1",
            WELL: ["A1" if i < 12 else "A2" for i in range(24)],
            TILE: "1",
            Y: [20.5 + i % 12 for i in range(24)],
            X: [30.25 - i % 12 for i in range(24)],
        }
    )


def pixels(*shape: int) -> np.ndarray:
    """Counts of a camera."""
    return np.random.default_rng(0).integers(300, 9000, shape).astype(np.uint16)


# Screens -------------------------------------------------------------------------------------------------------------


def _screen(table: str, write: Callable[[pd.DataFrame, Path], None]) -> Reader:
    """Read a cell table beside tiles."""

    def build(folder: Path) -> Files:
        write(cells_table(), folder / table)
        _tiles(folder)
        return [table]

    return Reader(build, lambda folder: _opened(folder, tiles=False))


def _tiles(folder: Path, **options: Any) -> None:
    cells = next((path.name for path in folder.glob("cells.*")), "cells.csv")
    if not (folder / cells).exists():
        cells_table().to_csv(folder / cells, index=False)
    description = {"cells": cells, "tiles": "{plate}_{well}_{tile}.tif", "channels": list(CHANNELS)}
    (folder / "screen.yaml").write_text(yaml.safe_dump(description))
    for well in ("A1", "A2"):
        tifffile.imwrite(folder / f"P1_{well}_1.tif", pixels(2, 48, 64), photometric="minisblack", **options)


def _opened(folder: Path, *, tiles: bool = True) -> Any:
    screen = open_screen(folder, ScreenSettings(layout="table"))
    found: dict[str, Any] = {"cells": screen.cells, "told": [vars(tally) for tally in screen.quality]}
    if tiles:
        found["pixels"] = [screen.read_tile(tile) for _, tile in screen.tiles.iterrows()]
        found["size"] = screen.pixel_size
    return found


def _tiff(**options: Any) -> Reader:
    def build(folder: Path) -> Files:
        _tiles(folder, **options)
        return ["P1_A1_1.tif"]

    return Reader(build, _opened)


def _zarr(version: int, **options: Any) -> Reader:
    """Read tiles of a submission of the OPS standard, with images of either zarr format."""

    def build(folder: Path) -> Files:
        home = folder / "screen"
        (home / "metadata").mkdir(parents=True)
        cells = cells_table()
        table = cells[[PLATE, Y, X]].assign(barcode=cells[GUIDE], perturbation_id=cells[GUIDE], tile=0, well_row="A")
        table.assign(well_col=cells[WELL].str[1:].astype(int)).to_parquet(home / "cell_data.parquet")
        library = cells[[GENE]].assign(barcode=cells[GUIDE], perturbation_id=cells[GUIDE], gene_id="ENSG00000133703")
        library.drop_duplicates().to_csv(home / "metadata" / "perturbation_library.csv", index=False)
        for column in ("1", "2"):
            image = home / "phenotyping.zarr" / "A" / column / "0"
            group = zarr.open_group(image, mode="w", zarr_format=version)
            scales = [{"datasets": [{"path": "0"}], "axes": [{"name": axis} for axis in "tczyx"]}]
            omero = {"channels": [{"label": name} for name in CHANNELS]}
            notes = {"multiscales": scales, "omero": omero}
            group.attrs.update({"ome": notes} if version == 3 else notes)
            group.create_array("0", data=pixels(1, 2, 1, 48, 64), chunks=(1, 1, 1, 48, 32), **options)
        zarr.open_group(home / "phenotyping.zarr", mode="a", zarr_format=version).attrs["plate"] = {}
        return _files_in(folder, home / "phenotyping.zarr/A/1")

    def read(folder: Path) -> Any:
        screen = open_screen(folder / "screen", ScreenSettings(layout="ops-standard"))
        found = [screen.read_tile(tile) for _, tile in screen.tiles.iterrows()]
        return {"cells": len(screen.cells), "channels": screen.channels, "pixels": found, "size": screen.pixel_size}

    return Reader(build, read)


def _files_in(folder: Path, part: Path) -> Files:
    return [str(path.relative_to(folder)) for path in sorted(part.rglob("*")) if path.is_file()]


def _crops(name: str, write: Callable[[np.ndarray, Path], None], *, table: bool = True, **keys: Any) -> Reader:
    """Read crops that other software has cut."""

    def build(folder: Path) -> Files:
        write(pixels(24, 2, 16, 16), folder / name)
        description = {"crops": name, "channels": list(CHANNELS), **keys}
        if table:
            cells_table().to_csv(folder / "cells.csv", index=False)
            description["cells"] = "cells.csv"
        (folder / "screen.yaml").write_text(yaml.safe_dump(description))
        return _files_in(folder, folder / name) or [name]

    def read(folder: Path) -> Any:
        screen = open_screen(folder, ScreenSettings(layout="table"))
        assert screen.read_crops is not None
        told = [vars(tally) for tally in screen.quality]
        return {"cells": screen.cells, "pixels": screen.read_crops(screen.cells), "told": told}

    return Reader(build, read)


def _write_npz(crops: np.ndarray, file: Path) -> None:
    labels = cells_table()
    np.savez_compressed(file, crops=crops, **{name: labels[name].to_numpy(str) for name in (GENE, GUIDE, PLATE, WELL)})


def _write_lmdb(crops: np.ndarray, file: Path) -> None:
    with lmdb.open(str(file), subdir=False, map_size=1 << 20, lock=False) as store, store.begin(write=True) as writer:
        for index, (crop, row) in enumerate(zip(crops, cells_table().itertuples(), strict=True)):
            key = f"{row.gene_symbol};{row.sgRNA};{row.plate};{row.well};{row.tile};{index}"
            writer.put(key.encode(), crop.astype(np.float32).tobytes())


def _write_h5sc(crops: np.ndarray, file: Path) -> None:
    cells = anndata.AnnData(obs=cells_table().set_axis([str(i) for i in range(24)]))
    cells.write_h5ad(file)
    with h5py.File(file, "a") as content:
        content["obsm/single_cell_images"] = crops
        names = {"channel_names": list(CHANNELS), "channel_mapping": ["image_channel", "image_channel"]}
        anndata.io.write_elem(content, "uns/single_cell_images", names)


def _write_npy_each(crops: np.ndarray, folder: Path) -> None:
    folder.mkdir()
    for row, crop in zip(cells_table().itertuples(), crops, strict=True):
        np.save(folder / f"{row.sgRNA}_{row.well}_{row.y}.npy", crop)


def _write_zarr(crops: np.ndarray, file: Path) -> None:
    zarr.create_array(file, data=crops, chunks=(8, 2, 16, 16))


SCREENS = {
    "cells csv": _screen("cells.csv", lambda table, file: table.to_csv(file, index=False)),
    "cells tsv": _screen("cells.tsv", lambda table, file: table.to_csv(file, index=False, sep="\t")),
    "cells csv.gz": _screen("cells.csv.gz", lambda table, file: table.to_csv(file, index=False)),
    "cells parquet": _screen("cells.parquet", lambda table, file: table.to_parquet(file)),
    "cells h5ad": _screen(
        "cells.h5ad", lambda table, file: anndata.AnnData(obs=table.set_axis(map(str, table.index))).write_h5ad(file)
    ),
    "TIFF": _tiff(resolution=(20000, 20000), resolutionunit="CENTIMETER"),
    "TIFF, tiled and packed": _tiff(tile=(16, 16), compression="zlib"),
    "OME-TIFF": _tiff(ome=True, metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}),
    "zarr v3": _zarr(3),
    "zarr v2": _zarr(2, chunk_key_encoding={"name": "v2", "separator": "/"}),
    "zarr, not packed": _zarr(3, compressors=None),
    "crops npy": _crops("crops.npy", lambda crops, file: np.save(file, crops)),
    "crops npz": _crops("crops.npz", _write_npz, table=False),
    "crops h5sc": _crops("crops.h5sc", _write_h5sc, table=False),
    "crops zarr": _crops("crops.zarr", _write_zarr),
    "crops LMDB": _crops("crops.lmdb", _write_lmdb, table=False),
}


# Gene vectors, known complexes, scores -------------------------------------------------------------------------------


def _file(name: str, write: Callable[[Path], None], read: Callable[[Path], Any], *, whole: bool = False) -> Reader:
    def build(folder: Path) -> Files:
        write(folder / name)
        return [name]

    return Reader(build, lambda folder: read(folder / name), whole)


def _text(name: str, text: str, read: Callable[[Path], Any]) -> Reader:
    return _file(name, lambda file: file.write_text(text), read)


def _map(file: Path) -> None:
    adata = anndata.AnnData(np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32))
    adata.obs_names = [f"GENE{i}" for i in range(12)]
    adata.obs["is_control"] = [False] * 11 + [True]
    adata.uns["method"] = "grape"
    adata.write_h5ad(file)


def _read_map(file: Path) -> Any:
    found = gene_map(read_map(file), str(file))
    return {"genes": list(found.genes), "vectors": found.vectors}


COMPLEXES = {f"complex {i}": [f"GENE{3 * i + j}" for j in range(3)] for i in range(4)}
_ROWS = [(name, gene) for name, genes in COMPLEXES.items() for gene in genes]
_TABLE = "gene_symbol\tcomplex\n" + "".join(f"{gene}\t{name}\n" for name, gene in _ROWS)
_CORUM = "complex_id\tcomplex_name\torganism\tsubunits_gene_name\n" + "".join(
    f"{i}\t{name}\tHuman\t{';'.join(genes)}\n" for i, (name, genes) in enumerate(COMPLEXES.items())
)
_COMPLEXTAB = (
    "#Complex ac\tRecommended name\tTaxonomy identifier\tIdentifiers (and stoichiometry) of molecules in complex\n"
    + "".join(f"CPX-{i}\t{name}\t9606\tP0000{i}(1)|Q1111{i}(2)\n" for i, name in enumerate(COMPLEXES))
)


def _truth(file: Path) -> Any:
    return [(name, gene) for name, genes in load_truth(file).complexes.items() for gene in genes]


def _vectors(file: Path) -> Any:
    names, vectors = read_vectors(file)
    return {"genes": names, "vectors": vectors}


_NUMBERS = np.random.default_rng(2).normal(size=(12, 5)).astype(np.float32)
_LINES = [f"GENE{i} {' '.join(map(str, row))}" for i, row in enumerate(_NUMBERS.tolist())]


def _word2vec(file: Path) -> None:
    rows = (f"GENE{i} ".encode() + row.tobytes() + b"\n" for i, row in enumerate(_NUMBERS))
    file.write_bytes(b"12 5\n" + b"".join(rows))


def _scores(folder: Path) -> Files:
    _map(folder / "map.h5ad")
    (folder / "truth.tsv").write_text(_TABLE)
    settings = load_config(overrides=["evaluate={bootstrap: 20, permutations: 20}"]).evaluate
    evaluate_files([folder / "map.h5ad"], str(folder / "truth.tsv"), folder / "scores", settings, seed=0)
    return ["scores/scores.json"]


RESULTS = {
    "map h5ad": _file("genes.h5ad", _map, _read_map),
    "truth table": _text("truth.tsv", _TABLE, _truth),
    "truth csv": _text("truth.csv", _TABLE.replace("\t", ","), _truth),
    "truth CORUM": _text("truth.txt", _CORUM, _truth),
    "truth ComplexTAB": _text("truth.tsv", _COMPLEXTAB, _truth),
    "truth GMT": _text("t.gmt", "".join("\t".join([n, "-", *genes]) + "\n" for n, genes in COMPLEXES.items()), _truth),
    "truth names": _text("t.tsv", "".join(f"{n}\t{' '.join(genes)}\n" for n, genes in COMPLEXES.items()), _truth),
    "truth gz": _file("truth.tsv.gz", lambda file: file.write_bytes(gzip.compress(_TABLE.encode())), _truth, whole=True),
    "pairs": _text("pairs.tsv", "gene1\tgene2\n" + "".join(f"A{i}\tB{i}\n" for i in range(9)), lambda f: load_pairs(f).pairs),
    "aliases": _text(
        "names.tsv", "symbol\talias_symbol\n" + "".join(f"A{i}\tX{i}|Z{i}\n" for i in range(9)),
        lambda f: sorted(load_aliases(f).symbol.items()),
    ),
    "vectors text": _text("v.txt", "\n".join(["12 5", *_LINES, ""]), _vectors),
    "vectors csv": _text("v.csv", "\n".join([line.replace(" ", ",") for line in _LINES] + [""]), _vectors),
    "vectors binary": _file("v.bin", _word2vec, _vectors),
    "vectors npz": _file(
        "v.npz", lambda f: np.savez(f, names=np.array([f"GENE{i}" for i in range(12)]), vectors=_NUMBERS), _vectors,
        whole=True,
    ),
    "scores.json": Reader(_scores, lambda folder: score_table(read_scores(folder / "scores/scores.json"))),
}  # fmt: skip


# Settings ------------------------------------------------------------------------------------------------------------

_CONFIG = yaml.safe_dump(load_config(overrides=TINY).model_dump(mode="json", exclude_defaults=True))
_PIPELINE = yaml.safe_dump({"screen": "screen", "out": "out", "positions": [1, 2], "settings": {"seed": 3, "train": {"steps": 9}}})  # fmt: skip


def _read_pipeline(file: Path) -> Any:
    plan, config = read_pipeline(file)
    return [plan.model_dump(mode="json"), config.model_dump(mode="json")]


def _stamp(folder: Path) -> Files:
    _do_step(folder)
    return [".grape-ops/step.json"]


def _do_step(folder: Path) -> Any:
    """Do a step: done again, or known to be done, it leaves the same."""
    out = folder / "result.txt"
    do(Step("step", ["inputs"], (out,), lambda _: out.write_text("result") and None), folder)
    return out.read_text()


SETTINGS = {
    "config YAML": _text("config.yaml", _CONFIG, lambda file: load_config(file).model_dump(mode="json")),
    "pipeline YAML": _text("pipeline.yaml", _PIPELINE, _read_pipeline),
    "screen.yaml": Reader(lambda folder: _tiles(folder) or ["screen.yaml"], _opened),
    "stamp JSON": Reader(_stamp, _do_step),
}


# Our own store and run -----------------------------------------------------------------------------------------------


def make_store(path: Path) -> None:
    """Write a crop store of two wells, four genes and controls."""
    shards, tables = {}, []
    for well in ("A1", "A2"):
        genes = [CONTROL_LABEL] * 8 + [gene for gene in GENES for _ in range(4)]
        shards[f"P1_{well}"] = pixels(len(genes), 2, SIZE, SIZE)
        table = pd.DataFrame({GENE: genes, GUIDE: [f"{gene}_{i % 2}" for i, gene in enumerate(genes)]})
        table = table.assign(**{PLATE: "P1", WELL: well, TILE: "1", Y: 50.0, X: 50.0})
        table[IS_CONTROL] = table[GENE] == CONTROL_LABEL
        tables.append(table.assign(**{BATCH: f"P1|{well}", SHARD: f"P1_{well}", ROW: range(len(genes))}))
    write_store(path, shards, pd.concat(tables, ignore_index=True), CHANNELS)


def _store(folder: Path) -> Files:
    make_store(folder / "store")
    return [f"store/{name}" for name in ("store.json", "cells.parquet", "shards/P1_A1.npy")]


def _read_store(folder: Path) -> Any:
    store = CropStore.open(folder / "store")
    store.verify()
    return {"pixels": store.read(slice(None)), "cells": store.cells, "genes": store.perturbations}


def _run(folder: Path) -> Files:
    make_store(folder / "store")
    train(folder / "store", folder / "run", load_config(overrides=TINY))
    last = checkpoints(folder / "run")[-1].relative_to(folder)
    return [
        *(f"run/{name}" for name in ("run.json", "config.yaml", "genes.parquet")),
        *(f"{last}/{name}" for name in ("nets.safetensors", "average.safetensors", "state.json")),
    ]


def _read_run(folder: Path) -> Any:
    run = open_run(folder / "run")
    write_embedding(folder / "run", folder / "genes.h5ad")
    found = read_map(folder / "genes.h5ad")
    return {"genes": list(found.obs_names), "vectors": found.X, "truth": run.truth, "store": run.store_path.name}


def _profiles(name: str, write: Callable[[pd.DataFrame, Path], None]) -> Reader:
    """Read somebody else's table of features."""

    def build(folder: Path) -> Files:
        make_store(folder / "store")
        table = CropStore.open(folder / "store").cells.drop(columns=[BATCH, SHARD, ROW, IS_CONTROL])
        numbers = np.random.default_rng(3).integers(-99, 99, (len(table), 6)) / 8  # which half floats hold too
        write(table.assign(**{f"feature_{i}": numbers[:, i] for i in range(6)}), folder / name)
        return [name]

    def read(folder: Path) -> Any:
        given = ["baselines.profiles.match=genes", f"baselines.profiles.table={folder / name}"]
        found = profile_vectors(
            Task(CropStore.open(folder / "store"), load_config(overrides=given), 0, folder / "work")
        )
        return {"genes": list(found.obs_names), "vectors": found.X, "told": list(found.uns["notes"])}

    return Reader(build, read)


OWN = {
    "crop store": Reader(_store, _read_store, whole=True),
    "run and checkpoint": Reader(_run, _read_run),
    "features csv": _profiles("features.csv", lambda table, file: table.to_csv(file, index=False)),
    "features parquet": _profiles("features.parquet", lambda table, file: table.to_parquet(file)),
}
READERS: dict[str, Reader] = SCREENS | RESULTS | SETTINGS | OWN
