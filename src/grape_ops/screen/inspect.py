"""What a folder holds before anything is computed: the layout, counts, and what is doubtful."""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import progress
from grape_ops.schema import GENE, GUIDE, IS_CONTROL, PLATE, SCREEN_FILE, TILE, WELL, X, Y
from grape_ops.screen.cell_rules import ghost_guides
from grape_ops.screen.crop_look import look_at_crops
from grape_ops.screen.dead_channels import doubts_of_channels
from grape_ops.screen.extent import Extent
from grape_ops.screen.inspection import Inspection
from grape_ops.screen.layouts import open_screen, recognise_layout
from grape_ops.screen.quality import doubts_of_columns
from grape_ops.screen.screen import Screen, TileHeader, known_pixel_size, tile_header
from grape_ops.screen.spelling import doubts_of_names
from grape_ops.screen.tile_pattern import PATH
from grape_ops.screen.zarr_tiles import ZarrTiles
from grape_ops.words import counted, some_of

HEADS = 2000  # tiles whose heads are looked at; of more, every n-th
FEW_CELLS, FEW_TILES = 50, 50
_LIKE_CONTROLS = ("ctrl", "control", "scramble", "aavs1", "luciferase", "lacz", "egfp", "empty", "olfactory")


def inspect_screen(
    root: Path,
    settings: ScreenSettings,
    batch_columns: Sequence[str] = (PLATE, WELL),
    look_further: Callable[[Inspection], None] = lambda _: None,
) -> Inspection:
    """Inspect a screen: the whole cell table, the headers of tiles, and pixels around a few control cells.

    Parameters
    ----------
    batch_columns : as ``preprocess.batch_columns``; each batch needs controls.
    look_further : adds to the findings what else is to be seen while the screen is open.

    Raises
    ------
    GrapeOpsError : the folder is of no layout, or its tables do not fit.
    """
    name = settings.layout if settings.layout != "auto" else recognise_layout(root) or "auto"
    with tempfile.TemporaryDirectory() as folder:
        screen = open_screen(root, settings, Path(folder))
        found = Inspection(name, screen, tiles=len(screen.tiles), quality=screen.cells.quality)
        heads = _look_at_heads(screen, found) if screen.read_crops is None else {}
        batches, with_controls, astray, extent = set(), set(), 0, Extent()
        for _, cells in screen.cells:
            astray += _count_well(cells, heads, found, extent)
            names = _batches(cells, batch_columns)
            batches |= set(names)
            with_controls |= set(names[cells[IS_CONTROL].to_numpy(bool)])
        if screen.read_crops is not None:
            found.size, doubts = look_at_crops(screen)
            found.doubts += doubts
        found.doubts += doubts_of_channels(screen)
        look_further(found)
    found.plates, found.wells = len({plate for plate, _ in screen.cells.wells}), len(screen.cells.wells)
    bare = sorted(batches - with_controls)
    if bare:
        found.doubts.append(
            f"{counted(len(bare), 'batches')} without controls: {some_of(bare, 5)}. Left out, unless "
            f"preprocess.batch_columns (now {', '.join(batch_columns)}) joins more cells, for example [{PLATE}]."
        )
    if astray:
        found.doubts.append(
            f"{counted(astray, 'cells outside their tile')}: are y and x the right columns (screen.columns), in "
            "tile pixels?"
        )
    found.doubts += extent.doubts(screen.pixel_size)
    found.doubts += _doubts(found, settings)
    return found


