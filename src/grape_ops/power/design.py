"""Pseudo-genes: what each changes in a cell, and which control cells become its cells.

Effects, places and cells have random streams of their own, so that more cells or stronger confounding leave the
phenotypes as they are. Legend: K pseudo-complexes, G pseudo-genes, T traits, B batches, N cells.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from grape_ops.config import CalibrateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.randomness import PlantingStream, generator
from grape_ops.schema import COMPLEX, GENE

MOST_CHANGE = 4.0  # standard deviations a single trait is moved at most


@dataclass(frozen=True)
class Design:
    """A screen to be planted.

    Attributes
    ----------
    genes, complexes : (G,) names; the complex of each gene.
    shifts : (G, T) change of each trait in a cell that shows the phenotype, in natural standard deviations.
    source : (N,) which of the candidate cells each cell of the screen is.
    labels : (N,) index into ``genes``, -1 for controls.
    guides : (N,) pseudo-guide of each cell, counted from 1; 0 for controls.
    shows : (N,) whether the cell shows its gene's phenotype.
    seed : what all of it was drawn by.
    """

    genes: tuple[str, ...]
    complexes: tuple[str, ...]
    shifts: np.ndarray
    source: np.ndarray
    labels: np.ndarray
    guides: np.ndarray
    shows: np.ndarray
    seed: int

    def truth(self) -> pd.DataFrame:
        """The table of a truth file: gene_symbol, complex."""
        return pd.DataFrame({GENE: self.genes, COMPLEX: self.complexes})

    def spots_rng(self, cell: int) -> np.random.Generator:
        """What draws the details of one cell's phenotype, whatever the order cells are made in."""
        return generator(self.seed, PlantingStream.SPOTS, cell)


def draw_design(batch_codes: np.ndarray, n_traits: int, settings: CalibrateSettings, seed: int) -> Design:
    """Draw a screen from candidate control cells.

    Parameters
    ----------
    batch_codes : (candidates,) batch of each control cell that may be used, in [0, B).
    n_traits : T.
    settings : sizes and strengths.
    seed : of everything drawn.

    Raises
    ------
    GrapeOpsError : there are too few cells or traits for the settings.
    """
    complexes = tuple(f"complex{k + 1:02d}" for k in range(settings.complexes))
    members = tuple(name for name in complexes for _ in range(settings.genes_per_complex))
    genes = tuple(f"PSEUDO{g + 1:03d}" for g in range(len(members)))
    n_genes, n_batches = len(genes), int(batch_codes.max(initial=-1)) + 1
    wanted = n_genes * settings.cells_per_gene + settings.control_cells
    if wanted > len(batch_codes):
        raise GrapeOpsError(
            f"{n_genes} pseudo-genes of {settings.cells_per_gene} cells and {settings.control_cells} controls take "
            f"{wanted} cells; {len(batch_codes)} control cells can be used. Lower calibrate.cells_per_gene, "
            "calibrate.genes_per_complex, calibrate.complexes or calibrate.control_cells."
        )
    capacity = np.bincount(batch_codes, minlength=n_batches)
    if settings.control_cells < n_batches:
        raise GrapeOpsError(f"{n_batches} batches need calibrate.control_cells of at least as many.")
    shifts = settings.effect_size * draw_shifts(n_traits, settings, generator(seed, PlantingStream.EFFECTS))
    counts = _draw_places(capacity, n_genes, settings, generator(seed, PlantingStream.BATCHES))
    return _deal(batch_codes, counts, genes, members, np.clip(shifts, -MOST_CHANGE, MOST_CHANGE), settings, seed)


