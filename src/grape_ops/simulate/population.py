"""Which cell carries which guide, lies in which well and tile, and how strongly its knock-out shows."""

import numpy as np
import pandas as pd

from grape_ops.config import SimulateSettings
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE, PLATE, TILE, WELL

_ROWS = "ABCDEFGHIJKLMNOP"
_WELLS_IN_A_ROW = 3  # six-well plates: A1 to B3

# Dirichlet concentration of cells over the guides of a gene: libraries are never even.
_GUIDE_EVENNESS = 20.0


def well_names(n: int) -> list[str]:
    """Name the wells of a plate: A1, A2, A3, B1, ..."""
    return [
        f"{_ROWS[i // _WELLS_IN_A_ROW % len(_ROWS)]}{i % _WELLS_IN_A_ROW + 1 + i // (3 * len(_ROWS)) * 3}"
        for i in range(n)
    ]


def draw_population(
    library: pd.DataFrame,
    genes: tuple[str, ...],
    gene_shifts: np.ndarray,
    cells_per_tile: int,
    settings: SimulateSettings,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw all cells of the screen.

    Parameters
    ----------
    library : the guides, from ``draw_library``.
    genes : gene of each row of ``gene_shifts``.
    gene_shifts : (genes, traits) full shift of each gene.
    cells_per_tile : how many cells a tile should hold.
    settings : numbers of cells, penetrance, confounding, share of unidentified cells.
    rng : everything is drawn from it.

    Returns
    -------
    cells : gene_symbol, sgRNA, plate, well, tile, sorted by plate, well and tile; unidentified cells have
        an empty sgRNA and gene_symbol.
    shifts : (cells, traits) what the knock-out adds to each cell's traits.
    """
    guide, well = _draw_guides_and_wells(library, genes, settings, rng)
    # A cell nobody read the barcode of carries a guide like any other.
    hidden_share = settings.unidentified_share
    n_hidden = round(len(guide) * hidden_share / (1 - hidden_share))
    copied = rng.integers(0, len(guide), n_hidden)
    guide, well = np.concatenate([guide, guide[copied]]), np.concatenate([well, well[copied]])
    hidden = np.arange(len(guide)) >= len(guide) - n_hidden

    row_of_gene = {gene: row for row, gene in enumerate(genes)}
    shift_of_guide = np.zeros((len(library), gene_shifts.shape[1]))
    for row, (gene, efficacy) in enumerate(zip(library[GENE], library["efficacy"], strict=True)):
        if gene in row_of_gene:
            shift_of_guide[row] = efficacy * gene_shifts[row_of_gene[gene]]
    shows = rng.uniform(size=len(guide)) < settings.penetrance

    order, tile = _deal_into_tiles(well, cells_per_tile, rng)
    guide, well, hidden, shows = guide[order], well[order], hidden[order], shows[order]
    names = well_names(settings.wells_per_plate)
    cells = pd.DataFrame(
        {
            GENE: np.where(hidden, "", library[GENE].to_numpy(dtype=object)[guide]),
            GUIDE: np.where(hidden, "", library[GUIDE].to_numpy(dtype=object)[guide]),
            PLATE: [f"P{w // settings.wells_per_plate + 1}" for w in well],
            WELL: [names[w % settings.wells_per_plate] for w in well],
            TILE: tile.astype(str),
        }
    )
    return cells, shift_of_guide[guide] * shows[:, None]


def _draw_guides_and_wells(
    library: pd.DataFrame, genes: tuple[str, ...], settings: SimulateSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Row of the library and number of the well of every identified cell."""
    n_wells = settings.plates * settings.wells_per_plate
    abundance = rng.dirichlet(np.full(len(genes), 30.0))
    counts = rng.multinomial(len(genes) * settings.cells_per_gene, abundance)
    guides, wells = [], []
    for row, count in enumerate(counts):
        first = row * settings.guides_per_gene
        share = rng.dirichlet(np.full(settings.guides_per_gene, _GUIDE_EVENNESS))
        guides.append(first + rng.choice(settings.guides_per_gene, size=count, p=share))
        wells.append(rng.choice(n_wells, size=count, p=rng.dirichlet(np.full(n_wells, settings.confounding))))
    # Controls are dealt evenly, as every batch is scaled by its own controls.
    first = int(np.argmax(library[GENE].to_numpy() == CONTROL_LABEL))
    dealt = np.arange(settings.control_cells)
    guides.append(first + rng.permutation(dealt % settings.control_guides))
    wells.append(dealt % n_wells)
    return np.concatenate(guides), np.concatenate(wells)


def _deal_into_tiles(well: np.ndarray, cells_per_tile: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Order of the cells by well and tile, and the number of the tile in its well of each, in that order."""
    order, tiles = [], []
    for number in np.unique(well):
        members = rng.permutation(np.flatnonzero(well == number))
        n_tiles = max(1, round(len(members) / cells_per_tile))
        order.append(members)
        tiles.append(np.sort(np.arange(len(members)) % n_tiles))
    return np.concatenate(order), np.concatenate(tiles)
