"""Write a planted screen as an ordinary crop store, with the truth beside it.

Legend: N cells of the source, C channels, S crop size, T traits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import draft_folder_of
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import finish_shard, finish_store, put_crops, shard_names, start_shard
from grape_ops.config import CalibrateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.features import nucleus_channel
from grape_ops.power.design import Design, draw_design
from grape_ops.power.planting import plant
from grape_ops.power.traits import Anatomy, Trait, find_anatomy, list_traits, measure, natural_spread
from grape_ops.progress import progress
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, TRUTH_FILE, WELL

TRAITS_FILE = "traits.tsv"  # what was planted in each pseudo-gene
SOURCE = "source"  # index of the cell in the store it was taken from
SHOWS = "shows_effect"
MOST_EXAMINED = 50_000  # control cells that are looked at, a minute or so
MEASURED = 600  # control cells that natural spreads are measured on
BACKGROUND = 0.01  # quantile of a batch's control pixels that stands for no light
_AT_ONCE = 256


@dataclass(frozen=True)
class Source:
    """Control cells of a screen, ready to be planted in.

    Attributes
    ----------
    store : where their pixels are.
    cells : (n,) indices of control cells with a whole nucleus in the middle of the crop.
    traits : what can be changed.
    spread : (T,) natural standard deviation of each trait.
    background : (B, C) pixels without light.
    nuclear : channel of the nucleus.
    unusable : examined control cells that were left out.
    """

    store: CropStore
    cells: np.ndarray
    traits: tuple[Trait, ...]
    spread: np.ndarray
    background: np.ndarray
    nuclear: int
    unusable: int

    @property
    def batch_codes(self) -> np.ndarray:
        """Batch of each usable cell: (n,)."""
        return self.store.batch_codes[self.cells]

    def anatomy(self, cell: int) -> Anatomy:
        """Where a usable cell lies; found again, since a large screen's would not fit into memory."""
        found = find_anatomy(self.store.read([self.cells[cell]])[0, self.nuclear])
        assert found is not None, "only cells with a whole nucleus are usable"
        return found

    def light(self, cell: int) -> np.ndarray:
        """Light above background of a usable cell: -> (C, S, S) float32."""
        index = self.cells[cell]
        floor = self.background[self.store.batch_codes[index]][:, None, None]
        return self.store.read([index])[0].astype(np.float32) - floor


def read_source(store: CropStore, nucleus: str | None = None) -> Source:
    """Find the usable control cells of a store, and how much their traits differ; ``nucleus`` names its channel.

    Raises
    ------
    GrapeOpsError : no channel shows the nucleus, or hardly any cell has one in its crop.
    """
    nuclear = nucleus_channel(store.channels, nucleus)
    controls = np.flatnonzero(store.labels == store.control_label)
    if len(controls) > MOST_EXAMINED:
        controls = np.sort(np.random.default_rng(0).permutation(controls)[:MOST_EXAMINED])
    cells = []
    with progress("Nuclei of control cells", len(controls), "cell") as advance:
        for first in range(0, len(controls), _AT_ONCE):
            chosen = controls[first : first + _AT_ONCE]
            for cell, crop in zip(chosen, store.read(chosen)[:, nuclear], strict=True):
                if find_anatomy(crop) is not None:
                    cells.append(cell)
            advance(len(chosen))
    if len(cells) < 2 * len(store.batches):
        raise GrapeOpsError(
            f"Of {len(controls)} control cells {len(cells)} have a whole nucleus in the middle of the crop, in channel "
            f"{store.channels[nuclear]}. Is it the channel of the nucleus (features.nucleus_channel), and does the "
            "crop hold a whole nucleus (preprocess.crop_size)?"
        )
    traits = list_traits(store.channels, nuclear)
    background = _background(store, controls)
    bare = Source(
        store=store,
        cells=np.array(cells),
        traits=traits,
        spread=np.ones(len(traits)),
        background=background,
        nuclear=nuclear,
        unusable=len(controls) - len(cells),
    )
    some = np.random.default_rng(0).permutation(len(cells))[:MEASURED]
    measured = np.array([measure(bare.light(i), bare.anatomy(i), traits, nuclear) for i in some])
    return replace(bare, spread=natural_spread(measured, bare.batch_codes[some]))


def _background(store: CropStore, controls: np.ndarray) -> np.ndarray:
    floors = np.zeros((len(store.batches), len(store.channels)), np.float32)
    for code in range(len(store.batches)):
        own = controls[store.batch_codes[controls] == code][:_AT_ONCE]
        if len(own):
            floors[code] = np.quantile(store.read(own), BACKGROUND, axis=(0, 2, 3))
    return floors


def planted_crop(source: Source, design: Design, cell: int) -> np.ndarray:
    """Make one cell of a planted screen: -> (C, S, S) in the source store's integers."""
    place = int(design.source[cell])
    if not design.shows[cell]:
        return source.store.read([source.cells[place]])[0]
    return changed_crop(source, place, design.shifts[design.labels[cell]], design.spots_rng(cell))


