"""What sets a gene apart, in pictures: the command ``directions`` writes strips, difference maps and their numbers.

Letters: n cells, K points on the way, C channels, H crop size.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops import __version__
from grape_ops.artifacts.atomic import drafts_of
from grape_ops.artifacts.ownership import check_folder, warn_replaced
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.writer import shard_names
from grape_ops.config import GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.scores import without_nan
from grape_ops.plotting.cell_figures import called, strip_figure
from grape_ops.plotting.figure import FORMATS, save_figure
from grape_ops.plotting.phenotype_figures import change_figure
from grape_ops.plotting.pictures import channel_views
from grape_ops.progress import progress
from grape_ops.restyle.changes import Change, paired_change, ring_edges, styles_between, unpaired_change
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching, gene_row

CHANGES_TSV = "changes.tsv"
DIRECTIONS_JSON = "directions.json"
CHANGES, STRIP = "changes", "strip"  # the two figures of a gene


def write_directions(
    run_path: Path,
    store_path: Path,
    out: Path,
    settings: GenerateSettings,
    *,
    source: str = "control",
    genes: Sequence[str],
    seed: int = 0,
) -> pd.DataFrame:
    """Draw the way from one perturbation to others, and report which channels and radii change most.

    Parameters
    ----------
    run_path, store_path : the run and the store it was trained on.
    out : folder for ``changes.tsv``, and a strip and a map for every gene, as PDF and PNG.
    settings : cells, steps and rings.
    source : where the way begins; its cells are restyled.
    genes : where the ways end.
    seed : draws the cells.

    Returns
    -------
    ``changes.tsv``: one row per gene, channel and ring, the largest changes of each gene first.
    """
    if not genes:
        raise GrapeOpsError("Name at least one gene with --genes A,B.")
    check_folder(out, "gene directions", marker=DIRECTIONS_JSON)
    restyler = Restyler.open(run_path, store_path, ema=settings.ema, batch_size=settings.batch_size)
    store, names = restyler.store, restyler.names
    start = gene_row(names, source)
    rows = list(dict.fromkeys(gene_row(names, gene) for gene in genes))
    if start in rows:
        raise GrapeOpsError(f"A way from {names[start]} to itself has no direction; name other --genes.")
    cells = draw_cells(store, start, settings.cells, seed)
    if len(cells) < 2:
        raise GrapeOpsError(f"{names[start]} has {len(cells)} cells; averages want two at least.")
    matching = {row: draw_matching(store, row, cells, seed) for row in rows}
    # Against the same cells restyled to where they come from: what the generator does to every cell is no direction.
    unchanged = restyler.images(cells, restyler.styles([start]))[0]
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    files = _stems(names[row] for row in rows)
    tables = []
    with progress("directions", len(rows), "gene") as advance:
        for row in rows:
            tables.append(
                _one_way(restyler, start, row, cells, matching[row], unchanged, settings, out / files[names[row]])
            )
            advance()
    table = pd.concat(tables, ignore_index=True)
    record: dict[str, Any] = {
        "version": __version__,
        "run": run_path.name,
        "source": names[start],
        "genes": [names[row] for row in rows],
        "cells": len(cells),
        "seed": seed,
        "agreement": {gene: agreement(part) for gene, part in table.groupby("gene_symbol", sort=False)},
        "settings": settings.model_dump(mode="json"),
    }
    warn_replaced(out / DIRECTIONS_JSON)
    with drafts_of(out / CHANGES_TSV, out / DIRECTIONS_JSON) as (changes, described):
        spreadsheet_safe(table).to_csv(changes, sep="\t", index=False, float_format="%.6g")
        described.write_text(json.dumps(without_nan(record), indent=1, allow_nan=False) + "\n")
    return table


def _stems(genes: Iterable[str]) -> dict[str, str]:
    """What names of the genes' figures begin with."""
    return {gene: stem for (gene,), stem in shard_names((gene,) for gene in genes).items()}


def _clear(out: Path) -> None:
    """Remove the figures of an earlier call: they would lie among those of this one."""
    record = out / DIRECTIONS_JSON
    if not record.is_file():
        return
    for stem in _stems(json.loads(record.read_text())["genes"]).values():
        for figure in (CHANGES, STRIP):
            for ending in FORMATS:
                (out / f"{stem}_{figure}.{ending}").unlink(missing_ok=True)


def _one_way(
    restyler: Restyler,
    start: int,
    row: int,
    cells: np.ndarray,
    matching: np.ndarray,
    unchanged: np.ndarray,
    settings: GenerateSettings,
    stem: Path,
) -> pd.DataFrame:
    """Draw the way to one gene and report its changes; ``matching`` are real cells of the gene."""
    store, names = restyler.store, restyler.names
    real, knockouts = store.standardized(cells), store.standardized(matching)
    views = channel_views(store.channels, real)
    made = paired_change(unchanged, restyler.images(cells, restyler.styles([row]))[0], settings.rings)
    there = unpaired_change(real, knockouts, settings.rings)
    changes = (made, there)
    figure = change_figure(
        names[row],
        [change.map for change in changes],
        [change.profile for change in changes],
        [change.error for change in changes],
        ring_edges(store.crop_size, made.profile.shape[1]),
        store.channels,
    )
    save_figure(figure, stem.with_name(f"{stem.name}_{CHANGES}"), simulated=store.simulated)
    shown = min(settings.shown, len(cells), len(knockouts))
    strips = restyler.images(cells[:shown], styles_between(restyler, start, row, settings.steps)).swapaxes(0, 1)
    ends = called(names[start]), called(names[row])
    figure = strip_figure(strips, real[:shown], knockouts[:shown], views, *ends)
    save_figure(figure, stem.with_name(f"{stem.name}_{STRIP}"), simulated=store.simulated)
    return change_table(names[row], store.channels, store.crop_size, made, there)


def change_table(gene: str, channels: Sequence[str], size: int, made: Change, real: Change) -> pd.DataFrame:
    """Changes of a gene as a table, the largest that restyling makes first."""
    edges = ring_edges(size, made.profile.shape[1])
    table = pd.DataFrame(
        [
            {
                "gene_symbol": gene,
                "channel": channel,
                "radius_from": edges[ring],
                "radius_to": edges[ring + 1],
                "restyled": made.profile[c, ring],
                "restyled_error": made.error[c, ring],
                "knockout": real.profile[c, ring],
                "knockout_error": real.error[c, ring],
            }
            for c, channel in enumerate(channels)
            for ring in range(made.profile.shape[1])
        ]
    )
    return table.sort_values("restyled", key=lambda part: -part.abs(), kind="stable", ignore_index=True)


def agreement(table: pd.DataFrame) -> float:
    """Cosine between the ring profiles of restyling and of the knock-out, over channels and rings."""
    made, real = table["restyled"].to_numpy(), table["knockout"].to_numpy()
    size = np.linalg.norm(made) * np.linalg.norm(real)
    return float(made @ real / size) if size > 0 else float("nan")
