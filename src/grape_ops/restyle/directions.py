"""What changes on the way from one perturbation to another: strips, difference maps and their numbers.

Letters: K points on the way, V length of a row of M, n cells, C channels, H crop size, R rings.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from grape_ops import __version__
from grape_ops.artifacts.atomic import drafts_of
from grape_ops.artifacts.damage import damage_in_words
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder, warn_replaced
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.writer import shard_names
from grape_ops.config import GenerateSettings
from grape_ops.cosine import cosine
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.scores import without_nan
from grape_ops.plotting.cell_figures import called, strip_figure
from grape_ops.plotting.figure import FORMATS, save_figure
from grape_ops.plotting.phenotype_figures import change_figure
from grape_ops.plotting.pictures import channel_views
from grape_ops.progress import progress
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching, gene_row, rows_of_genes
from grape_ops.words import counted

CHANGES_TSV = "changes.tsv"
DIRECTIONS_JSON = "directions.json"
CLEAR = 2.0  # standard errors beyond which a change has a sign
CHANGES, STRIP = "changes", "strip"  # the two figures of a gene


def styles_between(restyler: Restyler, start: int, end: int, steps: int) -> Tensor:
    """Style codes of points on the straight line between two gene vectors, both ends included: (K, S)."""
    vectors = restyler.nets.vectors()
    share = torch.linspace(0, 1, steps, device=vectors.device, dtype=vectors.dtype)[:, None]
    return restyler.nets.mapping((1 - share) * vectors[start] + share * vectors[end])


@dataclass(frozen=True)
class Change:
    """A change averaged over cells that are aligned at their centres.

    Attributes
    ----------
    map : (C, H, H) mean difference, in standard deviations of control pixels.
    profile : (C, R) the same, averaged over rings around the centre.
    error : (C, R) standard error of the profile over cells.
    """

    map: np.ndarray
    profile: np.ndarray
    error: np.ndarray

    @property
    def significance(self) -> np.ndarray:
        """Profile in its standard errors: (C, R)."""
        return np.divide(self.profile, self.error, out=np.zeros_like(self.profile), where=self.error > 0)


def paired_change(before: np.ndarray, after: np.ndarray, rings: int) -> Change:
    """Change of the same cells: (n, C, H, H) twice, n at least 2."""
    difference = after - before
    profiles = ring_means(difference, rings)
    return Change(difference.mean(axis=0), profiles.mean(axis=0), profiles.std(axis=0, ddof=1) / len(profiles) ** 0.5)


def unpaired_change(first: np.ndarray, second: np.ndarray, rings: int) -> Change:
    """Difference between two sets of cells: (n, C, H, H), (m, C, H, H), two of each at least."""
    profiles = [ring_means(part, rings) for part in (first, second)]
    variance = sum(part.var(axis=0, ddof=1) / len(part) for part in profiles)
    means = [part.mean(axis=0) for part in profiles]
    return Change(second.mean(axis=0) - first.mean(axis=0), means[1] - means[0], np.sqrt(variance))


def ring_means(images: np.ndarray, rings: int) -> np.ndarray:
    """Means over rings of equal width around the centre, up to the crop's edge: (n, C, H, H) -> (n, C, R).

    Rings narrower than a pixel would be empty: R is at most H // 2.
    """
    rings = min(rings, images.shape[-1] // 2)
    index = ring_index(images.shape[-1], rings)
    return np.stack([images[:, :, index == ring].mean(axis=2) for ring in range(rings)], axis=2)


def ring_index(size: int, rings: int) -> np.ndarray:
    """Which ring each pixel lies in, R in the corners: (H, H) int. The centre is that of the crop, pixel H // 2."""
    rows, columns = np.mgrid[:size, :size] - size // 2
    return np.minimum(np.hypot(rows, columns) / (size / 2) * rings, rings).astype(int)


