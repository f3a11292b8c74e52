"""Readers of complexes, one function a format; the format is recognised from the file's content.

Every reader takes lines of text and returns ``complex name -> gene symbols``. Formats: CORUM's table,
Complex Portal's ComplexTAB, GMT, ``name<TAB>genes separated by spaces``, and a table with one row a gene and
complex (columns such as gene_symbol and complex, or gene_name and group).
"""

import csv
import gzip
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import COMPLEX, GENE

Complexes = dict[str, list[str]]
Rows = list[list[str]]

GENE_COLUMNS = (GENE, "gene_symbol_0", "gene", "gene_name", "symbol", "gene_id")
COMPLEX_COLUMNS = (COMPLEX, "group", "complex_name", "cluster", "name", "complex_id")
SUBUNIT_COLUMNS = ("subunits_gene_name", "subunits(Gene name)")
CORUM_NAMES = ("complex_name", "ComplexName")
PAIR_HEADERS = (
    {"entity1", "entity2"},
    {"gene1", "gene2"},
    {"gene_a", "gene_b"},
    {"protein1", "protein2"},
    {"source", "target"},
)
COMPLEXTAB_MEMBERS = ("Expanded participant list", "Identifiers (and stoichiometry) of molecules in complex")


def read_text(path: Path) -> str:
    """Read a text file, compressed with gzip or not; a byte-order mark is left out."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise GrapeOpsError(f"{path} cannot be read as text: {error}") from None


def read_rows(path: Path) -> Rows:
    """Split a table into fields: by tabs if its first line has one, else by commas; empty lines are left out."""
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise GrapeOpsError(f"{path} is empty.")
    if "\t" in lines[0]:
        return [[field.strip().strip('"') for field in line.split("\t")] for line in lines]
    return [[field.strip() for field in row] for row in csv.reader(lines)]


def read_complexes(path: str | Path, format: str | None = None) -> Complexes:
    """Read complexes from a file.

    Parameters
    ----------
    path : the file; ``.gz`` is unpacked.
    format : one of ``READERS``; recognised from the content if None.

    Raises
    ------
    GrapeOpsError : the file is empty or unreadable, or its format is unknown.
    """
    file = Path(path)
    rows = read_rows(file)
    name = format or recognise(file, rows)
    if name not in READERS:
        raise GrapeOpsError(f"There is no truth format {name}; there are: {', '.join(READERS)}.")
    complexes = {key: genes for key, genes in READERS[name](rows).items() if genes}
    if not complexes:
        raise GrapeOpsError(f"{file} was read as {name} and holds no gene.")
    return complexes


def recognise(path: Path, rows: Rows) -> str:
    """Name the format of a table from its header, its ending and the shape of its rows."""
    header = rows[0]
    if header[0].casefold() == "#complex ac":
        return "complextab"
    if find_column(header, SUBUNIT_COLUMNS) is not None:
        return "corum"
    if find_column(header, GENE_COLUMNS) is not None and find_column(header, COMPLEX_COLUMNS) is not None:
        return "table"
    if ".gmt" in path.suffixes or (len(header) > 2 and len({len(row) for row in rows}) > 1):
        return "gmt"
    if _are_pairs(rows):
        raise GrapeOpsError(f"{path} is a list of pairs of genes, not of complexes; give it to --pairs.")
    if all(len(row) == 2 for row in rows):
        # Without a header: second fields that name a group come again, lists of genes hardly ever do.
        return "table" if 2 * len({row[1] for row in rows}) <= len(rows) else "names"
    raise GrapeOpsError(
        f"{path} is none of the known truth formats. It wants CORUM's column {SUBUNIT_COLUMNS[0]}, ComplexTAB's first "
        f"line, GMT, lines name<TAB>genes, or columns for gene ({', '.join(GENE_COLUMNS)}) and complex "
        f"({', '.join(COMPLEX_COLUMNS)}); its columns are: {', '.join(header)}. A list of pairs goes to --pairs."
    )


def _are_pairs(rows: Rows) -> bool:
    """Whether both columns hold genes: a header that says so, or names that stand on both sides."""
    if {field.lower() for field in rows[0][:2]} in PAIR_HEADERS:
        return True
    first, second = {row[0] for row in rows}, {row[1] for row in rows if len(row) > 1}
    return 2 * len(first & second) > len(second)


def find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Find the first of ``names`` in a header, upper and lower case and blanks aside."""
    folded = [field.casefold().replace(" ", "_") for field in header]
    return next(
        (folded.index(name) for name in (n.casefold().replace(" ", "_") for n in names) if name in folded), None
    )


