"""Which cells of a table stay: barcodes that are doubtful, cells in division, rows that repeat a cell.

Each rule looks for columns of the field's pipelines and does nothing where they are missing, so that it does
not matter by which layout a table came. What a rule finds is counted whether it is dropped or kept.
Legend: N rows of a table.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.schema import CLASS, GENE, GUIDE, PLATE, TILE, WELL, X, Y
from grape_ops.screen.quality import Tally

UNKNOWN = re.compile(r"(unknown|unmapped|unassigned|not[ _-]?mapped|ambiguous|multiple)", re.IGNORECASE)
_DIVIDING = re.compile(r"(mitotic|mitosis|(pro|meta|ana|telo)phase)", re.IGNORECASE)
_SECOND_GUIDES = ("sgRNA_1", "cell_barcode_1", "barcode_1")
PERISCOPE_QUALITY, PERISCOPE_GOOD = "Metadata_Foci_Cell_Quality", ("Perfect", "Great")
LEAST_CORRELATION = 0.9  # SCALLOPS: of the images of barcodes and of the phenotype around a nucleus

# Columns of the user's table that the rules read, besides our own.
READ_BY_RULES = (
    *_SECOND_GUIDES,
    "gene_symbol_1",
    "mapped_single_gene",
    "Q_min_0",
    "barcode_Q_mean_0",
    "barcode_Q_mean",
    "Nuclei_Correlation_PearsonBox_ISS_PHENO",
    PERISCOPE_QUALITY,
)


@dataclass(frozen=True)
class Finding:
    """What a rule found: which rows (N,), what to call them, and the setting and its value that decide."""

    rows: pd.Series
    what: str
    setting: str
    fate: str


def sift(table: pd.DataFrame, cells: pd.DataFrame, settings: ScreenSettings) -> tuple[pd.Series, list[Tally]]:
    """Apply the rules that look at one row at a time; a row is counted by the first rule that drops it.

    Parameters
    ----------
    table : rows of the user's table.
    cells : the same rows in our columns.

    Returns
    -------
    (N,) bool, the rows that stay, and what was found.
    """
    stay = pd.Series(True, index=cells.index)
    tallies = []
    for rule in (_unidentified, _unknown_genes, _low_quality, _two_barcodes, _dividing):
        for finding in rule(table, cells, settings):
            fresh = finding.rows & stay
            dropped = finding.fate == "drop"
            tallies.append(Tally(finding.what, int(fresh.sum()), "dropped" if dropped else "kept", finding.setting))
            stay &= ~(fresh & dropped)
    return stay, tallies


def _unidentified(_: pd.DataFrame, cells: pd.DataFrame, __: ScreenSettings) -> Iterator[Finding]:
    yield Finding((cells[GENE] == "") | (cells[GUIDE] == ""), "cells without a gene or a guide", "", "drop")


def _unknown_genes(_: pd.DataFrame, cells: pd.DataFrame, settings: ScreenSettings) -> Iterator[Finding]:
    names = {gene: UNKNOWN.fullmatch(gene) is not None for gene in cells[GENE].unique()}
    rows = cells[GENE].map(names).astype(bool)
    yield Finding(rows, "cells of unknown genes", "screen.unknown_genes", settings.unknown_genes)


def _low_quality(table: pd.DataFrame, cells: pd.DataFrame, settings: ScreenSettings) -> Iterator[Finding]:
    setting, fate = "screen.low_quality", settings.low_quality
    if PERISCOPE_QUALITY in table:
        rows = ~table[PERISCOPE_QUALITY].isin(PERISCOPE_GOOD)
        yield Finding(rows, f"cells whose call is not {' or '.join(PERISCOPE_GOOD)}", setting, fate)
    if {"barcode_Q_mean_0", "barcode_Q_mean"} <= set(table):
        share = _number(table["barcode_Q_mean_0"]) / _number(table["barcode_Q_mean"])
        rows = pd.Series(~np.isclose(share, 1), index=table.index)
        yield Finding(rows, "cells with reads of other barcodes", setting, fate)
    if "Nuclei_Correlation_PearsonBox_ISS_PHENO" in table:
        rows = ~(_number(table["Nuclei_Correlation_PearsonBox_ISS_PHENO"]) > LEAST_CORRELATION)
        yield Finding(rows, "cells whose barcode and phenotype images do not match", setting, fate)
    if "Q_min_0" in table:
        rows = _number(table["Q_min_0"]) < settings.min_barcode_quality
        yield Finding(rows, "cells of a barcode quality below the least", "screen.min_barcode_quality", "drop")


def _two_barcodes(table: pd.DataFrame, cells: pd.DataFrame, settings: ScreenSettings) -> Iterator[Finding]:
    rows = pd.Series(False, index=table.index)
    if "mapped_single_gene" in table:
        rows |= table["mapped_single_gene"].astype(str).str.lower().isin(["false", "0", "0.0"])
    second = next((name for name in _SECOND_GUIDES if name in table), None)
    if second is not None:
        other = table[second].astype(str).where(table[second].notna(), "").str.strip()
        differs = (other != "") & (other != cells[GUIDE])
        if "gene_symbol_1" in table:  # two barcodes of one gene tell one story
            differs &= table["gene_symbol_1"].astype(str).str.strip() != cells[GENE]
        rows |= differs
    yield Finding(rows, "cells with two barcodes", "screen.double_barcodes", settings.double_barcodes)


def _dividing(_: pd.DataFrame, cells: pd.DataFrame, settings: ScreenSettings) -> Iterator[Finding]:
    if CLASS in cells:
        names = {name: _DIVIDING.search(name) is not None for name in cells[CLASS].unique()}
        yield Finding(cells[CLASS].map(names).astype(bool), "mitotic cells", "screen.mitotic", settings.mitotic)


def sift_well(cells: pd.DataFrame, ghosts: frozenset[str], settings: ScreenSettings) -> tuple[pd.Series, list[Tally]]:
    """Apply the rules that compare rows of one well, or need what is known of the whole screen.

    Parameters
    ----------
    cells : all cells of a well, or of several, in our columns.
    ghosts : guides found by ``ghost_guides``.
    """
    stay = pd.Series(True, index=cells.index)
    tallies = []

    def find(rows: pd.Series, what: str, setting: str, fate: str) -> None:
        nonlocal stay
        fresh = rows & stay
        tallies.append(Tally(what, int(fresh.sum()), "dropped" if fate == "drop" else "kept", setting))
        if fate == "drop":
            stay &= ~fresh

    place = [name for name in (PLATE, WELL, TILE, Y, X) if name in cells]
    if Y in place:
        repeated = cells.duplicated([*place, GENE, GUIDE])
        find(repeated, "rows that repeat a cell", "screen.repeated_cells", settings.repeated_cells)
        genes = cells[~repeated].groupby(place, sort=False)[GENE].transform("nunique").reindex(cells.index)
        find(genes > 1, "cells with two barcodes", "screen.double_barcodes", settings.double_barcodes)
    find(cells[GUIDE].isin(ghosts), "cells of ghost guides", "screen.ghost_guides", settings.ghost_guides)
    return stay, tallies


def _number(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce").astype(float)


def ghost_guides(counts: pd.Series, factor: float) -> frozenset[str]:
    """Find guides with so many more cells than the median guide that no knock-out explains it: guide -> cells."""
    if len(counts) < 3:
        return frozenset()
    return frozenset(counts.index[counts > factor * counts.median()])
