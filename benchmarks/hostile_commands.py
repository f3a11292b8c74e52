"""The commands that ``hostile_kills.py`` disturbs, each with what its result comes down to, and what they read."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml
from safetensors.numpy import load_file

from grape_ops.cells.store import CropStore
from grape_ops.config import load_config
from grape_ops.simulate.write_screen import simulate_screen
from hostile_inputs import TINY, make_store

_SCREEN = ("complexes=2", "genes_per_complex=2", "guides_per_gene=2", "cells_per_gene=16", "control_cells=48",
           "control_guides=4", "plates=1", "wells_per_plate=2", "tile_size=192", "dud_guides=0")  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command whose result lies in ``out``.

    Attributes
    ----------
    words : the command; where its result goes stands for OUT in it, or behind it.
    essence : of a result, what is the same whenever it is made.
    way_on : what goes on with a half-done one.
    replaces : whether it replaces an earlier result.
    pipeline : a pipeline file, which then says where the result goes; it is written beside ``out``.
    """

    words: tuple[str, ...]
    out: str
    essence: Callable[[Path], Any]
    way_on: tuple[str, ...] = ()
    pipeline: str = ""
    replaces: bool = True

    def words_in(self, folder: Path) -> tuple[str, ...]:
        """Return the words with which the result comes to lie in a folder."""
        if not self.pipeline:
            place = str(folder / self.out)
            own = tuple(word.replace("OUT", place) for word in self.words)
            return own if own != self.words else (*own, "--out", place)
        folder.mkdir(exist_ok=True)
        (folder / "pipeline.yaml").write_text(self.pipeline)
        return (self.words[0], str(folder / "pipeline.yaml"), *self.words[1:])


def _store(path: Path) -> Any:
    store = CropStore.open(path)
    store.verify()
    cells = store.cells.to_csv(index=False)
    return _hash(store.read(slice(None)).tobytes(), cells.encode(), store.control_mean.tobytes())


def _run(path: Path) -> Any:
    last = sorted((path / "checkpoints").glob("step_*"))[-1]
    tensors = [load_file(last / f"{name}.safetensors") for name in ("nets", "average", "optimizers")]
    steps = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    return last.name, sorted(set(steps)), _hash(*(part[key].tobytes() for part in tensors for key in sorted(part)))


def _vectors(path: Path) -> Any:
    with h5py.File(path) as file:
        names = file["obs"][file["obs"].attrs["_index"]][()]
        return _hash(np.asarray(file["X"]).tobytes(), *names)


def _files(path: Path) -> Any:
    """What each file holds; of pictures, pages and records, which differ by when and where, that they are whole.

    What ``inspect`` keeps of an earlier file, as it does where a call was cut short, is none of its results.
    """
    present = (one for one in path.rglob("*") if one.is_file() and one.suffix != ".old")
    files = [path] if path.is_file() else sorted(present)
    return {str(one.relative_to(path)): content_of(one) for one in files}


def content_of(file: Path) -> Any:
    """What a file holds, or that it is whole; an error if it is not."""
    end = _ENDS.get(file.suffix)
    data = file.read_bytes()
    if end is not None:
        if not data.rstrip().endswith(end):
            raise ValueError(f"{file} is cut off")
        return "whole"
    if file.suffix == ".json":
        return _keys(json.loads(data))
    if file.suffix == ".yaml":
        return _keys(yaml.safe_load(data))
    return _crops(file) if file.suffix in (".h5ad", ".h5sc") else _hash(data)


# Of the kinds of files that differ by when and where: what a whole one ends with.
_ENDS = {".png": b"IEND\xaeB`\x82", ".pdf": b"%%EOF", ".html": b"</html>"}


def _keys(tree: Any) -> Any:
    return {key: _keys(part) for key, part in sorted(tree.items())} if isinstance(tree, dict) else type(tree).__name__


def _tables(path: Path) -> Any:
    """Tables of a folder of jobs, beside which lie records and what the jobs keep."""
    return {one.name: content_of(one) for one in sorted(path.glob("*")) if one.suffix in (".png", ".tsv", ".csv")}


def _plan(path: Path) -> Any:
    """What a pipeline file says; where its screen lies counts from the file."""
    return {key: part for key, part in yaml.safe_load(path.read_text()).items() if key != "screen"}


def _page(path: Path) -> Any:
    text = path.read_text()
    return len(text.split("<section")), text.rstrip().endswith("</html>")


def _crops(path: Path) -> Any:
    with h5py.File(path) as file:
        found: list[bytes] = []
        file.visititems(lambda name, node: found.extend([name.encode(), _bytes_of(node)]))
        return _hash(*found)


def _bytes_of(node: Any) -> bytes:
    if not isinstance(node, h5py.Dataset) or node.shape is None:
        return b""
    return np.asarray(node).tobytes() if node.dtype.kind != "O" else repr(np.asarray(node).tolist()).encode()


def _pipeline(path: Path) -> Any:
    vectors = [_vectors(path / name) for name in ("genes.h5ad", "genes_position2.h5ad")]
    return (
        _store(path / "store"),
        _run(path / "run"),
        vectors,
        _files(path / "hits"),
        _page(path / "report.html"),
        (_hash((path / "scores.csv").read_bytes())),
    )


def _hash(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _settings(*settings: str) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))


