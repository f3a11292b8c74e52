"""A simulated optical pooled screen with planted complexes: raw tiles, cell table, library and truth.

``docs/simulation.md`` says what is drawn and what is not. Everything follows from ``settings.seed``: each
tile has its own random stream, so the number of worker processes changes nothing.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml

from grape_ops.artifacts.atomic import draft_folder_of
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.config import SimulateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import progress
from grape_ops.randomness import SimulationStream
from grape_ops.schema import (
    CELLS_FILE,
    GENE,
    GUIDE,
    LIBRARY_FILE,
    PLATE,
    SCREEN_FILE,
    TILE,
    TRUTH_FILE,
    WELL,
    X,
    Y,
)
from grape_ops.simulate.drawing import CHANNELS
from grape_ops.simulate.population import draw_library, draw_population, lone_gene_names, planted_complexes, truth_table
from grape_ops.simulate.scene import Camera, draw_camera, draw_light_centres, draw_scene, most_cells, photograph
from grape_ops.simulate.simulated_phenotype import gene_shifts
from grape_ops.workers import Workers, worker_count

HELA_DIAMETER = 20.0  # micrometres
_AGAIN = "give the command again, with smaller tiles (--set simulate.tile_size=256) if it did"
TILE_PATTERN = "tiles/{plate}/{well}_{tile}.tif"


@dataclass(frozen=True)
class TileJob:
    """All that is needed to make one tile, anywhere."""

    path: Path
    shifts: np.ndarray  # (cells, traits), what the knock-out adds to each cell
    camera: Camera
    settings: SimulateSettings
    index: int


def simulate_screen(out: Path, settings: SimulateSettings, workers: int = 0) -> None:
    """Write a simulated screen that ``grape-ops preprocess --layout table`` reads.

    Writes ``screen.yaml``, ``cells.parquet`` (gene_symbol, sgRNA, plate, well, tile, y, x), ``library.csv``
    (with each guide's true efficacy), ``truth.tsv`` (gene_symbol, complex) and uint16 tiles (channel, y, x).
    The folder appears when it is complete; an earlier simulated screen of this name is replaced.

    Parameters
    ----------
    out : folder to write; new, empty, or an earlier simulated screen.
    settings : sizes, strength of the effects, optics and seed.
    workers : processes; 0 takes one per core. The result does not depend on it.

    Raises
    ------
    GrapeOpsError : the settings contradict each other, or ``out`` holds something else.
    """
    out = Path(out)
    check_possible(settings)
    _check_folder(out)
    with draft_folder_of(out) as draft:
        _write_screen(draft, settings, workers)


def _write_screen(out: Path, settings: SimulateSettings, workers: int) -> None:
    """Fill the empty folder ``out``."""
    complexes = planted_complexes(settings)
    genes = (*(gene for members in complexes.values() for gene in members), *lone_gene_names(settings))
    library = draw_library(genes, settings, _rng(settings, SimulationStream.LIBRARY))
    shifts = settings.effect_size * gene_shifts(
        settings.complexes,
        settings.genes_per_complex,
        settings.lone_genes,
        settings.private_share,
        _rng(settings, SimulationStream.EFFECTS),
    )
    per_tile = max(1, round(settings.confluence * settings.tile_size**2 / _cell_area(settings)))
    cells, cell_shifts = draw_population(
        library, genes, shifts, per_tile, settings, _rng(settings, SimulationStream.CELLS)
    )
    jobs = list(_tile_jobs(out, cells, cell_shifts, settings))
    positions = _make_tiles(jobs, workers)
    for job in jobs:
        job.path.stat()  # workers make folders anew that were removed meanwhile
    cells[[Y, X]] = np.concatenate(positions).round(2)
    identified = cells[cells[GUIDE] != ""].reset_index(drop=True)

    identified[[GENE, GUIDE, PLATE, WELL, TILE, Y, X]].to_parquet(out / CELLS_FILE, index=False)
    spreadsheet_safe(library).to_csv(out / LIBRARY_FILE, index=False)
    spreadsheet_safe(truth_table(complexes)).to_csv(out / TRUTH_FILE, sep="\t", index=False)
    description = {
        "cells": CELLS_FILE,
        "tiles": TILE_PATTERN,
        "channels": list(CHANNELS),
        "simulated": settings.model_dump(mode="json"),
    }
    (out / SCREEN_FILE).write_text(yaml.safe_dump(description, sort_keys=False))


def pixel_size(settings: SimulateSettings) -> float:
    """Micrometres of a pixel, with which a cell is as large as a HeLa cell; its images say so."""
    return HELA_DIAMETER / settings.cell_diameter


def check_possible(settings: SimulateSettings) -> None:
    """Check that the settings do not contradict each other.

    Raises
    ------
    GrapeOpsError : no screen can be drawn from these settings.
    """
    wells = settings.plates * settings.wells_per_plate
    if settings.tile_size < 4 * settings.cell_diameter:
        raise GrapeOpsError(
            f"A tile of {settings.tile_size} pixels is too small for cells of {settings.cell_diameter:g}: "
            f"tile_size must be at least four times cell_diameter ({int(4 * settings.cell_diameter) + 1})."
        )
    if settings.control_cells < wells:
        raise GrapeOpsError(
            f"{settings.control_cells} control cells cannot reach all {wells} wells, and every well needs "
            "controls: raise control_cells, or lower plates or wells_per_plate."
        )
    if settings.control_cells < settings.control_guides:
        raise GrapeOpsError(
            f"{settings.control_guides} control guides share only {settings.control_cells} control cells: "
            "raise control_cells or lower control_guides."
        )
    if settings.cells_per_gene < settings.guides_per_gene:
        raise GrapeOpsError(
            f"{settings.guides_per_gene} guides share only {settings.cells_per_gene} cells of a gene: "
            "raise cells_per_gene or lower guides_per_gene."
        )
    if settings.unidentified_share >= 0.95:
        raise GrapeOpsError(
            f"unidentified_share {settings.unidentified_share:g} would draw twenty or more cells for each in the "
            "table: keep it below 0.95."
        )
    room = most_cells(settings.tile_size, settings.cell_diameter)
    wanted = settings.confluence * settings.tile_size**2 / _cell_area(settings)
    if wanted > room:
        raise GrapeOpsError(
            f"confluence {settings.confluence:g} asks for {wanted:.0f} cells on a tile that has room for {room}: "
            "lower confluence."
        )


def _check_folder(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise GrapeOpsError(f"{out} is a file; name a folder for the simulated screen.")
    if not any(out.iterdir()):
        return
    description = out / SCREEN_FILE
    if not description.is_file() or "simulated:" not in description.read_text():
        raise GrapeOpsError(f"{out} holds something that is not a simulated screen; name another folder.")


def _cell_area(settings: SimulateSettings) -> float:
    return float(np.pi / 4 * settings.cell_diameter**2)


def _rng(settings: SimulateSettings, stream: SimulationStream, *part: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(stream, *part)))


def _tile_jobs(root: Path, cells: pd.DataFrame, shifts: np.ndarray, settings: SimulateSettings) -> Iterator[TileJob]:
    """One job per tile, in the order of the cell table, which is sorted by plate, well and tile."""
    rng = _rng(settings, SimulationStream.CAMERA)
    light_centres = draw_light_centres(len(CHANNELS), rng)
    index = 0
    for _, of_well in cells.groupby([PLATE, WELL], sort=False):
        camera = draw_camera(light_centres, settings.vignetting, settings.batch_gain_sd, settings.read_noise, rng)
        for (plate, well, tile), rows in of_well.groupby([PLATE, WELL, TILE], sort=False):
            path = root / TILE_PATTERN.format(plate=plate, well=well, tile=tile)
            yield TileJob(path, shifts[rows.index], camera, settings, index)
            index += 1


def make_tile(job: TileJob) -> np.ndarray:
    """Draw and write one tile: -> (cells, 2), y and x of each cell of the job."""
    rng = _rng(job.settings, SimulationStream.TILES, job.index)
    light, positions = draw_scene(job.shifts, job.settings.tile_size, job.settings.cell_diameter, rng)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    pixels_per_centimetre = 1e4 / pixel_size(job.settings)
    tifffile.imwrite(
        job.path,
        photograph(light, job.camera, rng),
        photometric="minisblack",
        resolution=(pixels_per_centimetre, pixels_per_centimetre),
        resolutionunit="CENTIMETER",
    )
    return positions


def _make_tiles(jobs: list[TileJob], workers: int) -> list[np.ndarray]:
    positions: dict[int, np.ndarray] = {}
    with (
        progress("simulating tiles", len(jobs), "tile") as advance,
        Workers(min(worker_count(workers), len(jobs)), _AGAIN) as pool,
    ):
        for number, found in pool.run(deque((_numbered, (number, job)) for number, job in enumerate(jobs))):
            positions[number] = found
            advance()
    return [positions[number] for number in range(len(jobs))]


def _numbered(number: int, job: TileJob) -> tuple[int, np.ndarray]:
    return number, make_tile(job)
