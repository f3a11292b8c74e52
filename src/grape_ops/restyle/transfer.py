"""Restyled cells as a crop store and as figures: the command ``transfer`` (section 4.3, Fig. 2).

The store holds the source cells as they are and, gene by gene, the same cells restyled; both are standardised by
the controls of the batches the cells come from. Letters: n cells, K genes.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_folder_of, write_json
from grape_ops.artifacts.damage import read_json
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.cells.writer import finish_shard, finish_store, put_crops, shard_names, start_shard
from grape_ops.config import GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.plotting.cell_figures import cells_figure, overview_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.plotting.pictures import channel_views
from grape_ops.progress import progress
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching, gene_row, rows_of_genes
from grape_ops.schema import GENE, GUIDE, IS_CONTROL, ROW, SHARD, STORE_FILE

STORE_DIR = "store"
FIGURES_DIR = "figures"
TRANSFER_FILE = "transfer.json"
RESTYLED_GUIDE = "restyled"
RESTYLED_BY = "restyled_by"  # in a store's provenance: the run
SOURCE_GENE = "source_gene"  # gene of the cell before it was restyled
SOURCE_CELL = "source_cell"  # its row in the cell table of the run's store
MOST_FIGURES = 24  # drawn if no genes were named


def write_transfer(
    run_path: Path,
    store_path: Path,
    out: Path,
    settings: GenerateSettings,
    *,
    source: str = "control",
    genes: Sequence[str] = (),
    where: str = "",
    seed: int = 0,
) -> dict[str, Any]:
    """Restyle the same cells to each gene, and write them as a crop store and as figures.

    Parameters
    ----------
    run_path, store_path : the run and the store it was trained on.
    out : new or empty folder; gets ``store/``, ``figures/`` and ``transfer.json``.
    settings : how many cells, in which batches.
    source : gene whose cells are restyled, ``control`` for the non-targeting ones.
    genes : to restyle to; all genes of the run if none is named.
    where : chooses among the cells of the run; all if empty.
    seed : draws the cells.

    Returns
    -------
    What ``transfer.json`` holds.

    Raises
    ------
    GrapeOpsError : the folder is in use, a gene is unknown, or the store is not the run's.
    """
    if (out / TRANSFER_FILE).is_file():
        raise GrapeOpsError(f"{out} holds restyled cells already, which are not replaced. Name another --out.")
    check_folder(out, "restyled cells", ours=_left_behind(out))
    restyler = Restyler.open(run_path, store_path, where=where, ema=settings.ema, batch_size=settings.batch_size)
    store, names = restyler.store, restyler.names
    origin = gene_row(names, source)
    rows = rows_of_genes(store, names, genes, source=origin)
    cells = draw_cells(store, origin, settings.cells, seed)
    shown, drawn = cells[: settings.shown], rows if genes else rows[:MOST_FIGURES]
    # Folders get their names once they are full, the store first: it tells what a call that ends early leaves behind.
    with (
        locked(out, "restyled cells"),
        draft_folder_of(out / FIGURES_DIR) as figures,
        draft_folder_of(out / STORE_DIR) as new_store,
    ):
        seconds, clipped = _write_store(restyler, cells, rows, new_store)
        _write_figures(restyler, shown, drawn, origin, seed, figures)
    n_pixels = len(rows) * len(cells) * len(store.channels) * store.crop_size**2
    record = {
        "version": __version__,
        "run": run_path.name,
        "checkpoint": (restyler.run.latest_checkpoint() or Path()).name,
        "ema": restyler.averaged,
        "store_fingerprint": store_fingerprint(store),
        "source": names[origin],
        "genes": [names[row] for row in rows],
        "cells": len(cells),
        "seed": seed,
        "device": str(restyler.device),
        "seconds": round(seconds, 3),
        "cells_per_second": round(len(rows) * len(cells) / seconds, 1),
        "clipped_share": clipped / n_pixels,
        "settings": settings.model_dump(mode="json"),
    } | store.subset_of_run
    write_json(out / TRANSFER_FILE, record)
    return record


def _left_behind(out: Path) -> tuple[str, ...]:
    """What a call that ended before its record was written left in a folder, which the next call replaces."""
    record = out / STORE_DIR / STORE_FILE
    if not record.is_file():
        return ()
    provenance = read_json(record, "the record of a crop store", {"provenance": dict})["provenance"]
    return (STORE_DIR, FIGURES_DIR) if RESTYLED_BY in provenance else ()


def _write_store(restyler: Restyler, cells: np.ndarray, rows: list[int], folder: Path) -> tuple[float, int]:
    """Write the source cells and, one shard per gene, the restyled ones; seconds of restyling, and clipped pixels."""
    store, names = restyler.store, restyler.names
    shape = (len(cells), len(store.channels), store.crop_size, store.crop_size)
    places = {-1: ("source", "cells"), **{row: (names[row],) for row in rows}}
    shard_of = shard_names(places.values())
    parts, records = [], {}
    files = {row: start_shard(folder, shard_of[place], shape, store.pixel_type) for row, place in places.items()}
    for start in range(0, len(cells), restyler.batch_size):
        put_crops(*files[-1], start, store.read(cells[start : start + restyler.batch_size]))
    clipped, began = 0, time.monotonic()
    batches = -(-len(cells) // restyler.batch_size)
    with progress("restyle", batches * len(rows), "batch") as advance:
        for part in restyler.restyle(cells, restyler.styles(rows)):
            pixels, beyond = restyler.stored(part.images, cells[part.rows])
            put_crops(*files[rows[part.style]], part.rows.start, pixels)
            clipped += beyond
            advance()
    seconds = time.monotonic() - began
    for row, place in places.items():
        table = _table(store, cells, None if row < 0 else names[row], shard_of[place])
        records[shard_of[place]] = finish_shard(folder, shard_of[place], table, {})
        parts.append(table)
    scaling, quality = store.meta["scaling"], {"cells_kept": len(cells) * (len(rows) + 1)}
    provenance = {
        RESTYLED_BY: restyler.run.path.name,
        "store_fingerprint": store_fingerprint(store),
    } | ({"simulated": True} if store.simulated else {})
    finish_store(
        folder,
        pd.concat(parts, ignore_index=True),
        store.channels,
        records,
        store.pixel_type,
        store.crop_size,
        scaling,
        provenance,
        quality,
        statistics=store.meta["batches"],
    )
    return max(seconds, 1e-9), clipped


def _table(store: CropStore, cells: np.ndarray, gene: str | None, shard: str) -> pd.DataFrame:
    """The cells' rows as they are in the new store; under another gene if they were restyled."""
    table = store.cells.iloc[cells].reset_index(drop=True)
    table[SOURCE_GENE], table[SOURCE_CELL] = table[GENE], cells
    if gene is not None:
        table[GENE], table[GUIDE], table[IS_CONTROL] = gene, RESTYLED_GUIDE, False
    table[SHARD], table[ROW] = shard, np.arange(len(cells))
    return table


def _write_figures(
    restyler: Restyler, shown: np.ndarray, rows: list[int], origin: int, seed: int, folder: Path
) -> None:
    store, names = restyler.store, restyler.names
    source = names[origin]
    real = store.standardized(shown)
    knockouts = [store.standardized(draw_matching(store, row, shown, seed)) for row in rows]
    views = channel_views(store.channels, np.concatenate([real, *knockouts]))
    unchanged, *restyled_to = restyler.images(shown, restyler.styles([origin, *rows]))
    files = shard_names((names[row],) for row in rows)
    with progress("figures", len(rows) + 1, "figure") as advance:
        for row, restyled, knockout in zip(rows, restyled_to, knockouts, strict=True):
            figure = cells_figure(real, unchanged, restyled, knockout, views, gene=names[row], source=source)
            save_figure(figure, folder / files[(names[row],)], simulated=store.simulated)
            advance()
        genes = [names[row] for row in rows]
        overview = overview_figure(real, unchanged, restyled_to, knockouts, views, genes=genes, source=source)
        save_figure(overview, folder / "overview", simulated=store.simulated)
        advance()
