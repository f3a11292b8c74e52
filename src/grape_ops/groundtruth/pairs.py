"""Lists of related genes, one pair a line: known relations for recall."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.readers import PAIR_HEADERS
from grape_ops.groundtruth.text_tables import is_missing, read_rows


@dataclass(frozen=True)
class KnownPairs:
    """Unordered pairs of gene symbols, each once, none with itself, sorted; hashed like a ground truth."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    sha256: str

    @cached_property
    def index(self) -> frozenset[tuple[str, str]]:
        """The pairs as a set, for look-ups."""
        return frozenset(self.pairs)


def load_pairs(path: str | Path, aliases: Aliases | None = None) -> KnownPairs:
    """Read the first two columns of a list of pairs, with or without a header.

    Raises
    ------
    GrapeOpsError : the file is missing, has less than two columns or no pair.
    """
    file = Path(path)
    if not file.is_file():
        raise GrapeOpsError(f"There is no list of pairs {path}.")
    rows = read_rows(file)
    if min(len(row) for row in rows) < 2:
        short = next(row for row in rows if len(row) < 2)
        raise GrapeOpsError(
            f"{path} must hold two genes a line, separated by a tab or a comma; line {short.line} has one."
        )
    if {field.lower() for field in rows[0][:2]} in PAIR_HEADERS:
        rows = rows[1:]
    symbol = (aliases or Aliases()).symbol
    named = {tuple(sorted(symbol.get(gene, gene) for gene in row[:2])) for row in rows}
    pairs = tuple(
        sorted(
            (first, second)
            for first, second in named
            if not (is_missing(first) or is_missing(second)) and first != second
        )
    )
    if not pairs:
        raise GrapeOpsError(f"{path} holds no pair of two different genes.")
    text = "\n".join(f"{first}\t{second}" for first, second in pairs)
    return KnownPairs(file.name, pairs, hashlib.sha256(text.encode()).hexdigest())
