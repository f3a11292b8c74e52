"""Which cells are non-targeting controls."""

import re
from collections.abc import Collection

import pandas as pd

from grape_ops.errors import GrapeOpsError

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
    """Say that there is no control; nothing can be scaled without them.

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
