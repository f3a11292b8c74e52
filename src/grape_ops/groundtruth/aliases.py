"""Names that mean the same gene: retired symbols, UniProt accessions, Ensembl ids.

An alias table is either two columns, alias and symbol, or HGNC's complete set (symbol, prev_symbol, alias_symbol,
uniprot_ids, ensembl_gene_id; several names in a field separated by ``|``). An alias of two symbols is not applied,
and an approved symbol is never renamed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.text_tables import check_widths, find_column, is_missing, read_rows
from grape_ops.schema import GENE

SYMBOL_COLUMNS = (GENE, "symbol", "gene", "gene_name")
ALIAS_COLUMNS = (
    "alias",
    "prev_symbol",
    "alias_symbol",
    "uniprot",
    "uniprot_ids",
    "uniprot_entry",
    "ensembl_gene_id",
    "entrez_id",
)


@dataclass(frozen=True)
class Aliases:
    """Alias -> symbol, and the aliases that were left out because they name several genes."""

    symbol: dict[str, str] = field(default_factory=dict)
    ambiguous: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def rename(self, genes: Iterable[str]) -> dict[str, str]:
        """Find the symbol of each gene; where two of the genes would get one symbol, the alias keeps its name."""
        names = list(dict.fromkeys(genes))
        taken = {name for name in names if name not in self.symbol}
        renamed = {}
        for name in names:
            symbol = self.symbol.get(name, name)
            renamed[name] = name if symbol != name and symbol in taken else symbol
            taken.add(renamed[name])
        return renamed

    def apply(self, complexes: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Rename the genes of complexes; a gene named twice in a complex stays once."""
        return {
            name: list(dict.fromkeys(self.symbol.get(gene, gene) for gene in genes))
            for name, genes in complexes.items()
        }


def load_aliases(path: str | Path) -> Aliases:
    """Read an alias table.

    Raises
    ------
    GrapeOpsError : the file is missing, or has no column for symbols or none for aliases.
    """
    file = Path(path)
    if not file.is_file():
        raise GrapeOpsError(f"There is no alias table {path}.")
    rows = read_rows(file)
    header = rows[0]
    symbol_column = find_column(header, SYMBOL_COLUMNS)
    alias_columns = [place for c in ALIAS_COLUMNS if (place := find_column(header, (c,))) is not None]
    if symbol_column is None or not alias_columns:
        raise GrapeOpsError(
            f"The alias table {path} needs a column for symbols ({', '.join(SYMBOL_COLUMNS)}) and at least one for "
            f"aliases ({', '.join(ALIAS_COLUMNS)}); it has {', '.join(header)}."
        )
    check_widths(file, rows, 1 + max(symbol_column, *alias_columns))
    meant: dict[str, set[str]] = defaultdict(set)
    approved = {row[symbol_column] for row in rows[1:]}
    for row in rows[1:]:
        for column in alias_columns:
            if not is_missing(row[symbol_column]):
                for alias in re.split(r"[|;]", row[column].strip('"')):
                    meant[alias.strip()].add(row[symbol_column])
    usable = {alias: symbols for alias, symbols in meant.items() if not is_missing(alias) and alias not in approved}
    return Aliases(
        symbol={alias: next(iter(symbols)) for alias, symbols in usable.items() if len(symbols) == 1},
        ambiguous={alias: tuple(sorted(symbols)) for alias, symbols in usable.items() if len(symbols) > 1},
    )
