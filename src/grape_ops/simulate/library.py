"""The simulated library: gene names, guides with uneven efficacy, and which genes belong together."""

import numpy as np
import pandas as pd

from grape_ops.config import SimulateSettings
from grape_ops.schema import COMPLEX, CONTROL_LABEL, GENE, GUIDE

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
