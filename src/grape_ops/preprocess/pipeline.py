"""From tiles to a crop store in two passes (section 3.2), resumable at every (plate, well).

The first pass (``measurement``) takes flat fields and percentiles, the second (``shards``) cuts the crops;
both read one tile at a time in each of several processes. What is finished is kept when the rest fails.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grape_ops.cells.writer import finish_store
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crops import outside
from grape_ops.preprocess.groups import TILE_KEY, batch_of_cells, group_of_tiles, tile_of_cells
from grape_ops.preprocess.illumination import FIELDS_FILE
from grape_ops.preprocess.measurement import Measurement, TileGroups, measure
from grape_ops.preprocess.problems import Problems
from grape_ops.preprocess.ready_crops import store_ready_crops
from grape_ops.preprocess.selection import count_quality, name_places, select_cells
from grape_ops.preprocess.shards import cut_shards
from grape_ops.preprocess.workers import Workers, worker_count
from grape_ops.preprocess.workplace import Plan, claim, tidy
from grape_ops.schema import GENE, GUIDE, IS_CONTROL, QUALITY_FILE, UNFINISHED_DIR, X, Y
from grape_ops.screen.quality import as_records
from grape_ops.screen.screen import Screen

LEAST_CROP, CROP_UNIT = 32, 8  # what the networks take
_NEEDED = (GENE, GUIDE, *TILE_KEY, Y, X, IS_CONTROL)


@dataclass(frozen=True)
class PreprocessReport:
    """Counts of a finished store; ``quality`` is all of its quality.json."""

    cells_in_table: int
    cells_kept: int
    cells_dropped: dict[str, int]
    genes: int
    batches: int
    quality: dict[str, Any]

    def __str__(self) -> str:
        """Say in a few lines what was kept, what was dropped and why, and where light was corrected."""
        lines = [
            f"Kept {self.cells_kept:,} of {self.cells_in_table:,} cells: {self.genes:,} genes and "
            f"{sum(self.quality['controls_per_batch'].values()):,} control cells in {self.batches:,} batches."
        ]
        lines += [f"Dropped {count:,} cells: {why}." for why, count in self.cells_dropped.items()]
        lines += [f"Left out: {problem['count']:,} {problem['what']}." for problem in self.quality["problems"]]
        fields = self.quality["flat_field"]
        if fields["groups"]:
            applied = ", ".join(f"{name} in {count}" for name, count in fields["applied"].items())
            lines.append(f"Flat field applied, of {fields['groups']} groups of tiles: {applied}.")
        else:
            lines.append("No flat field applied: preprocess.flat_field.enabled is off.")
        return "\n".join(lines)

    @classmethod
    def of(cls, quality: dict[str, Any]) -> "PreprocessReport":
        """Take the counts out of the content of quality.json."""
        genes = len(quality["cells_per_gene"]) - 1  # one of them stands for the controls
        return cls(
            quality["cells_in_table"],
            quality["cells_kept"],
            quality["cells_dropped"],
            genes,
            len(quality["cells_per_batch"]),
            quality,
        )


def preprocess(
    screen: Screen,
    out: str | Path,
    settings: PreprocessSettings,
    resume: bool = False,
    overwrite: bool = False,
) -> PreprocessReport:
    """Cut a screen into a crop store.

    Parameters
    ----------
    screen : what a layout read.
    out : folder of the store. If it holds a finished store of the same screen and settings, nothing is done.
    settings : see ``PreprocessSettings``.
    resume : go on with a half-written store.
    overwrite : replace a store that is there, finished or not.

    Raises
    ------
    GrapeOpsError : the screen has problems and ``on_problem`` is "stop", or ``out`` holds something else.
    """
    folder = Path(out)
    if screen.read_crops is not None:
        return PreprocessReport.of(store_ready_crops(screen, folder, settings, resume, overwrite))
    if screen.corrected and not settings.flat_field.again:
        none = settings.flat_field.model_copy(update={"enabled": False})
        settings = settings.model_copy(update={"flat_field": none})
    if settings.crop_size < LEAST_CROP or settings.crop_size % CROP_UNIT:
        warnings.warn(
            f"Crops of {settings.crop_size} px cannot be trained on: the networks take multiples of {CROP_UNIT} from "
            f"{LEAST_CROP} px up (preprocess.crop_size).",
            stacklevel=2,
        )
    missing = [column for column in _NEEDED if column not in screen.cells]
    if missing:
        raise GrapeOpsError(f"The screen's cell table lacks the columns {', '.join(missing)}.")
    plan = Plan.of(screen, settings)
    if claim(folder, plan, resume, overwrite):
        return PreprocessReport.of(json.loads((folder / QUALITY_FILE).read_text()))

    with Workers(worker_count(settings.workers)) as workers:
        quality = _make(screen, folder, plan, settings, workers)
    tidy(folder)
    return PreprocessReport.of(quality)


def _make(screen: Screen, folder: Path, plan: Plan, settings: PreprocessSettings, workers: Workers) -> dict[str, Any]:
    """Check the tables, run both passes and write the store; returns the quality counts."""
    problems = Problems(settings.on_problem)
    tile_of_cell = tile_of_cells(screen)
    batch = batch_of_cells(screen, tile_of_cell, settings.batch_columns)
    groups = _tile_groups(screen, tile_of_cell, settings)
    missing_tiles = _check_tables(screen, tile_of_cell, batch, problems)
    if settings.on_problem == "stop" and not any((folder / UNFINISHED_DIR).glob("block-*")):
        _glance(screen, tile_of_cell, problems)
    problems.settle()

    measurement = measure(screen, groups, folder / UNFINISHED_DIR, settings, workers)
    failed = [why for tile, why in sorted(measurement.unreadable.items()) if tile not in missing_tiles]
    problems.add("unreadable tiles", failed)
    selection = select_cells(screen, tile_of_cell, batch, measurement.shapes, settings, problems)
    problems.settle()
    if not len(selection.cells):
        raise GrapeOpsError(f"No cell is left to crop; of {len(screen.cells)} cells: {selection.dropped}.")

    shards = cut_shards(screen, folder, selection, groups, measurement, settings, workers)
    quality = count_quality(screen, selection)
    quality |= {"tiles_in_screen": len(screen.tiles), "tiles_missing": len(missing_tiles)}
    quality |= {"tiles_unreadable": len(failed), "problems": problems.listed()}
    quality |= {"tables": as_records(screen.quality)}
    quality |= {"flat_field": _agreement(screen, measurement, settings)}
    finish_store(
        folder,
        selection.cells,
        screen.channels,
        shards,
        settings.pixel_type,
        settings.crop_size,
        _scaling(measurement, settings),
        {"screen": screen.root.name, "screen_fingerprint": plan.screen, "settings": plan.settings},
        quality,
        beside=(FIELDS_FILE,),
    )
    return quality


def _tile_groups(screen: Screen, tile_of_cell: np.ndarray, settings: PreprocessSettings) -> TileGroups:
    field = group_of_tiles(screen, tile_of_cell, settings.flat_field.columns, "preprocess.flat_field.columns")
    scale = group_of_tiles(screen, tile_of_cell, settings.intensity.columns, "preprocess.intensity.columns")
    for names, setting in ((field, "flat_field"), (scale, "intensity")):
        used = np.unique(tile_of_cell[tile_of_cell >= 0])
        bare = used[names[used] == ""]
        if len(bare):
            tile = " ".join(screen.tiles[TILE_KEY].iloc[bare[0]].astype(str))
            raise GrapeOpsError(
                f"{len(bare)} tiles, among them {tile}, have no value in a column that "
                f"preprocess.{setting}.columns names."
            )
    return TileGroups(field, scale)


def _check_tables(screen: Screen, tile_of_cell: np.ndarray, batch: np.ndarray, problems: Problems) -> set[int]:
    """Note what the tables alone tell, before anything is computed; return the tiles without a file."""
    cells = screen.cells
    try:
        pa.Table.from_pandas(cells, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        # It would fail in the end, when the table is written beside all the crops.
        raise GrapeOpsError(f"A column of the cell table holds values of several kinds: {error.args[-1]}.") from None
    problems.add("cells without a gene symbol", [f"row {row}" for row in np.flatnonzero(cells[GENE].isna())])
    unlisted = cells.loc[tile_of_cell < 0, TILE_KEY].drop_duplicates()
    problems.add("tiles that only the cell table names", [" ".join(map(str, row)) for row in unlisted.to_numpy()])
    # A pattern with a channel in it is no file; its tiles are found missing when they are read.
    paths = [str(path) for path in screen.tiles["path"]]
    missing = {i for i, path in enumerate(paths) if "{" not in path and not (screen.root / path).exists()}
    problems.add("missing tiles", [paths[tile] for tile in sorted(missing)])
    bare = sorted(set(batch) - set(batch[cells[IS_CONTROL].to_numpy(bool)]))
    if problems.on_problem == "stop":  # otherwise they are counted once the cells are chosen
        problems.add("batches without control cells", bare)
    return missing


def _glance(screen: Screen, tile_of_cell: np.ndarray, problems: Problems) -> None:
    """Compare the cells of one tile with its size: wrong coordinates must not show after hours of reading only."""
    listed = tile_of_cell[tile_of_cell >= 0]
    if not len(listed):
        return
    try:
        height, width = screen.read_tile(screen.tiles.iloc[listed[0]]).shape[-2:]
    except GrapeOpsError:
        return  # the first pass reads all tiles, and reports all that cannot be read
    cells = screen.cells[tile_of_cell == listed[0]]
    astray = outside(cells[Y].to_numpy(float), cells[X].to_numpy(float), height, width)
    what = f"cells outside their tile, in the first tile of {height} x {width} pixels alone"
    problems.add(what, name_places(cells[astray]))


def _agreement(screen: Screen, measurement: Measurement, settings: PreprocessSettings) -> dict[str, Any]:
    """Tell in how many groups each channel's field was taken, and where it was not to be trusted."""
    if not settings.flat_field.enabled:
        return {"groups": 0, "applied": {}, "not_applied": []}
    threshold = settings.flat_field.min_agreement
    agreement = {group: field.agreement >= threshold for group, field in measurement.fields.items()}
    applied = {name: int(sum(ok[c] for ok in agreement.values())) for c, name in enumerate(screen.channels)}
    left = [
        f"{group} {name}"
        for group, ok in sorted(agreement.items())
        for c, name in enumerate(screen.channels)
        if not ok[c]
    ]
    return {"groups": len(agreement), "applied": applied, "not_applied": left}


def _scaling(measurement: Measurement, settings: PreprocessSettings) -> dict[str, Any]:
    scales = {
        group: {"low": scale[:, 0].tolist(), "high": scale[:, 1].tolist()}
        for group, scale in sorted(measurement.scales.items())
    }
    fields = {
        group: {"agreement": field.agreement.tolist(), "largest": field.grid.max(axis=(1, 2)).tolist()}
        for group, field in sorted(measurement.fields.items())
    }
    return {
        "meaning": "pixel / pixel_max = (raw / flat field - low) / (high - low), clipped to [0, 1]",
        "percentiles": [settings.intensity.lower, settings.intensity.upper],
        "groups": scales,
        "flat_fields": fields,
    }
