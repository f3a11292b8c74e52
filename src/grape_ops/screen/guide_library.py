"""Which guide is against which gene, by a screen's library, and which cells are non-targeting controls.

Looking a guide up never makes several cells of one.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE
from grape_ops.screen.columns import CANDIDATES
from grape_ops.screen.quality import Tally
from grape_ops.screen.spelling import without_missing
from grape_ops.screen.table_files import read_whole

# Columns that mark controls beside the gene symbol, and the value they do it with.
MARKS = {"gene_id": "-1", "gene_id_0": "-1", "role": "control"}


def is_control(genes: pd.Series, pattern: str) -> pd.Series:
    """Mark the gene symbols that match a pattern, in any case: (N,) strings -> (N,) bool.

    Raises
    ------
    GrapeOpsError : the pattern is not a regular expression.
    """
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise GrapeOpsError(f"screen.control_pattern {pattern!r} is not a regular expression: {error}.") from None
    symbols = genes.astype(str)
    known = {symbol: compiled.search(symbol) is not None for symbol in symbols.unique()}
    return symbols.map(known).astype(bool)


def marked_as_control(table: pd.DataFrame) -> pd.Series:
    """Mark the rows that a gene_id of -1 or the role ``control`` declares: -> (N,) bool."""
    marked = pd.Series(False, index=table.index)
    for column, value in MARKS.items():
        if column in table:
            text = table[column].astype(str).str.strip().str.lower()
            marked |= text.str.removesuffix(".0") == value
    return marked


def find_controls(table: pd.DataFrame, genes: pd.Series, pattern: str) -> pd.Series:
    """Mark controls by gene symbol or by declaration: -> (N,) bool."""
    return is_control(genes, pattern) | marked_as_control(table)


def no_controls(genes: Collection[str], pattern: str, table: str = "", blank: int = 0) -> GrapeOpsError:
    """The error that a screen has no controls; nothing can be scaled without them.

    Parameters
    ----------
    table : the cell table's name.
    blank : guides that the library lists without a gene.
    """
    shown = ", ".join(sorted(map(str, genes))[:8])
    return GrapeOpsError(
        f"No cell of the table{table and f' {table}'} is a non-targeting control. The genes begin with: {shown}. If "
        f"controls have another name, give a regular expression for it as screen.control_pattern (now {pattern})."
        + (
            f" The library lists {blank} guides without a gene; if these are the controls, write nontargeting as their "
            "gene, or control into a column role."
            if blank
            else ""
        )
    )


_KEYS = (*CANDIDATES[GUIDE], "protospacer_sequence", "protospacer")
_GENES = (*CANDIDATES[GENE], "symbol")


@dataclass(frozen=True)
class GuideLibrary:
    """Guide -> gene, once each.

    Attributes
    ----------
    genes : gene of each guide.
    controls : guides that are non-targeting.
    quality : what the file itself has to be reported about.
    blank : guides without a gene that are not called controls either.
    unknown : what becomes of cells whose guide is not in it, "keep" or "drop".
    """

    genes: dict[str, str]
    controls: frozenset[str]
    quality: tuple[Tally, ...]
    unknown: str
    blank: int = 0

    def look_up(self, cells: pd.DataFrame, has_genes: bool) -> tuple[pd.DataFrame, list[Tally]]:
        """Give cells the gene of their guide; those of guides that are not listed lose or keep their own."""
        known = cells[GUIDE].isin(self.genes.keys())
        missing = ~known & (cells[GUIDE] != "")
        own = cells[GENE] if has_genes else pd.Series("", index=cells.index)
        fate = "keep" if has_genes and self.unknown == "keep" else "drop"
        genes = cells[GUIDE].map(self.genes).where(known, own if fate == "keep" else "unknown")
        genes = genes.where(cells[GUIDE] != "", "")
        what = "cells of guides that the library lacks"
        # Dropped ones are counted by the rule for unknown genes, which they now fall under.
        tallies = [Tally(what, int(missing.sum()), "kept" if fate == "keep" else "noted", "screen.unknown_genes")]
        return cells.assign(**{GENE: genes}), tallies


def read_library(path: Path, settings: ScreenSettings) -> GuideLibrary:
    """Read a library from a table with a column of guides and one of genes.

    Raises
    ------
    GrapeOpsError : the table cannot be read, or lacks one of the columns.
    """
    table = read_whole(path)
    lower = {str(name).lower(): name for name in table.columns}
    guide = next((lower[name.lower()] for name in _KEYS if name.lower() in lower), None)
    gene = next((lower[name.lower()] for name in _GENES if name.lower() in lower), None)
    if guide is None or gene is None:
        raise GrapeOpsError(
            f"The library {path} needs a column of guides ({', '.join(_KEYS)}) and one of genes ({', '.join(_GENES)}); "
            f"it has {', '.join(map(str, table.columns))}."
        )
    return make_library(table, guide, gene, settings)


def make_library(table: pd.DataFrame, guide: str, gene: str, settings: ScreenSettings) -> GuideLibrary:
    """Make a library of two columns of a table; of a guide that stands in it more than once the first row counts."""
    texts = {name: table[name].astype(str).str.strip() for name in (guide, gene)}
    table = table.assign(**{name: without_missing(text) for name, text in texts.items()})
    table = table[table[guide] != ""]
    control = find_controls(table, table[gene], settings.control_pattern)
    table[gene] = table[gene].where((table[gene] != "") | ~control, CONTROL_LABEL)
    first = ~table.duplicated(guide)
    of_several = table.groupby(guide)[gene].nunique()
    blank = int((table.loc[first, gene] == "").sum())
    return GuideLibrary(
        dict(zip(table.loc[first, guide], table.loc[first, gene], strict=True)),
        frozenset(table.loc[control, guide]),
        (
            Tally("rows of the library that repeat a guide", int((~first).sum()), "merged"),
            Tally("guides that the library gives to several genes", int((of_several > 1).sum()), "noted"),
            Tally("guides that the library lists without a gene", blank, "noted"),
        ),
        settings.unknown_genes,
        blank,
    )