def changed_crop(source: Source, place: int, shifts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Plant a change (T,), in natural standard deviations, in a usable cell: -> (C, S, S) in the store's integers."""
    changes = shifts * source.spread
    light = plant(source.light(place), source.anatomy(place), source.traits, changes, source.nuclear, rng)
    pixels = light + source.background[source.batch_codes[place]][:, None, None]
    return np.clip(np.rint(pixels), 0, source.store.pixel_max).astype(source.store.pixel_type)


def write_planted_store(
    source: Source,
    settings: CalibrateSettings,
    seed: int,
    out: Path,
    reshape: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Design:
    """Draw a screen, plant it, and write it as a crop store with ``truth.tsv`` and ``traits.tsv`` beside.

    Parameters
    ----------
    source : control cells to take.
    settings : sizes and strengths.
    seed : of everything drawn.
    out : folder of the store, new or empty; it appears when it is complete.
    reshape : changes the planted crops before they are written, (n, C, S, S) -> (n, C, s, s).

    Raises
    ------
    GrapeOpsError : the folder is in use, or there are too few cells.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GrapeOpsError(f"{out} exists already and is not an empty folder; name a new one for the planted store.")
    design = draw_design(source.batch_codes, len(source.traits), settings, seed)
    cells = _table(source, design)
    with draft_folder_of(out) as draft:
        records, size = _write_shards(source, design, cells, draft, reshape)
        spreadsheet_safe(design.truth()).to_csv(draft / TRUTH_FILE, sep="\t", index=False)
        spreadsheet_safe(_planted_traits(source, design)).to_csv(draft / TRAITS_FILE, sep="\t", index=False)
        finish_store(
            draft,
            cells,
            source.store.channels,
            records,
            source.store.pixel_type,
            size,
            source.store.meta["scaling"],
            {"planted": settings.model_dump(mode="json") | {"seed": seed}},
            {"control_cells_without_a_whole_nucleus": source.unusable},
            beside=(TRUTH_FILE, TRAITS_FILE),
        )
    return design


def _write_shards(
    source: Source,
    design: Design,
    cells: pd.DataFrame,
    folder: Path,
    reshape: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[dict[str, dict[str, Any]], int]:
    """Plant and write the crops of all cells: -> the record of each shard, and the size of a crop."""
    records, size = {}, 0
    with progress("Planting", len(cells), "cell") as advance:
        for name, rows in cells.groupby(SHARD, sort=True).indices.items():
            file, offset, done = Path(), 0, 0
            for first in range(0, len(rows), _AT_ONCE):
                chosen = rows[first : first + _AT_ONCE]
                crops = np.stack([planted_crop(source, design, cell) for cell in chosen])
                crops = crops if reshape is None else reshape(crops)
                if not done:
                    shape = (len(rows), *crops.shape[1:])
                    file, offset = start_shard(folder, str(name), shape, source.store.pixel_type)
                put_crops(file, offset, done, crops)
                done, size = done + len(crops), crops.shape[-1]
                advance(len(crops))
            records[str(name)] = finish_shard(folder, str(name), cells.iloc[rows], {})
    return records, size


def _table(source: Source, design: Design) -> pd.DataFrame:
    """The cell table of a planted screen, in the order of the design."""
    indices = source.cells[design.source]
    old = source.store.cells.iloc[indices].reset_index(drop=True)
    is_control = design.labels < 0
    genes = np.array([*design.genes, CONTROL_LABEL])[design.labels]
    guides = [f"{gene}_{guide}" for gene, guide in zip(genes, design.guides, strict=True)]
    cells = old.assign(
        **{GENE: genes, GUIDE: np.where(is_control, old[GUIDE], guides), IS_CONTROL: is_control},
        **{SOURCE: indices, SHOWS: design.shows},
    )
    names = shard_names(zip(cells[PLATE].astype(str), cells[WELL].astype(str), strict=True))
    cells[SHARD] = [names[place] for place in zip(cells[PLATE].astype(str), cells[WELL].astype(str), strict=True)]
    cells[ROW] = cells.groupby(SHARD).cumcount()
    order = [GENE, GUIDE, PLATE, WELL, IS_CONTROL, BATCH, SHARD, ROW]
    return cells[[*order, *(column for column in cells if column not in order)]]


def _planted_traits(source: Source, design: Design) -> pd.DataFrame:
    """What each pseudo-gene changes, in natural standard deviations, and what one of them is."""
    table = pd.DataFrame(design.shifts, columns=[trait.name for trait in source.traits]).round(4)
    table.insert(0, GENE, design.genes)
    unit = dict(zip(table.columns[1:], source.spread.round(5), strict=True)) | {GENE: "natural_sd"}
    return pd.concat([table, pd.DataFrame([unit])], ignore_index=True)
