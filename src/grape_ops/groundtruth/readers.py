"""Readers of complexes, one function per format; the format is recognised from the file's content.

Every reader takes the rows of a table and returns ``complex name -> gene symbols``. Formats: CORUM's table,
Complex Portal's ComplexTAB, GMT, ``name<TAB>genes separated by spaces``, and a table with one row per gene and
complex (columns such as gene_symbol and complex, or gene_name and group).
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.names import differ_by_case
from grape_ops.groundtruth.text_tables import Rows, check_widths, find_column, is_missing, read_rows, warn_ruined
from grape_ops.progress import note
from grape_ops.schema import COMPLEX, GENE
from grape_ops.words import counted, some_of

Complexes = dict[str, list[str]]

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
ORGANISM_COLUMNS = ("organism", "taxonomy identifier")
HUMAN = re.compile(r"(taxid:)?9606\W*(homo sapiens|human)?\W*|(human|homo sapiens)?(\s*\(.*\))?", re.IGNORECASE)
# A symbol of a human gene or of a mouse's; words such as Proteasome and http are none.
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]+(orf\d+)?(-[A-Z0-9]+)*|[A-Z][a-z]+\d+[a-z]?\d*")
COMPLEXTAB_NAME = "Recommended name"
COMPLEXTAB_MEMBERS = ("Expanded participant list", "Identifiers (and stoichiometry) of molecules in complex")


def read_complexes(path: str | Path) -> Complexes:
    """Read complexes from a file.

    Parameters
    ----------
    path : the file; ``.gz`` is unpacked.

    Raises
    ------
    GrapeOpsError : the file is empty or unreadable, or its format is unknown.
    """
    file = Path(path)
    rows = read_rows(file)
    name = recognise(file, rows)
    header = rows[0]
    if name == "gmt":
        _check_descriptions(file, rows)
    columns = [find_column(header, names) for names in _NEEDED.get(name, ())]
    if name == "names" or (name == "table" and None in columns):
        columns = [1]  # no header that would name them
    if columns:
        check_widths(file, rows, 1 + max(column or 0 for column in columns))
        rows = _human(file, header, rows)
    try:
        read = READERS[name](rows)
    except GrapeOpsError as error:
        raise GrapeOpsError(f"{file}: {error}") from None
    without = len(read.pop("", [])), sum(is_missing(gene) for genes in read.values() for gene in genes)
    complexes = {key: kept for key, genes in read.items() if (kept := [g for g in genes if not is_missing(g)])}
    for count, what in zip(without, ("complex", "gene"), strict=True):
        if count and complexes:
            note(f"{file}: {counted(count, 'entries')} left out, which name no {what}.")
    if not complexes:
        raise GrapeOpsError(f"{file} was read as {name} and holds no gene.")
    if empty := [key for key in read if key not in complexes]:
        shown = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        note(f"{file}: {len(empty)} of {counted(len(read), 'complexes')} left out, which name no gene ({shown}).")
    named = [gene for genes in complexes.values() for gene in genes]
    warn_ruined(file, named)
    if alike := differ_by_case(named):
        note(f"{file}: {some_of(alike)} differ by case alone, and count as different genes.")
    return complexes


def _check_descriptions(file: Path, rows: Rows) -> None:
    """Refuse a GMT whose second fields are genes, as where descriptions were left out, and say if they may be.

    A description is missing (na), says the same in every line, is an id (CPX-12) or holds what no symbol does.
    """
    seconds = [row[1] for row in rows if len(row) > 1 and row[1] != row[0]]
    members = {gene for row in rows for gene in row[2:]}
    shown = f"{file} is a GMT: name, description, genes. Its second fields, such as {some_of(seconds)},"
    mend = "write a description, or na, before the genes"
    also_members = sum(field in members for field in seconds if not is_missing(field))
    if 2 * also_members >= len(rows):
        raise GrapeOpsError(f"{shown} are genes of other lines ({also_members} of {len(rows)}): {mend}.")
    like_symbols = len(seconds) == len(rows) and all(_SYMBOL.fullmatch(field) for field in seconds)
    kinds = {re.sub(r"\d+", "", field) for field in seconds}
    if also_members or (like_symbols and (len(kinds) > 1 or len(rows) == 1)):
        note(f"{shown} look like genes, and are left out as descriptions. If they are genes, {mend}.")


def _human(file: Path, header: Sequence[str], rows: Rows) -> Rows:
    """Leave out the rows of other organisms, and say how many."""
    organism = find_column(header, ORGANISM_COLUMNS)
    if organism is None:
        return rows
    others = Counter(row[organism] for row in rows[1:] if not HUMAN.fullmatch(row[organism]))
    if not others:
        return rows
    if others.total() == len(rows) - 1:
        note(f"{file}: all rows are of {', '.join(list(others)[:3])}; they are taken as they are.")
        return rows
    shown = ", ".join(f"{count} of {name}" for name, count in others.most_common(3))
    note(f"{file}: {others.total()} of {counted(len(rows) - 1, 'rows')} left out, of other organisms ({shown}).")
    return [rows[0], *(row for row in rows[1:] if HUMAN.fullmatch(row[organism]))]


def recognise(path: Path, rows: Rows) -> str:
    """Name the format of a table from its header, its ending and the shape of its rows."""
    header = rows[0]
    if header[0].casefold() == "#complex ac":
        return "complextab"
    if find_column(header, SUBUNIT_COLUMNS) is not None:
        return "corum"
    if find_column(header, GENE_COLUMNS) is not None and find_column(header, COMPLEX_COLUMNS) is not None:
        return "table"
    if ".gmt" in path.suffixes or (len(header) > 2 and not _is_header(header) and len({len(r) for r in rows}) > 1):
        return "gmt"
    if _are_pairs(rows):
        raise GrapeOpsError(f"{path} is a list of pairs of genes, not of complexes; give it to --pairs.")
    if all(len(row) == 2 for row in rows):
        # Without a header: second fields that name a group come again, lists of genes hardly ever do.
        return "table" if 2 * len({row[1] for row in rows}) <= len(rows) else "names"
    raise GrapeOpsError(
        f"{path} is none of the known truth formats. It needs CORUM's column {SUBUNIT_COLUMNS[0]}, ComplexTAB's first "
        f"line, GMT, lines name<TAB>genes, or columns for gene ({', '.join(GENE_COLUMNS)}) and complex "
        f"({', '.join(COMPLEX_COLUMNS)}); its columns are: {', '.join(header)[:300]}. A list of pairs goes to --pairs."
        + _odd_line(rows)
    )


def _odd_line(rows: Rows) -> str:
    """Name the first line that has not as many fields as most lines have."""
    usual, count = Counter(map(len, rows)).most_common(1)[0]
    odd = next((row for row in rows if len(row) != usual), None)
    if odd is None or 2 * count <= len(rows):
        return ""
    return f" Line {odd.line} has {counted(len(odd), 'fields')}, where {count} of {len(rows)} lines have {usual}."


def _is_header(fields: Sequence[str]) -> bool:
    """Whether a row names columns of one of the formats, and no genes."""
    of_formats = (*SUBUNIT_COLUMNS, *CORUM_NAMES, *ORGANISM_COLUMNS, COMPLEXTAB_NAME, *COMPLEXTAB_MEMBERS)
    known = (*GENE_COLUMNS, *COMPLEX_COLUMNS, *of_formats)
    return fields[0].startswith("#") or sum(find_column([field], known) is not None for field in fields) > 1


def _are_pairs(rows: Rows) -> bool:
    """Whether both columns hold genes: a header that says so, or names that stand on both sides."""
    if {field.lower() for field in rows[0][:2]} in PAIR_HEADERS:
        return True
    first, second = {row[0] for row in rows}, {row[1] for row in rows if len(row) > 1}
    return 2 * len(first & second) > len(second)


def _corum(rows: Rows) -> Complexes:
    """CORUM: one row per complex, subunits separated by semicolons."""
    header = rows[0]
    name, genes = find_column(header, CORUM_NAMES), find_column(header, SUBUNIT_COLUMNS)
    if name is None or genes is None:
        raise GrapeOpsError(
            f"A CORUM table needs one of the columns {', '.join(CORUM_NAMES)}; it has {', '.join(header)}."
        )
    complexes: Complexes = {}
    for row in rows[1:]:
        _add(complexes, row[name], re.split(r"[;,]", row[genes]))
    return complexes


def _complextab(rows: Rows) -> Complexes:
    """Complex Portal: members are UniProt accessions with stoichiometry; an alias table turns them into symbols."""
    header = rows[0]
    name = find_column(header, (COMPLEXTAB_NAME,))
    columns = [place for column in COMPLEXTAB_MEMBERS if (place := find_column(header, (column,))) is not None]
    if name is None or not columns:
        raise GrapeOpsError(
            f"A ComplexTAB needs the columns {COMPLEXTAB_NAME} and one of {', '.join(COMPLEXTAB_MEMBERS)}; it has "
            f"{', '.join(header)}."
        )
    complexes: Complexes = {}
    for row in rows[1:]:
        text = next((row[c] for c in columns if row[c] not in ("", "-")), "")
        members = [re.sub(r"\(\d+\)$", "", part).strip("[]") for part in text.split("|")]
        # A bracketed list is a set of alternatives; a chain P12345-PRO_1 is the protein P12345.
        proteins = [re.split(r"-PRO_|-\d+$", member)[0] for part in members for member in part.split(",")]
        _add(complexes, row[name], [p for p in proteins if re.fullmatch(r"[A-Z][0-9][A-Z0-9]{3,8}[0-9]", p)])
    return complexes


def _gmt(rows: Rows) -> Complexes:
    """GMT: name, description, then one field per gene."""
    complexes: Complexes = {}
    for row in rows:
        _add(complexes, row[0], row[2:])
    return complexes


def _names(rows: Rows) -> Complexes:
    """One line per complex: its name, a tab, its genes separated by spaces."""
    complexes: Complexes = {}
    headed = rows[0][1].lower() in ("genes", "gene_symbols", "members", "subunits")
    for row in rows[1:] if headed else rows:
        _add(complexes, row[0], re.split(r"[\s,;]+", row[1]))
    return complexes


def _table(rows: Rows) -> Complexes:
    """One row per gene and complex, "" where it names none; without a known header the first column is the gene."""
    gene, complex_ = find_column(rows[0], GENE_COLUMNS), find_column(rows[0], COMPLEX_COLUMNS)
    headed = gene is not None and complex_ is not None
    columns = (gene, complex_) if gene is not None and complex_ is not None else (0, 1)
    complexes: Complexes = {}
    for row in rows[1:] if headed else rows:
        name = "" if is_missing(row[columns[1]]) else row[columns[1]]
        complexes.setdefault(name, []).append(row[columns[0]])
    return complexes


def _add(complexes: Complexes, name: str, genes: Sequence[str]) -> None:
    """Add one row's complex; a second complex of the same name gets a number, as sources have variants."""
    unique = name
    count = 1
    while unique in complexes:
        count += 1
        unique = f"{name} ({count})"
    complexes[unique] = [g for g in dict.fromkeys(gene.strip() for gene in genes) if g]


# Columns without which a row says nothing.
_NEEDED = {
    "corum": (CORUM_NAMES, SUBUNIT_COLUMNS, ORGANISM_COLUMNS),
    "complextab": ((COMPLEXTAB_NAME,), COMPLEXTAB_MEMBERS, ORGANISM_COLUMNS),
    "table": (GENE_COLUMNS, COMPLEX_COLUMNS),
}
READERS: dict[str, Callable[[Rows], Complexes]] = {
    "corum": _corum,
    "complextab": _complextab,
    "gmt": _gmt,
    "names": _names,
    "table": _table,
}
