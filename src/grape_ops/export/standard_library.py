"""Guides in the words of the OPS Data Standard 0.1.0.

A gene's perturbation_id is its symbol; each control guide is a perturbation of its own, as in the standard's examples:
``nontargeting_BARCODE`` or ``intergenic_BARCODE``.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.config import ExportSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.text_tables import check_widths, find_column, is_missing, read_rows
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE, IS_CONTROL
from grape_ops.words import some_of

NON_TARGETING, INTERGENIC = "non-targeting", "intergenic"
PERTURBATION, BARCODE = "perturbation_id", "barcode"
SYMBOL_COLUMNS = (GENE, "symbol", "gene", "gene_name")
ENSEMBL_COLUMNS = ("ensembl_gene_id", "ensembl_id", "ensembl", "gene_id")
_PREFIX = {NON_TARGETING: CONTROL_LABEL, INTERGENIC: INTERGENIC}
_SEQUENCE = re.compile(r"[ACGT]+")
_PROTOSPACER = re.compile(r"[ACGT]{14,22}")
_ENSEMBL = re.compile(r"ENSG\d+")


@dataclass(frozen=True)
class StandardLibrary:
    """What the standard requires of the guides.

    Attributes
    ----------
    library : the content of perturbation_library.csv, one row per barcode; targeting guides first.
    barcode : barcode of each of the store's guides.
    """

    library: pd.DataFrame
    barcode: dict[str, str]


def describe_guides(store: CropStore, settings: ExportSettings) -> StandardLibrary:
    """Describe the guides of a store.

    Raises
    ------
    GrapeOpsError : a barcode or protospacer is no DNA sequence, a guide is against two genes, or a gene has no
        Ensembl id.
    """
    reported = [name for name in ("gene_id", "control_type") if name in store.cells]
    guides = store.cells[[GUIDE, GENE, IS_CONTROL, *reported]].drop_duplicates(GUIDE)
    pairs = store.cells[[GUIDE, GENE, IS_CONTROL]].drop_duplicates()
    twice = pairs[pairs.duplicated(GUIDE)][GUIDE].unique()
    if len(twice):
        raise GrapeOpsError(f"{len(twice)} guides are against more than one gene, among them {some_of(twice)}.")
    known = _read_library(settings.library) if settings.library else pd.DataFrame()
    symbols = _read_gene_ids(settings.gene_ids) if settings.gene_ids else {}
    rows = []
    for screened in guides.sort_values([IS_CONTROL, GENE, GUIDE]).to_dict("records"):
        guide, gene, control = screened[GUIDE], screened[GENE], screened[IS_CONTROL]
        own = known.loc[guide].to_dict() if guide in known.index else {}
        barcode = str(own.get(BARCODE) or guide).upper()
        kind = _control_type(str(own.get("control_type") or screened.get("control_type", "")), f"{gene} {guide}")
        rows.append(
            {
                PERTURBATION: f"{_PREFIX[kind]}_{barcode}" if control else gene,
                "gene_id": NON_TARGETING if control else _gene_id(gene, own, screened, symbols),
                "gene_symbol": NON_TARGETING if control else gene,
                BARCODE: barcode,
                "role": "control" if control else "targeting",
                "control_type": kind if control else "",
                "protospacer_sequence": str(own.get("protospacer_sequence") or guide).upper(),
                "protospacer_adjacent_motif": own.get("protospacer_adjacent_motif") or settings.motif,
                GUIDE: guide,
            }
        )
    library = pd.DataFrame(rows)
    _check(library)
    return StandardLibrary(library.drop(columns=GUIDE), dict(zip(library[GUIDE], library[BARCODE], strict=True)))


def _control_type(reported: str, names: str) -> str:
    """Tell intergenic controls from non-targeting ones, by what the tables say or else by the control's names."""
    return INTERGENIC if INTERGENIC in (names if is_missing(reported) else reported).lower() else NON_TARGETING