def _batches(cells: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    missing = [name for name in columns if name not in cells]
    if missing:
        raise GrapeOpsError(
            f"preprocess.batch_columns names {', '.join(missing)}; the table has: {', '.join(map(str, cells))}."
        )
    names = np.full(len(cells), "all" if not columns else "", dtype=object)
    for column in columns:
        names = names + np.where(names == "", "", "|") + cells[column].astype(str).to_numpy(object)
    return names


def _count_well(
    cells: pd.DataFrame, heads: dict[tuple[str, str, str], TileHeader], found: Inspection, extent: Extent
) -> int:
    """Add a well to the counts; returns how many of its cells lie outside tiles whose size is known."""
    control = cells[IS_CONTROL]
    found.cells += len(cells)
    found.controls += int(control.sum())
    found.control_names.update(cells.loc[control, GENE].tolist())
    found.genes.update(cells.loc[~control, GENE].tolist())
    found.guides.update(cells[GUIDE].tolist())
    astray = 0
    for key, own in cells.groupby([PLATE, WELL, TILE]):
        if head := heads.get((str(key[0]), str(key[1]), str(key[2]))):
            inside = own[Y].between(-0.5, head.height - 0.5) & own[X].between(-0.5, head.width - 0.5)
            astray += int((~inside).sum())
            extent.take(own, head)
    return astray


def _look_at_heads(screen: Screen, found: Inspection) -> dict[tuple[str, str, str], TileHeader]:
    """Read the headers of tiles, and note those that fail."""
    step = -(-len(screen.tiles) // HEADS)
    heads: dict[tuple[str, str, str], TileHeader] = {}
    failed: dict[str, list[str]] = {}
    types: Counter[str] = Counter()
    examples: dict[str, str] = {}
    with progress("Looking at tiles", -(-len(screen.tiles) // step), "tile") as advance:
        for _, tile in screen.tiles.iloc[::step].iterrows():
            try:
                head = tile_header(screen.read_tile, tile)
                heads[str(tile[PLATE]), str(tile[WELL]), str(tile[TILE])] = head
                types[head.dtype] += 1
                examples.setdefault(head.dtype, str(tile[PATH]))
            except GrapeOpsError as error:
                failed.setdefault(str(error).replace(str(tile[PATH]), ""), []).append(str(error))
            advance()
    if heads:
        sizes = Counter((head.height, head.width) for head in heads.values())
        found.size = sizes.most_common(1)[0][0]
        if len(sizes) > 1:
            listed = ", ".join(f"{height} x {width} ({count})" for (height, width), count in sizes.most_common())
            found.doubts.append(f"Tiles differ in size: {listed}.")
    if len(types) > 1:
        listed = ", ".join(f"{kind} ({count}, for example {examples[kind]})" for kind, count in types.most_common())
        found.doubts.append(
            f"Tiles differ in pixel type: {listed}. preprocess refuses them where they share a flat field or "
            "percentiles (preprocess.flat_field.columns, preprocess.intensity.columns); convert them to one."
        )
    if failed:
        count = sum(map(len, failed.values()))
        among = f" of {len(heads) + count} looked at" if step > 1 else ""
        examples_of = [why[0] + (f" (and {len(why) - 1} more such)" if len(why) > 1 else "") for why in failed.values()]
        found.doubts.append(f"{counted(count, 'tiles')}{among} missing or unreadable: {some_of(examples_of, 5)}")
    return heads


def _doubts(found: Inspection, settings: ScreenSettings) -> list[str]:
    doubts = []
    screen = found.screen
    few = [gene for gene, count in found.genes.items() if count < FEW_CELLS]
    if few:
        doubts.append(f"{counted(len(few), 'genes')} with fewer than {FEW_CELLS} cells: {some_of(few, 5)}.")
    alike = [gene for gene in found.genes if any(part in gene.lower() for part in _LIKE_CONTROLS)]
    if alike:
        doubts.append(f"Named like controls, but counted as genes: {some_of(alike, 5)}; see screen.control_pattern.")
    ghosts = ghost_guides(pd.Series(found.guides), settings.ghost_factor)
    if ghosts:
        cells = sum(found.guides[guide] for guide in ghosts)
        doubts.append(
            f"{counted(len(ghosts), 'guides')} with more than {settings.ghost_factor:g} times the cells of the median "
            f"guide ({cells:,} cells): {some_of(sorted(ghosts), 5)}. To leave them out: --set screen.ghost_guides=drop."
        )
    doubts += doubts_of_names(found.genes, found.guides)
    doubts += doubts_of_columns(found.quality)
    stated, given = known_pixel_size(screen), settings.pixel_size
    if stated and given and not np.isclose(stated, given, rtol=0.02):
        doubts.append(f"screen.pixel_size is {given:.4g} µm, and the images say {stated:.4g} µm; the setting wins.")
    if screen.channels == tuple(f"channel{index}" for index in range(len(screen.channels))):
        remedy = (
            f"Name them in {SCREEN_FILE}, by `channels: [DNA, …]`, beside `crops` and `cells`."
            if found.layout == "table"
            else "Where a setting needs a channel, such as features.nucleus_channel, give that name."
        )
        doubts.append(f"Nothing names the channels; they are called by their number, channel0 the first. {remedy}")
    if isinstance(screen.read_tile, ZarrTiles):
        doubts += screen.read_tile.doubts(screen.channels)
    if screen.read_crops is None and not screen.corrected and found.tiles < FEW_TILES * found.wells:
        doubts.append(
            f"A well has {found.tiles / max(found.wells, 1):.0f} tiles on average, perhaps too few for a flat field "
            "of its own. Where they are, preprocess goes without and says so; "
            f"--set preprocess.flat_field.columns=[{PLATE}] pools the wells of a plate."
        )
    return doubts
