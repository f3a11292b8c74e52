"""``grape-ops trust``: make the map twice, from disjoint halves of the cells, and see whether the two agree.

out/
  trust.json             what it was begun with
  reproducibility.tsv    one row a method
  genes.tsv              one row a method and gene: which genes to believe
  similarities.png, .pdf every pair of genes in both maps
  half1/, half2/         maps/ of each half
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import typer
from anndata import read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import finish_shard, finish_store, put_crops, start_shard, write_json
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.maps import gene_map
from grape_ops.evaluate.reproducibility import map_agreement
from grape_ops.plotting.calibration_figures import similarities_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.power.methods import GRAPE, check_known, write_vectors
from grape_ops.power.settled import check_same_settings
from grape_ops.progress import progress
from grape_ops.schema import GENE, OBS_N_CELLS, ROW, SHARD
from grape_ops.train.preflight import announce_trainings

if TYPE_CHECKING:
    from anndata import AnnData

HALVES = ("half1", "half2")
RECORD_FILE = "trust.json"
DONE_FILE = "maps.json"
PERMUTATIONS = 1000
_AT_ONCE = 1024


def split_half(store_path: Path, out: Path, methods: Sequence[str], config: Config) -> str:
    """Make each method's map from both halves of a store's cells and compare the two.

    Parameters
    ----------
    store_path : crop store.
    out : folder for the results; one begun with the same settings is gone on with, and keeps its methods.
    methods : names of baselines, and ``grape``.
    config : the methods' settings, and the seed, which draws the halves too.

    Returns
    -------
    The table of reproducibility, to print.

    Raises
    ------
    GrapeOpsError : an unknown method, or other settings than the folder was begun with.
    """
    check_known(methods)
    store = CropStore.open(store_path)
    check_same_settings(out / RECORD_FILE, store, config, {})
    made = {method: None for name in HALVES for method in _done(out / name)}
    methods = list(made | dict.fromkeys(methods))  # what an earlier call compared stays in the tables
    to_train = sum(GRAPE not in _done(out / name) for name in HALVES) if GRAPE in methods else 0
    announce_trainings([config] * to_train, store)
    halves = draw_halves(store, config.seed)
    files = [
        _maps(store, halves == half, out / name, methods, config.model_copy(update={"seed": config.seed + half}))
        for half, name in enumerate(HALVES)
    ]
    rows, gene_tables, pairs = [], [], {}
    for method in files[0]:
        maps = [read_h5ad(both[method]) for both in files]
        figures, of_genes, cosines = compare_halves(maps[0], maps[1], config)
        rows.append({"method": method, **figures})
        gene_tables.append(of_genes.assign(method=method))
        pairs[method] = cosines
    table = pd.DataFrame(rows).round(4)
    table.to_csv(out / "reproducibility.tsv", sep="\t", index=False)
    pd.concat(gene_tables).round(4).to_csv(out / "genes.tsv", sep="\t", index=False)
    save_figure(similarities_figure(pairs, table), out / "similarities")
    return table.to_string(index=False)


def draw_halves(store: CropStore, seed: int) -> np.ndarray:
    """Deal the cells of every perturbation and batch into two halves: -> (N,) 0 or 1.

    A perturbation with a single cell is in one half only, and left out of the comparison.
    """
    halves = np.zeros(len(store), np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(store))
    # Cells of one perturbation, batch by batch, are dealt in turn, so that halves differ by one cell at most.
    order = order[np.lexsort((store.batch_codes[order], store.labels[order]))]
    counts = np.bincount(store.labels, minlength=len(store.perturbations))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    halves[order] = (np.arange(len(order)) - starts[store.labels[order]] + store.labels[order]) % 2
    return halves


def write_half(store: CropStore, chosen: np.ndarray, out: Path) -> None:
    """Write some cells of a store (N,) bool as a store of their own; it appears when it is complete."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    cells = store.cells[chosen].assign(source=np.flatnonzero(chosen)).reset_index(drop=True)
    cells[ROW] = cells.groupby(SHARD).cumcount()
    records = {}
    with progress("Half of the cells", len(cells), "cell") as advance:
        for shard, rows in cells.groupby(SHARD, sort=True).indices.items():
            shape = (len(rows), len(store.channels), store.crop_size, store.crop_size)
            file, offset = start_shard(partial, str(shard), shape, store.pixel_type)
            for first in range(0, len(rows), _AT_ONCE):
                part = rows[first : first + _AT_ONCE]
                put_crops(file, offset, first, store.read(cells["source"].to_numpy()[part]))
                advance(len(part))
            records[str(shard)] = finish_shard(partial, str(shard), cells.iloc[rows], {})
    kept = (store.channels, records, store.pixel_type, store.crop_size, store.meta["scaling"])
    finish_store(partial, cells, *kept, {"half_of": store.path.name}, {})
    partial.rename(out)


def compare_halves(
    first: "AnnData", second: "AnnData", config: Config
) -> tuple[dict[str, float], pd.DataFrame, np.ndarray]:
    """Compare two maps on the genes that both have: -> figures, a row a gene, the (pairs, 2) cosines."""
    maps = [gene_map(adata, name) for adata, name in zip((first, second), HALVES, strict=True)]
    genes = sorted(set(maps[0].genes) & set(maps[1].genes))
    if len(genes) < 4:
        raise GrapeOpsError(f"The two halves share {len(genes)} genes; comparing maps takes at least four.")
    vectors = [part.vectors[part.rows(genes)] for part in maps]
    rng = np.random.default_rng(config.seed)
    figures, of_genes = map_agreement(vectors[0], vectors[1], config.evaluate.neighbours, PERMUTATIONS, rng)
    cells = sum(adata.obs[OBS_N_CELLS].loc[genes].to_numpy() for adata in (first, second))
    table = pd.DataFrame({"method": "", GENE: genes, OBS_N_CELLS: cells, **of_genes})
    unit = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in vectors]
    upper = np.triu_indices(len(genes), k=1)
    return figures, table, np.stack([(part @ part.T)[upper] for part in unit], axis=1)


def _maps(
    store: CropStore, chosen: np.ndarray, folder: Path, methods: Sequence[str], config: Config
) -> dict[str, Path]:
    """Maps of one half, those that are not there yet made: name -> file."""
    done, half = _done(folder), folder / "store"
    for method in methods:
        if method in done:
            continue
        typer.echo(f"{folder.name}: {method}", err=True)
        if not half.exists():
            write_half(store, chosen, half)
        made = write_vectors(method, half, folder / "maps", config)
        done[method] = {name: str(path.relative_to(folder)) for name, path in made.items()}
        write_json(folder / DONE_FILE, done)
    shutil.rmtree(half, ignore_errors=True)
    return {name: folder / path for method in methods for name, path in done[method].items()}


def _done(folder: Path) -> dict[str, dict[str, str]]:
    """Methods whose maps of a half are there: method -> name for tables -> file."""
    file = folder / DONE_FILE
    return json.loads(file.read_text()) if file.is_file() else {}
