"""The simulated library and cells: genes, guides and complexes, and which cell carries which guide in which tile."""

import numpy as np
import pandas as pd

from grape_ops.config import SimulateSettings
from grape_ops.schema import COMPLEX, CONTROL_LABEL, GENE, GUIDE, PLATE, TILE, WELL

GUIDE_LENGTH = 20
WEAKEST_GUIDE = 0.5  # share of the full effect that the weakest working guide reaches

# Names only, so that maps and tables look like those of a real screen (EBI Complex Portal, CC0). The
# phenotypes planted under them are invented.
KNOWN_COMPLEXES: dict[str, str] = {
    "Anaphase-promoting complex": "ANAPC1 ANAPC10 ANAPC11 ANAPC13 ANAPC15 ANAPC2 ANAPC4 ANAPC5 ANAPC7 CDC16",
    "26S proteasome": "ADRM1 PSMA1 PSMA2 PSMA3 PSMA4 PSMA5 PSMA6 PSMA7 PSMB1 PSMB2",
    "Core mediator": "MED1 MED10 MED11 MED14 MED15 MED16 MED17 MED18 MED19 MED20",
    "Integrator": "INTS1 INTS10 INTS11 INTS12 INTS13 INTS14 INTS2 INTS3 INTS4 INTS5",
    "BAF chromatin remodelling": "ACTB ACTL6A SMARCA4 SMARCB1 SMARCC1 SMARCD1 SMARCD2 SMARCD3 SMARCE1",
    "COG tethering": "COG1 COG2 COG3 COG4 COG5 COG6 COG7 COG8",
    "CCT chaperonin": "CCT2 CCT3 CCT4 CCT5 CCT6A CCT7 CCT8 TCP1",
    "Exocyst": "EXOC1 EXOC2 EXOC3 EXOC4 EXOC5 EXOC7 EXOC8",
    "SF3B": "PHF5A SF3B1 SF3B2 SF3B3 SF3B4 SF3B5 SF3B6",
    "MCM2-7": "MCM2 MCM3 MCM4 MCM5 MCM6 MCM7",
    "Elongator": "ELP1 ELP2 ELP3 ELP4 ELP5 ELP6",
    "Condensin I": "NCAPD2 NCAPG NCAPH SMC2 SMC4",
    "Replication factor C": "RFC1 RFC2 RFC3 RFC4 RFC5",
    "Ragulator": "LAMTOR1 LAMTOR2 LAMTOR3 LAMTOR4 LAMTOR5",
}
# NONO comes first because its name looks like a control and is none.
LONE_NAMES = "NONO CEBPE EZH2 JMJD1C NCOR1 RASD2 SMURF2 TP53 RB1 PTEN KRAS MYC GATA3 SOX2 RUNX1 FOXA1"


def planted_complexes(settings: SimulateSettings) -> dict[str, tuple[str, ...]]:
    """Name the planted complexes and their members; generic names where the known complexes do not suffice."""
    size = settings.genes_per_complex
    split = {name: tuple(genes.split()) for name, genes in KNOWN_COMPLEXES.items()}
    known = {name: genes[:size] for name, genes in split.items() if len(genes) >= size}
    named = dict(list(known.items())[: settings.complexes])
    for index in range(len(named), settings.complexes):
        first = index * size
        named[f"Complex {index + 1}"] = tuple(f"GENE{first + member + 1:04d}" for member in range(size))
    return named


def lone_gene_names(settings: SimulateSettings) -> tuple[str, ...]:
    """Name the genes that are in no complex."""
    named = LONE_NAMES.split()[: settings.lone_genes]
    first = settings.complexes * settings.genes_per_complex + 1
    return (*named, *(f"GENE{first + index:04d}" for index in range(len(named), settings.lone_genes)))


def truth_table(complexes: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """One row per gene in a complex: gene_symbol, complex."""
    rows = [(gene, name) for name, genes in complexes.items() for gene in genes]
    return pd.DataFrame(rows, columns=[GENE, COMPLEX])


def draw_library(genes: tuple[str, ...], settings: SimulateSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the guides: -> table with gene_symbol, sgRNA, role, efficacy; controls last.

    Efficacy is 0 for a dud and for a control, and the share of the gene's full effect otherwise. A gene
    keeps at least one working guide unless all guides are asked to be duds.
    """
    per_gene = settings.guides_per_gene
    efficacy = rng.uniform(WEAKEST_GUIDE, 1.0, size=(len(genes), per_gene))
    dud = rng.uniform(size=efficacy.shape) < settings.dud_guides
    if settings.dud_guides < 1:
        dud[dud.all(axis=1), 0] = False
    efficacy[dud] = 0.0
    n_controls = settings.control_guides
    return pd.DataFrame(
        {
            GENE: [*np.repeat(genes, per_gene), *[CONTROL_LABEL] * n_controls],
            GUIDE: _draw_barcodes(len(genes) * per_gene + n_controls, rng),
            "role": ["targeting"] * efficacy.size + ["control"] * n_controls,
            "efficacy": [*efficacy.ravel().round(4), *[0.0] * n_controls],
        }
    )


def _draw_barcodes(n: int, rng: np.random.Generator) -> list[str]:
    barcodes: dict[str, None] = {}
    while len(barcodes) < n:
        barcodes["".join(rng.choice(list("ACGT"), size=GUIDE_LENGTH))] = None
    return list(barcodes)


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
    # A cell whose barcode was not read carries a guide like any other.
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
