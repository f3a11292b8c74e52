"""What else the package reads, as ``hostile_screens.py``: gene vectors, known complexes, settings, stores and runs."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import yaml
from safetensors.numpy import load_file

from grape_ops.artifacts.steps import Step, run_step
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.compare.side import open_side
from grape_ops.config import load_config
from grape_ops.embed import write_embedding
from grape_ops.evaluate.evaluate_files import named_maps, read_map, score_maps
from grape_ops.evaluate.maps import gene_map
from grape_ops.evaluate.scores import read_scores, score_table
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.groundtruth.chromosome_arms import load_arms
from grape_ops.groundtruth.truth import load_pairs, load_truth
from grape_ops.methods.method import Task
from grape_ops.methods.profiles import profile_vectors
from grape_ops.methods.vector_files import read_vectors
from grape_ops.pipeline import read_pipeline
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, TILE, WELL, X, Y
from grape_ops.train.checkpoint import checkpoints, read_state
from grape_ops.train.loop import train
from grape_ops.train.run_folder import open_run
from hostile_screens import CHANNELS, GENES, SCREENS, Files, Reader, pixels

SIZE = 32

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


# Gene vectors, known complexes, scores -------------------------------------------------------------------------------


def _file(name: str, write: Callable[[Path], None], read: Callable[[Path], Any], **of_reader: Any) -> Reader:
    def build(folder: Path) -> Files:
        write(folder / name)
        return [name]

    return Reader(build, lambda folder: read(folder / name), **of_reader)


def _text(name: str, text: str, read: Callable[[Path], Any], *, by_line: bool = False) -> Reader:
    return _file(name, lambda file: file.write_text(text), read, by_line=by_line)


def _map(file: Path) -> None:
    adata = anndata.AnnData(np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32))
    adata.obs_names = [f"GENE{i}" for i in range(12)]
    adata.obs["is_control"] = [False] * 11 + [True]
    adata.uns["method"] = "grape"
    adata.write_h5ad(file)


def _map_with_counts(file: Path) -> None:
    _map(file)
    adata = anndata.read_h5ad(file)
    adata.obs["n_cells"] = range(12)
    adata.obs["is_hit"] = [True] * 6 + [False] * 6
    adata.write_h5ad(file)


def _read_side(file: Path) -> Any:
    side = open_side("A", [file])
    return {
        "genes": list(side.maps[0].genes),
        "vectors": side.maps[0].vectors,
        "cells": side.cells,
        "hits": side.is_hit,
    }


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


_PAIRS = "gene1\tgene2\n" + "".join(f"A{i}\tB{i}\n" for i in range(9))


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
    maps, truth = named_maps([folder / "map.h5ad"]), load_truth(folder / "truth.tsv")
    score_maps(maps, truth, settings, 0, out=folder / "scores")
    return ["scores/scores.json"]


RESULTS = {
    "map h5ad": _file("genes.h5ad", _map, _read_map),
    "truth table": _text("truth.tsv", _TABLE, _truth, by_line=True),
    "truth csv": _text("truth.csv", _TABLE.replace("\t", ","), _truth, by_line=True),
    "truth CORUM": _text("truth.txt", _CORUM, _truth),
    "truth ComplexTAB": _text("truth.tsv", _COMPLEXTAB, _truth),
    "truth GMT": _text("t.gmt", "".join("\t".join([n, "-", *genes]) + "\n" for n, genes in COMPLEXES.items()), _truth),
    "truth names": _text("t.tsv", "".join(f"{n}\t{' '.join(genes)}\n" for n, genes in COMPLEXES.items()), _truth),
    "truth gz": _file("truth.tsv.gz", lambda f: f.write_bytes(gzip.compress(_TABLE.encode())), _truth, checked=("",)),
    "pairs": _text("pairs.tsv", _PAIRS, lambda file: load_pairs(file).pairs, by_line=True),
    "aliases": _text(
        "names.tsv", "symbol\talias_symbol\n" + "".join(f"A{i}\tX{i}|Z{i}\n" for i in range(9)),
        lambda f: sorted(load_aliases(f).symbol.items()),
    ),
    "arms": _text(
        "arms.tsv", "symbol\tlocation\n" + "".join(f"A{i}\t{i + 1}q21.{i}\n" for i in range(9)),
        lambda f: sorted(load_arms(f).items()), by_line=True,
    ),
    "side of a comparison": _file("genes.h5ad", _map_with_counts, _read_side),
    "vectors text": _text("v.txt", "\n".join(["12 5", *_LINES, ""]), _vectors, by_line=True),
    "vectors csv": _text("v.csv", "\n".join([*_LINES, ""]).replace(" ", ","), _vectors, by_line=True),
    "vectors binary": _file("v.bin", _word2vec, _vectors),
    "vectors npz": _file(
        "v.npz", lambda f: np.savez(f, names=np.array([f"GENE{i}" for i in range(12)]), vectors=_NUMBERS), _vectors,
        checked=("",),
    ),
    "scores.json": Reader(_scores, lambda folder: score_table(read_scores(folder / "scores/scores.json"))),
}  # fmt: skip


# Settings ------------------------------------------------------------------------------------------------------------

_CONFIG = yaml.safe_dump(load_config(overrides=TINY).model_dump(mode="json", exclude_defaults=True))
_PIPELINE = yaml.safe_dump(
    {"screen": "screen", "out": "out", "positions": [1, 2], "settings": {"seed": 3, "train": {"steps": 9}}}
)


def _read_pipeline(file: Path) -> Any:
    plan, config = read_pipeline(file)
    return [plan.model_dump(mode="json"), config.model_dump(mode="json")]


def _stamp(folder: Path) -> Files:
    _do_step(folder)
    return [".grape-ops/step.json"]


def _do_step(folder: Path) -> Any:
    """Do a step: done again, or known to be done, it leaves the same."""
    out = folder / "result.txt"
    run_step(Step("step", ["inputs"], (out,), lambda _: out.write_text("result") and None), folder)
    return out.read_text()


SETTINGS = {
    "config YAML": _text("config.yaml", _CONFIG, lambda file: load_config(file).model_dump(mode="json")),
    "pipeline YAML": _text("pipeline.yaml", _PIPELINE, _read_pipeline),
    "stamp JSON": Reader(_stamp, _do_step),
}


# Our own store and run -----------------------------------------------------------------------------------------------


def make_store(path: Path, cells: int = 4) -> None:
    """Write a crop store of two wells, four genes with so many cells in each, and twice as many controls."""
    shards, tables = {}, []
    for well in ("A1", "A2"):
        genes = [CONTROL_LABEL] * 2 * cells + [gene for gene in GENES for _ in range(cells)]
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
        *(
            f"{last}/{name}"
            for name in ("nets.safetensors", "average.safetensors", "optimizers.safetensors", "state.json")
        ),
    ]


def _read_run(folder: Path) -> Any:
    run = open_run(folder / "run")
    write_embedding(folder / "run", folder / "genes.h5ad")
    found = read_map(folder / "genes.h5ad")
    last = checkpoints(folder / "run")[-1]
    read_state(last)
    weights = {file.name: load_file(file) for file in sorted(last.glob("*.safetensors"))}
    return {
        "genes": list(found.obs_names),
        "vectors": found.X,
        "truth": run.truth,
        "store": run.store_path.name,
        "weights": {f"{file} {name}": part for file, parts in weights.items() for name, part in sorted(parts.items())},
    }


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
    "crop store": Reader(_store, _read_store, checked=("",)),
    "run and checkpoint": Reader(_run, _read_run, checked=(".safetensors",)),
    "features csv": _profiles("features.csv", lambda table, file: table.to_csv(file, index=False)),
    "features parquet": _profiles("features.parquet", lambda table, file: table.to_parquet(file)),
}
READERS: dict[str, Reader] = SCREENS | RESULTS | SETTINGS | OWN
