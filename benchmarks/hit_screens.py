"""Screens put together from untouched cells, with known phenotypes: in features, or planted on the pixels.

Letters: N cells of the pool, n of a screen, V features, K kinds of phenotypes, T traits.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

import bbbc021
import planted_simulated
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import load_config
from grape_ops.hits.cell_features import cell_features
from grape_ops.power.design import draw_shifts
from grape_ops.power.planted_store import Source, changed_crop, read_source, write_planted_store
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, WELL
from planted_bbbc021 import EFFECT_SIZE, settings

GENES, GUIDES, CELLS, CONTROL_GUIDES, BATCHES = 30, 4, 20, 16, 4
N_GUIDES = GENES * GUIDES + CONTROL_GUIDES
SIZE = 32  # pixels of a planted crop
SIMULATED_CELLS = 5000


@dataclass(frozen=True)
class Design:
    """How a screen is put together.

    Attributes
    ----------
    controls : control cells per batch.
    confounded : all cells of a gene lie on one batch.
    off_target : length of the shift of each guide, in that of a phenotype of size 1.
    effect : size of the genes' phenotypes; 1 is as planted.
    penetrance : share of a working guide's cells that show it.
    working : guides that work.
    """

    controls: int = 192
    confounded: bool = False
    off_target: float = 0.0
    effect: float = 0.0
    penetrance: float = 1.0
    working: int = GUIDES

    @property
    def null(self) -> "Design":
        """The same without phenotypes."""
        return replace(self, effect=0.0, penetrance=1.0, working=GUIDES)

    @property
    def name(self) -> str:
        """For the record."""
        if not self.effect:
            layout = "confounded" if self.confounded else "even"
            return f"{self.controls} controls per batch, {layout}, off-target {self.off_target:g}"
        guides = f"{self.working} of {GUIDES} guides work, {self.penetrance:.0%} of cells"
        return f"effect {self.effect:g}, off-target {self.off_target:g}, {guides}"


@dataclass(frozen=True)
class Screen:
    """Cells (n, V) with their guides and batches; guides of genes come first, those of controls last."""

    values: np.ndarray
    guides: np.ndarray
    batches: np.ndarray

    @property
    def controls(self) -> np.ndarray:
        """Which cells are controls: (n,) bool."""
        return self.guides >= GENES * GUIDES

    def of_gene(self, gene: int) -> np.ndarray:
        """The cells of a gene: (n,) bool."""
        return self.guides // GUIDES == gene


@dataclass(frozen=True)
class Layout:
    """Which cells a screen takes, and what is planted in them.

    Attributes
    ----------
    rows, guides, batches : (n,) cells of the pool, their guides and batches.
    shows : (n,) whether the cell shows its gene's phenotype.
    kinds : (GENES,) kind of each gene's phenotype.
    off_target : (N_GUIDES, K) weights of the kinds in each guide's own shift.
    """

    rows: np.ndarray
    guides: np.ndarray
    batches: np.ndarray
    shows: np.ndarray
    kinds: np.ndarray
    off_target: np.ndarray

    @classmethod
    def draw(cls, design: Design, by_batch: list[np.ndarray], kinds: int, seed: int) -> "Layout":
        """Take cells; none is taken twice."""
        rng = np.random.default_rng(seed)
        free = [list(rng.permutation(own)) for own in by_batch]
        drawn: list[tuple[int, int, int]] = []  # cell, guide, batch

        def take(guide: int, wanted: np.ndarray) -> None:
            for batch in wanted:
                own = batch if free[batch] else int(np.argmax([len(part) for part in free]))
                drawn.append((free[own].pop(), guide, own))

        for number in range(design.controls * BATCHES):
            take(GENES * GUIDES + int(rng.integers(CONTROL_GUIDES)), np.array([number % BATCHES]))
        for guide in range(GENES * GUIDES):
            home = guide // GUIDES % BATCHES
            take(guide, np.full(CELLS, home) if design.confounded else rng.integers(0, BATCHES, CELLS))
        rows, guides, batches = np.array(drawn).T
        of_gene = rng.integers(0, kinds, GENES)
        works = (guides < GENES * GUIDES) & (guides % GUIDES < design.working)
        shows = works & (rng.random(len(guides)) < design.penetrance)
        return cls(rows, guides, batches, shows, of_gene, rng.normal(size=(N_GUIDES, kinds)) / np.sqrt(kinds))

    def changes(self, design: Design, kinds: np.ndarray) -> np.ndarray:
        """What is added to each cell, if phenotypes are (K, X): -> (n, X)."""
        found = design.off_target * (self.off_target @ kinds)[self.guides]
        found[self.shows] += design.effect * kinds[self.kinds[self.guides[self.shows] // GUIDES]]
        return found


class Pool:
    """Untouched cells of at least ``BATCHES`` batches, and phenotypes to plant; what the folder holds is kept."""

    def __init__(self, folder: Path, simulated: bool):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "pool").exists():
            if simulated:
                planted_simulated.write_pool(folder / "pool", SIMULATED_CELLS)
            else:
                bbbc021.write_pool(folder / "pool")
        self.store = CropStore.open(folder / "pool")
        self.shrink = partial(bbbc021.resized, size=SIZE) if self.store.crop_size > SIZE else None

    @cached_property
    def source(self) -> Source:
        """Cells whose pixels can be changed."""
        return read_source(self.store)

    @cached_property
    def measured(self) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Image statistics (N, V) of the controls, those of each batch, and what planting changes in them (K, V)."""
        kept = self.folder / "measured.npz"
        if not kept.exists():
            np.savez(kept, **dict(zip(("values", "batches", "changes"), self._measure(), strict=True)))
        found = np.load(kept)
        return found["values"], _by_batch(found["batches"]), found["changes"]

    def _measure(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not (self.folder / "planted").exists():
            write_planted_store(self.source, settings(None), 0, self.folder / "planted", reshape=self.shrink)
        (features,) = cell_features(self.store, load_config())
        planted = CropStore.open(self.folder / "planted")
        (own,) = cell_features(planted, load_config())
        at = {name: column for column, name in enumerate(own.names)}
        kept = [column for column, name in enumerate(features.names) if name in at]
        cells = own.read(own.cells)[:, [at[features.names[column]] for column in kept]]
        control = cells[planted.labels == planted.control_label].mean(axis=0)
        genes = range(planted.control_label)
        changes = np.array([cells[planted.labels == gene].mean(axis=0) - control for gene in genes])
        controls = self.store.labels == self.store.control_label
        return features.read(features.cells)[controls][:, kept], self.store.batch_codes[controls], changes

    def screen(self, design: Design, seed: int) -> Screen:
        """A screen whose phenotypes are added to image statistics."""
        values, by_batch, kinds = self.measured
        layout = Layout.draw(design, by_batch, len(kinds), seed)
        return Screen(values[layout.rows] + layout.changes(design, kinds), layout.guides, layout.batches)

    def planted(self, design: Design, seed: int, out: Path) -> CropStore:
        """The same planted on the pixels, as a store; gene number 3 is called G03."""
        source, chosen = self.source, settings(None)
        kinds = EFFECT_SIZE * draw_shifts(len(source.traits), chosen, np.random.default_rng(0))
        layout = Layout.draw(design, _by_batch(source.batch_codes), len(kinds), seed)
        changes, rng = layout.changes(design, kinds), np.random.default_rng([seed, 1])
        crops = np.stack([self._crop(row, change, rng) for row, change in zip(layout.rows, changes, strict=True)])
        crops = crops if self.shrink is None else self.shrink(crops)
        control = layout.guides >= GENES * GUIDES
        genes = np.where(control, CONTROL_LABEL, [f"G{guide // GUIDES:02d}" for guide in layout.guides])
        shards = [f"batch{batch}" for batch in layout.batches]
        cells = pd.DataFrame({GENE: genes, GUIDE: [f"guide{guide:03d}" for guide in layout.guides], SHARD: shards})
        cells = cells.assign(**{PLATE: "P1", WELL: shards, BATCH: shards, IS_CONTROL: control})
        cells[ROW] = cells.groupby(SHARD).cumcount()
        by_shard = {str(name): crops[rows] for name, rows in cells.groupby(SHARD).indices.items()}
        write_store(out, by_shard, cells, self.store.channels)
        return CropStore.open(out)

    def _crop(self, place: int, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if change.any():
            return changed_crop(self.source, int(place), change, rng)
        return self.store.read([self.source.cells[place]])[0]


def _by_batch(batches: np.ndarray) -> list[np.ndarray]:
    """Cells of each of the largest batches."""
    return [np.flatnonzero(batches == batch) for batch in np.argsort(-np.bincount(batches))[:BATCHES]]