def _gene_id(gene: str, own: dict[str, str], screened: Mapping[Hashable, object], symbols: dict[str, str]) -> str:
    """Find the Ensembl id of a gene, without its version: in the library, the screen's table, the table of symbols."""
    screens = str(screened.get("gene_id", "")).split(".")[0]
    if not _ENSEMBL.fullmatch(screens):
        screens = ""  # Entrez numbers, which other pipelines write there
    itself = gene.split(".")[0]
    found = (own.get("gene_id", ""), screens, symbols.get(gene, ""), itself if _ENSEMBL.fullmatch(itself) else "")
    return next((str(name).split(".")[0] for name in found if not is_missing(str(name))), "")


def _read_gene_ids(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise GrapeOpsError(f"There is no table of gene ids {path}; export.gene_ids names it.")
    header, *rows = read_rows(path)
    symbol, ensembl = find_column(header, SYMBOL_COLUMNS), find_column(header, ENSEMBL_COLUMNS)
    if symbol is None or ensembl is None:
        raise GrapeOpsError(
            f"The table of gene ids {path} (export.gene_ids) needs a column for symbols "
            f"({', '.join(SYMBOL_COLUMNS)}) "
            f"and one for Ensembl ids ({', '.join(ENSEMBL_COLUMNS)}); it has {', '.join(header)[:300]}."
        )
    return {row[symbol]: row[ensembl] for row in rows if len(row) > max(symbol, ensembl)}


def _read_library(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise GrapeOpsError(f"There is no library {path}; export.library names it.")
    rows = read_rows(path)
    check_widths(path, rows, 1)
    table = pd.DataFrame(rows[1:], columns=list(rows[0]), dtype=object)
    key = next((name for name in (GUIDE, BARCODE, "protospacer_sequence") if name in table), None)
    if key is None:
        raise GrapeOpsError(
            f"The library {path} needs a column {GUIDE} or {BARCODE}; it has {', '.join(map(str, table))}."
        )
    if key == GUIDE and BARCODE not in table and "protospacer_sequence" not in table:
        table = table.assign(**{BARCODE: table[GUIDE]})
    return table.drop_duplicates(key).set_index(key, drop=False)


def _check(library: pd.DataFrame) -> None:
    mend = f"Name a table with {GUIDE}, {BARCODE} and protospacer_sequence: --set export.library=library.csv."
    for column, pattern, wanted in (
        (BARCODE, _SEQUENCE, "barcodes of the letters A, C, G and T"),
        ("protospacer_sequence", _PROTOSPACER, "protospacers of 14 to 22 letters A, C, G and T"),
    ):
        wrong = [value for value in library[column] if not pattern.fullmatch(value)]
        if wrong:
            raise GrapeOpsError(
                f"The OPS standard requires {wanted}; {len(wrong)} are not, as {some_of(wrong)}. {mend}"
            )
    if library[BARCODE].duplicated().any():
        again = library.loc[library[BARCODE].duplicated(), BARCODE].unique()
        raise GrapeOpsError(f"{len(again)} barcodes belong to more than one guide, as {some_of(again)}. {mend}")
    targeting = library[library["gene_id"] != NON_TARGETING]
    blank = targeting.loc[targeting["gene_id"] == "", "gene_symbol"].unique()
    if len(blank):
        raise GrapeOpsError(
            f"The OPS standard requires an Ensembl id of every gene; {len(blank)} of "
            f"{targeting['gene_symbol'].nunique()} genes have none, as {some_of(blank)}. Name a table of symbols and "
            "Ensembl ids, such as HGNC's complete set: --set export.gene_ids=FILE; or give gene_id in export.library."
        )
    wrong = [gene for gene in targeting["gene_id"].unique() if not _ENSEMBL.fullmatch(gene)]
    if wrong:
        raise GrapeOpsError(f"gene_id must be an Ensembl id such as ENSG00000186092; {some_of(wrong)} are not. {mend}")
    piped = [name for name in library[PERTURBATION] if "|" in name]
    if piped:
        raise GrapeOpsError(f"The OPS standard joins names by |; rename {some_of(piped)}.")
    formulas = [name for name in library[PERTURBATION] if name.startswith(("=", "+", "-", "@"))]
    if formulas:
        raise GrapeOpsError(
            f"Spreadsheets take {some_of(formulas)} for formulas; rename these genes before you export."
        )
