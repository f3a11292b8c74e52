"""Finding our columns in a user's table: the names of the field's pipelines, first hit wins, in any case."""

import re
from collections.abc import Collection, Mapping

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CLASS, GENE, GUIDE, PLATE, TILE, WELL, X, Y
from grape_ops.words import some_of

# Ours -> names seen in tables of the field, in order of preference.
CANDIDATES: dict[str, tuple[str, ...]] = {
    GENE: (
        "gene_symbol_0",
        "gene_symbol",
        "perturbation_id",
        "Metadata_Foci_Barcode_MatchedTo_GeneCode",
        "gene",
        "gene_id",
    ),
    GUIDE: (
        "sgRNA_0",
        "cell_barcode_0",
        "barcode",
        "barcode_0",
        "Metadata_Foci_Barcode_MatchedTo_Barcode",
        "sgRNA",
        "guide",
        "gRNA",
        "guide_id",
        "guide_sequence",
    ),
    PLATE: ("plate", "Metadata_Foci_plate"),
    WELL: ("well", "Metadata_Foci_well"),
    TILE: ("tile", "site", "Metadata_Foci_site_location"),
    CLASS: ("class", "cell_class", "class_predict_1"),
}

# Row and column coordinates come in pairs, so that two conventions never mix. "*" is any beginning.
COORDINATES: tuple[tuple[str, str], ...] = (
    ("cell_i", "cell_j"),
    ("i_0", "j_0"),
    ("nucleus_i", "nucleus_j"),
    ("y", "x"),
    ("Nuclei_AreaShape_Center_Y", "Nuclei_AreaShape_Center_X"),
    ("Cells_AreaShape_Center_Y", "Cells_AreaShape_Center_X"),
    ("*_AreaShape_Center_Y", "*_AreaShape_Center_X"),
    ("i", "j"),
)

# A well may come as its row letter and its column number.
WELL_PARTS = ("well_row", "well_col")

OUR_COLUMNS = (GENE, GUIDE, PLATE, WELL, TILE, Y, X)
OPTIONAL = (CLASS,)


def detect_columns(
    present: Collection[str], named: Mapping[str, str], optional: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Find the user's column, or columns to be joined, for each of ours.

    Parameters
    ----------
    present : columns of the user's table.
    named : our name -> their column, as the user set it; wins over detection.
    optional : those of our columns that may be missing, besides the class.

    Returns
    -------
    dict : our name -> one column, or the two of ``WELL_PARTS`` whose texts are joined.

    Raises
    ------
    GrapeOpsError : a named column is not there or is none of ours, or one of ours was not found.
    """
    _check_named(present, named)
    found: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in named.items()}
    for ours, candidates in CANDIDATES.items():
        hit = next((column for name in candidates if (column := _spelled(name, present))), None)
        if ours not in found and hit is not None:
            found[ours] = (hit,)
    parts = [_spelled(part, present) for part in WELL_PARTS]
    if WELL not in found and all(parts):
        found[WELL] = tuple(part for part in parts if part)
    if (Y in found) != (X in found):
        here, other = (Y, X) if Y in found else (X, Y)
        raise GrapeOpsError(
            f"screen.columns names {here} but not {other}; coordinates come in pairs, so name both or neither."
        )
    if Y not in found:
        found |= _coordinates(present)
    missing = [ours for ours in OUR_COLUMNS if ours not in found and ours not in optional]
    if missing:
        raise GrapeOpsError(_missing_message(missing, present))
    return found


def _spelled(name: str, present: Collection[str]) -> str | None:
    """Return a name as the table spells it: exactly if it can be, otherwise in another case."""
    if name in present:
        return name
    return next((column for column in present if str(column).lower() == name.lower()), None)


def _coordinates(present: Collection[str]) -> dict[str, tuple[str, ...]]:
    for vertical, horizontal in COORDINATES:
        for column in present:
            pattern = re.escape(vertical).replace(r"\*", "(.+)")
            if match := re.fullmatch(pattern, str(column), re.IGNORECASE):
                stem = match.group(1) if match.groups() else ""
                if other := _spelled(horizontal.replace("*", stem), present):
                    return {Y: (column,), X: (other,)}
    return {}


def _check_named(present: Collection[str], named: Mapping[str, str]) -> None:
    for ours, theirs in named.items():
        known = (*OUR_COLUMNS, *OPTIONAL)
        if ours not in known:
            swapped = " They are the other way round: our name comes first." if theirs in known else ""
            raise GrapeOpsError(
                f"columns names {ours!r}, which is none of our columns: {', '.join(known)}. It maps our name to "
                f"the table's, for example columns: {{{GUIDE}: my_guide_column}}.{swapped}"
            )
        if theirs not in present:
            raise GrapeOpsError(
                f"screen.columns takes {ours} from the column {theirs!r}, which the cell table does not have. "
                f"It has: {some_of(present, 40)}."
            )


def _missing_message(missing: list[str], present: Collection[str]) -> str:
    looked_for = {
        **{ours: ", ".join(names) for ours, names in CANDIDATES.items()},
        Y: ", ".join(pair[0] for pair in COORDINATES),
        X: ", ".join(pair[1] for pair in COORDINATES),
    }
    lines = [f"  {ours} (looked for {looked_for[ours]})" for ours in missing]
    return (
        "The cell table has no column for:\n"
        + "\n".join(lines)
        + f"\nIt has: {some_of(present, 40)}.\n"
        + ("y and x are only taken as a pair.\n" if Y in missing or X in missing else "")
        + f"Name the right ones, ours first: --set screen.columns.{missing[0]}="
        f"THEIR_COLUMN, or in screen.yaml columns: {{{missing[0]}: THEIR_COLUMN}}."
    )
