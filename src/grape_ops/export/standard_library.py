"""Guides, wells and cells in the words of the OPS Data Standard 0.1.0.

A gene's perturbation_id is its symbol, that of all controls together is ``nontargeting``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.config import ExportSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, TILE, WELL, X, Y

NON_TARGETING, INTERGENIC = "non-targeting", "intergenic"
PERTURBATION, BARCODE = "perturbation_id", "barcode"
_SEQUENCE = re.compile(r"[ACGT]+")
_PROTOSPACER = re.compile(r"[ACGT]{14,22}")
_ENSEMBL = re.compile(r"ENSG\d+")
_WELL = re.compile(r"([A-Z])0*(\d+)")
_SHOWN = 3


@dataclass(frozen=True)
class Guides:
    """What the standard wants to know of the guides.

    Attributes
    ----------
    library : the content of perturbation_library.csv, one row a barcode.
    barcode : barcode of each of the store's guides.
    """

    library: pd.DataFrame
    barcode: dict[str, str]


def describe_guides(store: CropStore, settings: ExportSettings) -> Guides:
    """Describe the guides of a store.

    Raises
    ------
    GrapeOpsError : a barcode or protospacer is no DNA sequence, or a guide is against two genes.
    """
    guides = store.cells[[GUIDE, GENE, IS_CONTROL]].drop_duplicates()
    twice = guides[guides.duplicated(GUIDE)][GUIDE].unique()
    if len(twice):
        raise GrapeOpsError(f"{len(twice)} guides are against more than one gene, among them {_few(twice)}.")
    known = _read_library(settings.library) if settings.library else pd.DataFrame()
    rows = []
    for guide, gene, control in guides.sort_values([IS_CONTROL, GENE, GUIDE]).itertuples(index=False):
        own = known.loc[guide].to_dict() if guide in known.index else {}
        kind = INTERGENIC if INTERGENIC in str(gene).lower() else NON_TARGETING
        rows.append(
            {
                PERTURBATION: CONTROL_LABEL if control else gene,
                "gene_id": NON_TARGETING if control else str(own.get("gene_id", "")).split(".")[0],
                "gene_symbol": NON_TARGETING if control else gene,
                BARCODE: str(own.get(BARCODE) or guide).upper(),
                "role": "control" if control else "targeting",
                "control_type": kind if control else "",
                "protospacer_sequence": str(own.get("protospacer_sequence") or guide).upper(),
                "protospacer_adjacent_motif": own.get("protospacer_adjacent_motif") or settings.motif,
                GUIDE: guide,
            }
        )
    library = pd.DataFrame(rows)
    _check(library)
    return Guides(library.drop(columns=GUIDE), dict(zip(library[GUIDE], library[BARCODE], strict=True)))


def _read_library(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise GrapeOpsError(f"There is no library {path}; export.library names it.")
    table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False)
    key = next((name for name in (GUIDE, BARCODE, "protospacer_sequence") if name in table), None)
    if key is None:
        raise GrapeOpsError(
            f"The library {path} needs a column {GUIDE} or {BARCODE}; it has {', '.join(map(str, table))}."
        )
    if key == GUIDE and BARCODE not in table and "protospacer_sequence" not in table:
        table = table.assign(**{BARCODE: table[GUIDE]})
    return table.drop_duplicates(key).set_index(key, drop=False)


def _check(library: pd.DataFrame) -> None:
    mend = f"Name a table with {GUIDE}, {BARCODE} and protospacer_sequence: --set export.library=library.csv."
    for column, pattern, wanted in (
        (BARCODE, _SEQUENCE, "barcodes of the letters A, C, G and T"),
        ("protospacer_sequence", _PROTOSPACER, "protospacers of 14 to 22 letters A, C, G and T"),
    ):
        wrong = [value for value in library[column] if not pattern.fullmatch(value)]
        if wrong:
            raise GrapeOpsError(f"The OPS standard wants {wanted}; {len(wrong)} are not, as {_few(wrong)}. {mend}")
    if library[BARCODE].duplicated().any():
        again = library.loc[library[BARCODE].duplicated(), BARCODE].unique()
        raise GrapeOpsError(f"{len(again)} barcodes belong to more than one guide, as {_few(again)}. {mend}")
    genes = library.loc[library["gene_id"] != NON_TARGETING, "gene_id"]
    wrong = [gene for gene in genes.unique() if gene and not _ENSEMBL.fullmatch(gene)]
    if wrong:
        raise GrapeOpsError(f"gene_id must be an Ensembl id such as ENSG00000186092; {_few(wrong)} are not. {mend}")
    piped = [name for name in library[PERTURBATION] if "|" in name]
    if piped:
        raise GrapeOpsError(f"The OPS standard joins names by |; rename {_few(piped)}.")


def describe_cells(store: CropStore, guides: Guides, settings: ExportSettings) -> pd.DataFrame:
    """Put the store's cells into the columns of cell_data.parquet, in the store's order.

    Raises
    ------
    GrapeOpsError : a well is not named by a letter and a number, or a plate's name holds a ``|``.
    """
    cells = store.cells
    places = {well: _WELL.fullmatch(settings.wells.get(well, well)) for well in cells[WELL].unique()}
    wrong = [well for well, place in places.items() if place is None]
    if wrong:
        raise GrapeOpsError(
            f"The OPS standard names wells by a letter and a number; {_few(wrong)} are not. Say which they are: "
            f"--set export.wells={{{wrong[0]}: A1}}."
        )
    row = {well: place[1] for well, place in places.items() if place}
    column = {well: int(place[2]) for well, place in places.items() if place}
    tile = _numbers_of_tiles(cells)
    well_name = cells[WELL].map(row) + cells[WELL].map(column).astype(str)
    number = cells.groupby([PLATE, WELL, TILE], sort=False).cumcount()
    if cells[PLATE].str.contains("|", regex=False).any():
        raise GrapeOpsError("The OPS standard joins names by |, so that a plate's name must not hold it.")
    table = pd.DataFrame(
        {
            "plate": cells[PLATE].to_numpy(object),
            "well_row": cells[WELL].map(row).to_numpy(object),
            "well_col": cells[WELL].map(column).to_numpy(np.int64),
            "tile": tile,
            "x": cells[X].to_numpy(np.float64),
            "y": cells[Y].to_numpy(np.float64),
            "cell_uid": cells[PLATE] + "_" + well_name + "_" + pd.Series(tile).astype(str) + "_" + number.astype(str),
            BARCODE: cells[GUIDE].map(guides.barcode).to_numpy(object),
            PERTURBATION: cells[GENE].where(~cells[IS_CONTROL], CONTROL_LABEL).to_numpy(object),
        }
    )
    kind = next((name for name in ("cell_class", "class") if name in cells), None)
    return table if kind is None else table.assign(cell_class=cells[kind].astype(str).to_numpy(object))


def _numbers_of_tiles(cells: pd.DataFrame) -> np.ndarray:
    """Tiles as whole numbers: as they are, or else counted in the order of their names within a well."""
    if cells[TILE].str.fullmatch(r"\d+").all():
        return cells[TILE].to_numpy(np.int64)
    return cells.groupby([PLATE, WELL])[TILE].rank(method="dense").to_numpy(np.int64) - 1


def _few(names: object) -> str:
    listed = [str(name) for name in list(names)]  # type: ignore[call-overload]
    return ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")