def ring_edges(size: int, rings: int) -> np.ndarray:
    """Radii between rings in px: (R + 1,)."""
    return np.linspace(0, size / 2, min(rings, size // 2) + 1)


def write_directions(
    run_path: Path,
    store_path: Path,
    out: Path,
    settings: GenerateSettings,
    *,
    source: str = "control",
    genes: Sequence[str],
    where: str = "",
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
    where : chooses among the cells of the run; all if empty.
    seed : draws the cells.

    Returns
    -------
    ``changes.tsv``: one row per gene, channel and ring, the largest changes of real knock-out cells first.
    """
    if not genes:
        raise GrapeOpsError("Name at least one gene with --genes A,B.")
    restyler = Restyler.open(run_path, store_path, where=where, ema=settings.ema, batch_size=settings.batch_size)
    store, names = restyler.store, restyler.names
    start = gene_row(names, source)
    rows = rows_of_genes(store, names, genes, source=start)
    if start in rows:
        raise GrapeOpsError(f"A way from {names[start]} to itself has no direction; name other --genes.")
    files = _stems(names[row] for row in rows)
    check_folder(out, "gene directions", marker=DIRECTIONS_JSON, ours=(CHANGES_TSV, *_figures(files.values())))
    begin = _Beginning.draw(restyler, start, settings, seed)
    matching = {row: draw_matching(store, row, begin.cells, seed) for row in rows}
    tables = []
    with locked(out, "gene directions"):
        _clear(out)
        with progress("directions", len(rows), "gene") as advance:
            for row in rows:
                tables.append(begin.draw_way(row, matching[row], out / files[names[row]]))
                advance()
        table = pd.concat(tables, ignore_index=True)
        _write_tables(table, out, begin, [names[row] for row in rows], run_path, seed)
    return table


def _write_tables(
    table: pd.DataFrame, out: Path, begin: "_Beginning", genes: list[str], run_path: Path, seed: int
) -> None:
    """Write the table and, with it, the record that says that all is there."""
    restyler = begin.restyler
    record: dict[str, Any] = {
        "version": __version__,
        "run": run_path.name,
        "source": restyler.names[begin.row],
        "genes": genes,
        "cells": len(begin.cells),
        "seed": seed,
        "agreement": {gene: agreement(part) for gene, part in table.groupby("gene_symbol", sort=False)},
        "settings": begin.settings.model_dump(mode="json"),
    } | restyler.store.subset_of_run
    warn_replaced(out / DIRECTIONS_JSON)
    with drafts_of(out / CHANGES_TSV, out / DIRECTIONS_JSON) as (changes, described):
        spreadsheet_safe(table).to_csv(changes, sep="\t", index=False, float_format="%.6g")
        described.write_text(json.dumps(without_nan(record), indent=1, allow_nan=False) + "\n")


def _stems(genes: Iterable[str]) -> dict[str, str]:
    """What names of the genes' figures begin with."""
    return {gene: stem for (gene,), stem in shard_names((gene,) for gene in genes).items()}


def _figures(stems: Iterable[str]) -> list[str]:
    """Names of the genes' figures."""
    return [f"{stem}_{figure}.{ending}" for stem in stems for figure in (CHANGES, STRIP) for ending in FORMATS]


def _clear(out: Path) -> None:
    """Remove the figures of an earlier call: they would lie among those of this one."""
    record = out / DIRECTIONS_JSON
    if not record.is_file():
        return
    with damage_in_words(record, " as the record of an earlier call; remove it"):
        stems = _stems(json.loads(record.read_text())["genes"]).values()
    for name in _figures(stems):
        (out / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Beginning:
    """Cells of the perturbation where the ways begin.

    Attributes
    ----------
    row : of the perturbation in M.
    cells : (n,) indices into the store.
    unchanged : (n, C, H, H) the cells restyled to their own perturbation: what the generator does to every cell is no
        direction, so changes are measured from these.
    """

    restyler: Restyler
    row: int
    settings: GenerateSettings
    cells: np.ndarray
    unchanged: np.ndarray

    @classmethod
    def draw(cls, restyler: Restyler, row: int, settings: GenerateSettings, seed: int) -> "_Beginning":
        cells = draw_cells(restyler.store, row, settings.cells, seed)
        if len(cells) < 2:
            name = restyler.names[row]
            raise GrapeOpsError(f"{name} has {counted(len(cells), 'cells')}; averages need at least two.")
        return cls(restyler, row, settings, cells, restyler.images(cells, restyler.styles([row]))[0])

    def draw_way(self, end: int, matching: np.ndarray, stem: Path) -> pd.DataFrame:
        """Draw the way to one gene and report its changes; ``matching`` are real cells of the gene."""
        restyler, settings = self.restyler, self.settings
        store, names = restyler.store, restyler.names
        real, knockouts = store.standardized(self.cells), store.standardized(matching)
        made = paired_change(self.unchanged, restyler.images(self.cells, restyler.styles([end]))[0], settings.rings)
        there = unpaired_change(real, knockouts, settings.rings)
        changes = (made, there)
        figure = change_figure(
            names[end],
            [change.map for change in changes],
            [change.profile for change in changes],
            [change.error for change in changes],
            ring_edges(store.crop_size, made.profile.shape[1]),
            store.channels,
        )
        save_figure(figure, stem.with_name(f"{stem.name}_{CHANGES}"), simulated=store.simulated)
        shown = min(settings.shown, len(self.cells), len(knockouts))
        styles = styles_between(restyler, self.row, end, settings.steps)
        strips = restyler.images(self.cells[:shown], styles).swapaxes(0, 1)
        ends, views = (called(names[self.row]), called(names[end])), channel_views(store.channels, real)
        save_figure(
            strip_figure(strips, real[:shown], knockouts[:shown], views, *ends),
            stem.with_name(f"{stem.name}_{STRIP}"),
            simulated=store.simulated,
        )
        return change_table(names[end], store.channels, store.crop_size, made, there)


def change_table(gene: str, channels: Sequence[str], size: int, made: Change, real: Change) -> pd.DataFrame:
    """Changes of a gene as a table, the largest of real knock-out cells first.

    ``opposite`` marks where restyling goes the other way than knock-out cells, both beyond what chance does.
    """
    opposite = (
        (made.profile * real.profile < 0) & (np.abs(made.significance) > CLEAR) & (np.abs(real.significance) > CLEAR)
    )
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
                "opposite": bool(opposite[c, ring]),
            }
            for c, channel in enumerate(channels)
            for ring in range(made.profile.shape[1])
        ]
    )
    return table.sort_values("knockout", key=lambda part: -part.abs(), kind="stable", ignore_index=True)


def agreement(table: pd.DataFrame) -> float:
    """Cosine between the ring profiles of restyling and of the knock-out, over channels and rings."""
    made, real = table["restyled"].to_numpy(), table["knockout"].to_numpy()
    return cosine(made, real)
