"""Which guide is against which gene, by a screen's library, and which cells are non-targeting controls.

Looking a guide up never makes several cells of one.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.names import visible_form
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE, IS_CONTROL
from grape_ops.screen.columns import CANDIDATES
from grape_ops.screen.quality import NamedCounts, Tally
from grape_ops.screen.spelling import MISSING, clean_texts, without_missing
from grape_ops.screen.table_files import read_whole

_OF_CONTROLS = r"(negative|neg|no[nt][-_ ]?target\w*|safe[-_ ]?\w*|intergenic\w*|scrambled?|ntc?s?)"
_CONTROL_ROLE = re.compile(
    rf"{_OF_CONTROLS}?[-_ ]*(control|ctrl)s?|(control|ctrl)s?[-_: ]+{_OF_CONTROLS}|{_OF_CONTROLS}"
)
_OTHER_ROLE = re.compile(
    r"(on[-_ ]?)?target(ing|ed|s)?([-_ ]?guides?)?|genes?([-_ ]?targeting)?|pos(itive)?[-_ ]*((control|ctrl)s?)?"
    r"|perturb(ed|ations?)|tests?|samples?|treatments?|experiment(al)?|knock[-_ ]?(out|down)s?|essentials?"
)
_YES, _NO = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}


def _role(value: str) -> bool | None:
    return True if _CONTROL_ROLE.fullmatch(value) else False if _OTHER_ROLE.fullmatch(value) else None


def _yes_or_no(value: str) -> bool | None:
    return True if value in _YES else False if value in _NO else None


# Columns that mark controls beside the gene symbol, and what their values say: whether it is one, None what is unknown.
_SIGNS: dict[str, Callable[[str], bool | None]] = {"role": _role, IS_CONTROL: _yes_or_no}
_GENE_IDS = ("gene_id", "gene_id_0")  # -1 is that of a control, and of a gene it says nothing
MARKS = (*_GENE_IDS, *_SIGNS)


def marking_columns(columns: Collection[object]) -> dict[str, str]:
    """Columns of a table, in any case, that mark controls: theirs -> one of ``MARKS``."""
    return {str(column): str(column).lower() for column in columns if str(column).lower() in MARKS}


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


def find_controls(
    table: pd.DataFrame, genes: pd.Series, pattern: str, told: NamedCounts | None = None, what: str = "cells"
) -> pd.Series:
    """Mark controls by gene symbol, a gene_id of -1, a role or ``is_control``: -> (N,) bool. One sign is enough.

    Parameters
    ----------
    told : gets where the signs contradict each other, and values that say neither.
    what : the rows of the table, for these counts.
    """
    told = NamedCounts() if told is None else told
    by_name = is_control(genes, pattern)
    found = by_name.copy()
    for column, mark in marking_columns(table.columns).items():
        codes, values = pd.factorize(table[column], use_na_sentinel=False)
        texts = [str(value).strip().lower().removesuffix(".0") for value in values]
        if mark in _GENE_IDS:
            found |= np.array([text == "-1" for text in texts], bool)[codes]
            continue
        said = [_SIGNS[mark](text) for text in texts]
        yes, no = (np.array([answer is sign for answer in said], bool)[codes] for sign in (True, False))
        found |= yes
        strange = [answer is None and text not in MISSING for answer, text in zip(said, texts, strict=True)]
        told.add(
            f"{what} whose {column} says neither that they are controls nor that they are none",
            [str(values[code]) for code in codes[np.array(strange, bool)[codes]]],
            "doubted",
        )
        told.add(
            f"{what} named like controls that {column} calls none; they count as controls",
            genes[by_name & no],
            "doubted",
            "screen.control_pattern",
        )
        told.add(f"{what} that {column} makes controls, not their name", genes[~by_name & yes & (genes != "")], "noted")
    return found


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
    told = NamedCounts()
    for name in (guide, gene):
        texts, changed = clean_texts(table[name].astype(str))
        told.add(
            "names of the library that held invisible characters", map(visible_form, table[name][changed]), "renamed"
        )
        table = table.assign(**{name: without_missing(texts)})
    table = table[table[guide] != ""]
    control = find_controls(table, table[gene], settings.control_pattern, told, "guides of the library")
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
            *told.tallies(),
        ),
        settings.unknown_genes,
        blank,
    )
