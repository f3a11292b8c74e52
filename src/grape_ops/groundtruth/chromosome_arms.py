"""Chromosome arms of genes, from a table of the user's: a column of arms, or of cytogenetic locations as HGNC has them.

"17q21.31" and "chr17q" lie on 17q. A location that is on no one arm ("mitochondria", "2p11-q11", "9cen") gives none.
"""

import re
from pathlib import Path

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import SYMBOL_COLUMNS, Aliases
from grape_ops.groundtruth.text_tables import check_widths, find_column, is_missing, read_rows
from grape_ops.progress import note
from grape_ops.words import counted

ARM_COLUMNS = ("arm", "chromosome_arm", "chromosomal_arm")
LOCATION_COLUMNS = ("location", "map_location", "cytoband", "band", "chromosome_band", "karyotype_band")
_ARM = re.compile(r"(?:chr)?(\d{1,2}|[xy])([pq])", re.IGNORECASE)


def arm_of(location: str) -> str | None:
    """Find the arm of a location: "17q21.31" -> "17q"; None where it names no arm, or spans both."""
    found = _ARM.match(location.strip())
    if found is None:
        return None
    span = location.partition("-")[2].strip().lower()
    if span.startswith(("p", "q", "cen")) and not span.startswith(found[2].lower()):
        return None
    return found[1].upper() + found[2].lower()


def load_arms(path: str | Path, aliases: Aliases | None = None) -> dict[str, str]:
    """Read a table of genes and their arms: -> gene symbol -> arm.

    Locations are read as arms; what a column named "arm" holds besides is taken as it stands ("2L").

    Raises
    ------
    GrapeOpsError : the file is missing, lacks a column for genes or for arms, or gives no gene an arm.
    """
    file = Path(path)
    if not file.is_file():
        raise GrapeOpsError(f"There is no table of chromosome arms {path}.")
    rows = read_rows(file)
    header = rows[0]
    gene, arm = find_column(header, SYMBOL_COLUMNS), find_column(header, ARM_COLUMNS)
    place = arm if arm is not None else find_column(header, LOCATION_COLUMNS)
    if gene is None or place is None:
        raise GrapeOpsError(
            f"The table of chromosome arms {path} needs a column for genes ({', '.join(SYMBOL_COLUMNS)}) and one for "
            f"arms ({', '.join((*ARM_COLUMNS, *LOCATION_COLUMNS))}); it has {', '.join(header)}."
        )
    check_widths(file, rows, 1 + max(gene, place))
    symbol, found, without = (aliases or Aliases()).symbol, dict[str, set[str]](), 0
    for row in rows[1:]:
        named = arm_of(row[place]) or (None if arm is None or is_missing(row[place]) else row[place])
        if named is not None and not is_missing(row[gene]):
            found.setdefault(symbol.get(row[gene], row[gene]), set()).add(named)
        else:
            without += 1
    if without and found:
        note(f"{path}: {counted(without, 'rows')} left out, which name no gene or no arm.")
    several = sorted(name for name, arms in found.items() if len(arms) > 1)
    if several:
        note(f"{path} puts {counted(len(several), 'genes')} on several arms ({', '.join(several[:3])}); left out.")
    if not (known := {name: arms.pop() for name, arms in found.items() if len(arms) == 1}):
        raise GrapeOpsError(
            f"The table of chromosome arms {path} gives no gene an arm: {header[place]} holds "
            f"{', '.join(repr(row[place]) for row in rows[1:4]) or 'nothing'}, where 17q or 17q21.31 is meant."
        )
    return known