# The paper's settings: those taken when none are named train a classifier first.
_PAPER = ("--config", "paper.yaml", *_settings(*TINY))
_STANDARD = _settings("export.images=true", "export.gene_ids=gene_ids.tsv", "export.pixel_size=0.5", "export.crops=1")
_PLAN = """screen: ../screen
out: out
truth: ../screen/truth.tsv
baselines: [statistics]
config: paper.yaml
"""
_SIMULATE = tuple(f"simulate.{one}" for one in _SCREEN)
_ANY_COMPLEX = ("--library", "screen/library.csv", "--stage", "covered", "--set", "curate.least_screened=2")
_STATISTICS = ("--methods", "statistics", "--seeds", "2", "--jobs", "1", *_PAPER)
_FEW_TREES = _settings("generate.trees=8", "generate.repeats=1", "generate.splits=2", "generate.bootstrap=9")
# In the order in which one reads what another made. ablate and calibrate do jobs as benchmark and trust do, and demo
# is simulate and run: they would take minutes each.
COMMANDS = {
    "preprocess": Command(("preprocess", "screen", *_PAPER), "store", _store, ("--resume",)),
    "train": Command(("train", "store", *_PAPER), "run", _run, ("--resume",)),
    "embed": Command(("embed", "run"), "genes.h5ad", _vectors),
    "baseline": Command(("baseline", "statistics", "store", *_PAPER), "statistics.h5ad", _vectors),
    "evaluate": Command(("evaluate", "genes.h5ad", "--truth", "screen/truth.tsv"), "evaluation", _files),
    "hits": Command(("hits", "store"), "hits", _files),
    "report": Command(("report", "run"), "report.html", _page),
    "export of crops": Command(("export", "run", "--format", "h5sc"), "crops.h5sc", _crops),
    "export of a submission": Command(("export", "run", "--format", "ops-standard", *_STANDARD), "submission", _files),
    "vectors of cells": Command(("embed", "run", "--level", "cell"), "cells.parquet", _files),
    "run": Command(("run", *_settings(*TINY)), "out", _pipeline, pipeline=_PLAN),
    "simulate": Command(("simulate", *_settings(*_SIMULATE, "simulate.seed=1")), "other", _files),
    "preprocess of two": Command(("preprocess", "screen", "other", *_PAPER), "both", _store, ("--resume",)),
    "inspect": Command(("inspect", "screen"), "screen.yaml", _plan),
    "evaluate by arms": Command(
        ("evaluate", "genes.h5ad", "--truth", "screen/truth.tsv", "--arms", "arms.tsv", "--correct-arms"),
        "evaluation of arms",
        _files,
    ),
    "compare": Command(("compare", "genes.h5ad", "statistics.h5ad"), "comparison", _files),
    "clusters": Command(("clusters", "genes.h5ad"), "clusters.tsv", _files),
    "truth": Command(("truth", "curate", "screen/truth.tsv", *_ANY_COMPLEX), "truth.tsv", _files),
    "transfer": Command(("transfer", "run", "store", "--cells", "6"), "transfer", _files, replaces=False),
    "directions": Command(("directions", "run", "store", "--genes", "ANAPC1", "--cells", "6"), "directions", _files),
    "figures": Command(("figures", "run"), "figures", _files),
    "explore": Command(("explore", "run", "--static", "OUT"), "page", _files),
    "vectors of guides": Command(("embed", "run", "--level", "guide"), "guides.zarr", _files),
    "export of a map": Command(("export", "run", "--format", "h5ad"), "map.h5ad", _vectors),
    "export of clusters": Command(("export", "run", "--format", "clusters"), "leiden.tsv", _files),
    "neighbours": Command(("neighbours", "ANAPC1", "genes.h5ad"), "neighbours.tsv", _files),
    "pictures": Command(("inspect", "screen", "--out", "OUT/screen.yaml", "--pictures", "OUT"), "pictures", _files),
    "phenotype": Command(("phenotype", "run", "store", "--cells", "12", *_FEW_TREES), "phenotype", _files),
    "trust": Command(("trust", "many", *_STATISTICS), "trust", _tables),
    "benchmark": Command(("benchmark", "many", "--truth", "many.tsv", *_STATISTICS), "benchmark", _tables),
}


def draw_screen(root: Path) -> None:
    """Simulate the screen that the commands read, with a table of gene ids, and a store of more cells."""
    make_store(root / "many", cells=24)
    (root / "many.tsv").write_text("gene_symbol\tcomplex\nAAAS\ta\nBUB3\ta\nCDC20\tb\nDDX5\tb\n")
    settings = load_config(overrides=[f"simulate.{one}" for one in _SCREEN]).simulate
    simulate_screen(root / "screen", settings, 1)
    genes: Sequence[str] = pd.read_csv(root / "screen" / "truth.tsv", sep="\t")["gene_symbol"].tolist()
    rows = [f"{gene}\tENSG{number:011d}" for number, gene in enumerate(genes)]
    arms = [f"{gene}\t{1 + number // 2}p" for number, gene in enumerate(genes)]
    (root / "arms.tsv").write_text("\n".join(["gene_symbol\tarm", *arms, ""]))
    (root / "gene_ids.tsv").write_text("\n".join(["symbol\tensembl_gene_id", *rows, ""]))
