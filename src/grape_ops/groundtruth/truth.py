"""Known complexes: what "the same function" means when a gene map is evaluated.

A ground truth is a mapping from complex names to gene symbols; a gene may belong to several complexes. The
built-in table holds 14 non-overlapping complexes of 5 to 10 genes, 106 genes in all (sections 3.7 and 4.1),
taken from EBI Complex Portal (CC0). Known pairs of related genes, one pair per line, stand beside it: relations for
recall.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.readers import PAIR_HEADERS, read_complexes
from grape_ops.groundtruth.text_tables import check_widths, is_missing, read_rows
from grape_ops.progress import note
from grape_ops.words import counted

BUILT_IN = {"complexes-14x106": "complexes_14x106.tsv"}


@dataclass(frozen=True)
class GroundTruth:
    """Complexes and their genes.

    Attributes
    ----------
    name : name of a built-in table, or the file's name.
    complexes : complex name -> gene symbols, each once, in the order of the source.
    sha256 : hash of the content, the same for the same complexes in any format and order.
    """

    name: str
    complexes: dict[str, tuple[str, ...]]
    sha256: str

    @classmethod
    def of(cls, name: str, complexes: Mapping[str, Iterable[str]]) -> "GroundTruth":
        """Make a ground truth from names and genes, and hash it."""
        unique = {complex_: tuple(dict.fromkeys(genes)) for complex_, genes in complexes.items()}
        if not any(unique.values()):
            raise GrapeOpsError(f"The ground truth {name} holds no gene.")
        return cls(name, unique, content_hash(unique))

    @property
    def genes(self) -> tuple[str, ...]:
        """All genes, each once, sorted."""
        return tuple(sorted(self._by_gene))

    def renamed(self, aliases: Aliases) -> "GroundTruth":
        """The same complexes, their genes named by current symbols."""
        return GroundTruth.of(self.name, aliases.apply(self.complexes))

    def complexes_of(self, gene: str) -> list[str]:
        """Names of the complexes a gene belongs to."""
        return self._by_gene.get(gene, [])

    @cached_property
    def _by_gene(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, genes in self.complexes.items():
            for gene in genes:
                found.setdefault(gene, []).append(name)
        return found


def content_hash(complexes: Mapping[str, Iterable[str]]) -> str:
    """SHA-256 of the sorted lines ``complex<TAB>gene``, so that it does not depend on format or order."""
    lines = sorted({f"{complex_}\t{gene}" for complex_, genes in complexes.items() for gene in genes})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_truth(name_or_file: str | Path) -> GroundTruth:
    """Load a built-in ground truth by its name, or a file in any format that ``readers`` knows.

    Raises
    ------
    GrapeOpsError : neither a built-in name nor a file, or the file's format is not recognised.
    """
    path = Path(name_or_file)
    if str(name_or_file) in BUILT_IN:
        name = str(name_or_file)
        with resources.as_file(resources.files("grape_ops") / "groundtruth" / "data" / BUILT_IN[name]) as file:
            return GroundTruth.of(name, read_complexes(file))
    if not path.is_file():
        raise GrapeOpsError(
            f"There is no ground truth {name_or_file}: it is neither a file nor one of {', '.join(BUILT_IN)}."
        )
    return GroundTruth.of(path.name, read_complexes(path))


def membership(truth: GroundTruth, genes: Sequence[str]) -> np.ndarray:
    """Which gene belongs to which complex: G genes, K complexes -> (G, K) bool, columns in the truth's order."""
    row = {gene: index for index, gene in enumerate(genes)}
    table = np.zeros((len(genes), len(truth.complexes)), dtype=bool)
    for column, members in enumerate(truth.complexes.values()):
        table[[row[gene] for gene in members if gene in row], column] = True
    return table


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
    check_widths(file, rows, 2)
    first = [field.lower().lstrip("# ") for field in rows[0]]
    if set(first[:2]) in PAIR_HEADERS:
        rows = rows[1:]
    elif set(first) & set().union(*PAIR_HEADERS):
        raise GrapeOpsError(
            f"{path}: the first line names columns ({', '.join(rows[0])}), and the first two are not those of a pair, "
            "such as gene1 and gene2."
        )
    symbol = (aliases or Aliases()).symbol
    whole = [row for row in rows if not any(is_missing(gene) for gene in row[:2])]
    named = [tuple(sorted(symbol.get(gene, gene) for gene in row[:2])) for row in whole]
    if single := sum(first == second for first, second in named):
        note(f"{file}: {counted(single, 'rows')} left out, which pair a gene with itself.")
    if len(whole) < len(rows):
        note(f"{file}: {counted(len(rows) - len(whole), 'rows')} left out, which name one gene or none.")
    pairs = tuple(sorted({(first, second) for first, second in named if first != second}))
    if not pairs:
        raise GrapeOpsError(f"{path} holds no pair of two different genes.")
    text = "\n".join(f"{first}\t{second}" for first, second in pairs)
    return KnownPairs(file.name, pairs, hashlib.sha256(text.encode()).hexdigest())