def draw_shifts(n_traits: int, settings: CalibrateSettings, rng: np.random.Generator) -> np.ndarray:
    """Draw what each gene changes, length about 1: -> (G, T).

    A complex changes a few traits, taken from shuffled rounds so that complexes overlap as little as they can; each
    gene adds a few others of its own. ``private_share`` is the share of the squared length that is its own, so two
    genes of a complex have a cosine of about ``1 - private_share``.
    """
    shared_traits, own_traits = settings.traits_per_complex, settings.private_traits
    if shared_traits + own_traits > n_traits:
        raise GrapeOpsError(
            f"calibrate.traits_per_complex + calibrate.private_traits is {shared_traits + own_traits}, but cells with "
            f"these channels have {n_traits} traits."
        )
    rows, deck = [], np.empty(0, np.int64)
    for _ in range(settings.complexes):
        chosen: list[int] = []
        while len(chosen) < shared_traits:
            deck = deck if len(deck) else rng.permutation(n_traits)
            chosen += [int(deck[0])] if deck[0] not in chosen else []
            deck = deck[1:]
        shared = _direction(chosen, n_traits, rng)
        others = np.setdiff1d(np.arange(n_traits), chosen)
        for _ in range(settings.genes_per_complex):
            own = _direction(rng.choice(others, own_traits, replace=False), n_traits, rng)
            mixed = np.sqrt(1 - settings.private_share) * shared + np.sqrt(settings.private_share) * own
            rows.append(mixed * np.exp(settings.strength_spread * rng.standard_normal()))
    return np.array(rows)


def _direction(traits: list[int] | np.ndarray, n_traits: int, rng: np.random.Generator) -> np.ndarray:
    """A unit vector that rests on these traits, none of them negligible: -> (T,)."""
    direction = np.zeros(n_traits)
    direction[traits] = rng.choice([-1.0, 1.0], len(traits)) * rng.uniform(0.5, 1.0, len(traits))
    return direction / np.linalg.norm(direction)


def _draw_places(
    capacity: np.ndarray, n_genes: int, settings: CalibrateSettings, rng: np.random.Generator
) -> np.ndarray:
    """How many cells of each batch controls (row 0) and genes take: (B,) -> (1 + G, B)."""
    counts = np.zeros((1 + n_genes, len(capacity)), np.int64)
    spare = settings.control_cells - len(capacity)
    counts[0] = 1 + np.floor(spare * capacity / capacity.sum()).astype(np.int64)  # controls in every batch
    counts[0] = np.minimum(counts[0], capacity)
    free = capacity - counts[0]
    counts[0] += _take(settings.control_cells - int(counts[0].sum()), free, capacity / capacity.sum(), rng)
    free = capacity - counts[0]
    for gene in rng.permutation(n_genes):
        # A gamma draw each, scaled to 1, is a Dirichlet draw; the floor keeps tiny concentrations from 0 / 0.
        weight = np.maximum(rng.gamma(settings.confounding, size=len(capacity)), 1e-12)
        counts[1 + gene] = _take(settings.cells_per_gene, free, weight / weight.sum(), rng)
        free = free - counts[1 + gene]
    return counts


def _take(wanted: int, free: np.ndarray, preference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw cells by preference, from the next preferred batch where one is used up: -> (B,)."""
    taken = np.zeros_like(free)
    while (left := wanted - int(taken.sum())) > 0:
        open_to = np.where(free > taken, preference, 0)
        taken += np.minimum(rng.multinomial(left, open_to / open_to.sum()), free - taken)
    return taken


def _deal(
    batch_codes: np.ndarray,
    counts: np.ndarray,
    genes: tuple[str, ...],
    complexes: tuple[str, ...],
    shifts: np.ndarray,
    settings: CalibrateSettings,
    seed: int,
) -> Design:
    """Deal the cells of each batch out to controls and genes, each cell once."""
    rng = generator(seed, PlantingStream.CELLS)
    sources, labels = [], []
    for batch, wanted in enumerate(counts.T):
        shuffled = rng.permutation(np.flatnonzero(batch_codes == batch))[: wanted.sum()]
        sources.append(shuffled)
        labels.append(np.repeat(np.arange(-1, len(genes)), wanted))
    source, label = np.concatenate(sources), np.concatenate(labels)
    order = np.argsort(label, kind="stable")
    source, label = source[order], label[order]
    guides, shows = np.zeros(len(label), np.int64), np.zeros(len(label), bool)
    for gene in range(len(genes)):
        own = rng.permutation(np.flatnonzero(label == gene))
        guides[own] = np.arange(len(own)) % settings.guides_per_gene + 1
        shows[rng.permutation(own)[: round(settings.penetrance * len(own))]] = True
    return Design(genes, complexes, shifts, source, label, guides, shows, seed)