def _corum(rows: Rows) -> Complexes:
    """CORUM: one row a complex, subunits separated by semicolons; other organisms than human are left out."""
    header = rows[0]
    name, genes = find_column(header, CORUM_NAMES), find_column(header, SUBUNIT_COLUMNS)
    organism = find_column(header, ("organism", "Organism"))
    if name is None or genes is None:
        raise GrapeOpsError(
            f"A CORUM table wants one of the columns {', '.join(CORUM_NAMES)}; it has {', '.join(header)}."
        )
    complexes: Complexes = {}
    for row in rows[1:]:
        if len(row) <= max(name, genes, organism or 0) or (
            organism is not None and row[organism].lower() not in ("human", "")
        ):
            continue
        _add(complexes, row[name], re.split(r"[;,]", row[genes]))
    return complexes


def _complextab(rows: Rows) -> Complexes:
    """Complex Portal: members are UniProt accessions with stoichiometry; an alias table turns them into symbols."""
    header = rows[0]
    name = header.index("Recommended name")
    columns = [header.index(column) for column in COMPLEXTAB_MEMBERS if column in header]
    complexes: Complexes = {}
    for row in rows[1:]:
        text = next((row[c] for c in columns if len(row) > c and row[c] not in ("", "-")), "")
        members = [re.sub(r"\(\d+\)$", "", part).strip("[]") for part in text.split("|")]
        # A bracketed list is a set of alternatives; a chain P12345-PRO_1 is the protein P12345.
        proteins = [re.split(r"-PRO_|-\d+$", member)[0] for part in members for member in part.split(",")]
        _add(complexes, row[name], [p for p in proteins if re.fullmatch(r"[A-Z][0-9][A-Z0-9]{3,8}[0-9]", p)])
    return complexes


def _gmt(rows: Rows) -> Complexes:
    """GMT: name, description, then one field a gene."""
    complexes: Complexes = {}
    for row in rows:
        _add(complexes, row[0], row[2:])
    return complexes


def _names(rows: Rows) -> Complexes:
    """One line a complex: its name, a tab, its genes separated by spaces."""
    complexes: Complexes = {}
    headed = rows[0][1].lower() in ("genes", "gene_symbols", "members", "subunits")
    for row in rows[1:] if headed else rows:
        _add(complexes, row[0], re.split(r"[\s,;]+", row[1]))
    return complexes


def _table(rows: Rows) -> Complexes:
    """One row a gene and complex; without a known header the first column is the gene."""
    gene, complex_ = find_column(rows[0], GENE_COLUMNS), find_column(rows[0], COMPLEX_COLUMNS)
    headed = gene is not None and complex_ is not None
    columns = (gene, complex_) if gene is not None and complex_ is not None else (0, 1)
    complexes: Complexes = {}
    for row in rows[1:] if headed else rows:
        if len(row) > max(columns) and row[columns[1]]:
            complexes.setdefault(row[columns[1]], []).append(row[columns[0]])
    return complexes


def _add(complexes: Complexes, name: str, genes: Sequence[str]) -> None:
    """Add one row's complex; a second complex of the same name gets a number, as sources have variants."""
    unique = name
    count = 1
    while unique in complexes:
        count += 1
        unique = f"{name} ({count})"
    complexes[unique] = [g for g in dict.fromkeys(gene.strip() for gene in genes) if g]


READERS: dict[str, Callable[[Rows], Complexes]] = {
    "corum": _corum,
    "complextab": _complextab,
    "gmt": _gmt,
    "names": _names,
    "table": _table,
}
