"""Reading users' cell tables, putting them into our columns, and leaving out what is no good cell."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.schema import CLASS, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, TILE, WELL, X, Y
from grape_ops.screen.cell_parts import CellParts
from grape_ops.screen.cell_rules import READ_BY_RULES, ghost_guides, sift, sift_well
from grape_ops.screen.cell_values import check_no_gaps, numbers_of, texts_of, without_column
from grape_ops.screen.columns import OPTIONAL, OUR_COLUMNS, detect_columns
from grape_ops.screen.controls import MARKS, find_controls, no_controls
from grape_ops.screen.guide_library import GuideLibrary, read_library
from grape_ops.screen.quality import Tally, counted, merge_tallies
from grape_ops.screen.spelling import without_missing
from grape_ops.screen.table_files import column_names, read_stretches

_NAMES = (GENE, GUIDE, PLATE, WELL, TILE)
MANY_COLUMNS = 50  # more than this are measurements, which a crop store has no use for

# What a layout does to the rows of one of its tables before ours looks at them.
Prepare = Callable[[pd.DataFrame, Path], pd.DataFrame]


@dataclass(frozen=True)
class CellTable:
    """The cells that stay, in memory or in parts, and what was met on the way."""

    cells: pd.DataFrame
    parts: CellParts | None
    quality: tuple[Tally, ...]

    def distinct(self, columns: Sequence[str]) -> pd.DataFrame:
        """List the combinations of values of some columns, in the order of their first cell."""
        wells = [own.drop_duplicates() for own in self._each(columns)]
        return wells[0] if self.parts is None else pd.concat(wells, ignore_index=True).drop_duplicates()

    def _each(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        if self.parts is None:
            yield self.cells[list(columns)]
            return
        for place in self.parts.wells:
            yield self.parts.read(*place, columns)

    def beginning(self, column: str, n: int = 256) -> list[str]:
        """Return a column's values of the first cells, as text."""
        return next(self._each([column]))[column].head(n).astype(str).tolist()

    def count_distinct(self, column: str) -> int:
        """Count the values of a column, of which there may be as many as cells: 8 bytes of each are kept."""
        hashes = [pd.util.hash_array(own[column].to_numpy()) for own in self._each([column])]
        return len(np.unique(np.concatenate(hashes)))

    def counts(self, columns: Sequence[str]) -> pd.DataFrame:
        """Count the cells of each combination of values of some columns: these columns, and ``cells``."""
        by = list(columns)
        found = pd.concat([own.groupby(by, sort=False, dropna=False).size() for own in self._each(by)])
        return found.groupby(by, sort=False, dropna=False).sum().rename("cells").reset_index()

    def of_wells(self, wells: Collection[tuple[str, str]]) -> "CellTable":
        """Keep the cells of wells that have images: whole screens are larger than what people fetch of them.

        Raises
        ------
        GrapeOpsError : no well is left.
        """
        present = self.parts.wells if self.parts else sorted(set(zip(self.cells[PLATE], self.cells[WELL], strict=True)))
        kept = [place for place in present if place in wells]
        if not kept:
            named, found = (", ".join(" ".join(place) for place in sorted(some)[:3]) for some in (present, wells))
            raise GrapeOpsError(
                f"No cell is of a well with images: the table names {named}, the images are of {found or 'others'}."
            )
        if len(kept) == len(present):
            return self
        if self.parts:
            parts = CellParts(self.parts.folder, self.parts.files, {place: self.parts.counts[place] for place in kept})
            lost, cells = len(self.parts) - len(parts), self.cells
        else:
            own = [place in wells for place in zip(self.cells[PLATE], self.cells[WELL], strict=True)]
            parts, cells = None, self.cells[own].reset_index(drop=True)
            lost = len(self.cells) - len(cells)
        return CellTable(cells, parts, (*self.quality, Tally("cells of wells without images", lost, "dropped")))


@dataclass
class TableReader:
    """How the cell tables of a screen are read.

    Attributes
    ----------
    files : tables of one kind, read one after the other.
    settings : which cells stay, and which columns.
    named : our name -> their column, where detection is not wanted.
    prepare : see ``Prepare``; ``adds`` names the columns it makes, ``needs`` those it reads.
    optional : those of our columns that the tables may lack; plate, well and tile are then "1".
    library : guides and their genes, over the settings' own.
    table_of : makes the table, where the one file is none itself.
    """

    files: Sequence[Path]
    settings: ScreenSettings
    named: Mapping[str, str] = field(default_factory=dict)
    prepare: Prepare | None = None
    adds: Collection[str] = ()
    needs: Collection[str] = ()
    optional: Collection[str] = ()
    library: GuideLibrary | None = None
    table_of: Callable[[], pd.DataFrame] | None = None

    def __post_init__(self) -> None:
        if self.library is None and self.settings.library:
            self.library = read_library(Path(self.settings.library), self.settings)
        self._aliases = load_aliases(self.settings.aliases).symbol if self.settings.aliases else {}
        self._found: list[list[Tally]] = []
        self._rows = 0
        self._kinds: dict[str, tuple[str, Path]] = {}
        self._partial: frozenset[object] = frozenset()

    def read(self, parts: Path | None = None) -> CellTable:
        """Read the tables: our columns first, then the user's own as they are, and ``is_control``.

        Plates, wells, tiles, genes and guides become strings, y and x floats.

        Parameters
        ----------
        parts : folder to keep the table in, one file per well; only one stretch or one well is then in memory.

        Raises
        ------
        GrapeOpsError : a file is missing or unreadable, a column is missing, or a value does not fit.
        """
        if self.library:
            self._found.append(list(self.library.quality))
        guides: dict[str, int] = {}
        self._partial = self._find_partial()
        if parts is None:
            stretches = list(self._stretches(guides))
            table = pd.concat(stretches, ignore_index=True) if stretches else pd.DataFrame()
            self._refuse_nothing(guides)
            cells = self._settle(table, ghost_guides(pd.Series(guides), self.settings.ghost_factor))
            self._refuse_no_controls(bool(cells[IS_CONTROL].any()), set(cells[GENE]))
            return CellTable(cells, None, merge_tallies(self._found))
        written = CellParts.write(self._stretches(guides), parts)
        self._refuse_nothing(guides)
        ghosts = ghost_guides(pd.Series(guides), self.settings.ghost_factor)
        any_control, genes, empty = False, set(), pd.DataFrame()
        for place in written.wells:
            cells = self._settle(written.read(*place), ghosts)
            written.replace(*place, cells)
            any_control |= bool(cells[IS_CONTROL].any())
            genes |= set(cells[GENE].unique())
            empty = cells.iloc[:0]
        self._refuse_no_controls(any_control, genes)
        return CellTable(empty, written, merge_tallies(self._found))

    def _find_partial(self) -> frozenset[object]:
        """Find the columns that only some of the files have; the rules heed them, but they are not kept."""
        if len(self.files) < 2:
            return frozenset()
        present = [set[object](column_names(file)) for file in self.files]
        partial = frozenset(set.union(*present) - set.intersection(*present)) - {*OUR_COLUMNS, *OPTIONAL, *self.adds}
        self._found.append([Tally("columns that only some of the tables have", len(partial), "dropped")])
        return partial

    def _stretches(self, guides: dict[str, int]) -> Iterator[pd.DataFrame]:
        """Read all files a stretch at a time: in our columns, sifted by row; counts the cells of each guide."""
        for file in self.files:
            for table, found in self._tables(file):
                self._rows += len(table)
                cells = self._ours(table, found, file)
                stay, tallies = sift(table, cells, self.settings)
                self._found.append(tallies)
                cells = cells[stay]
                check_no_gaps(cells, file)
                for guide, count in cells[GUIDE].value_counts().items():
                    guides[str(guide)] = guides.get(str(guide), 0) + int(count)
                if len(cells):
                    yield cells.reset_index(drop=True)

    def _tables(self, file: Path) -> Iterator[tuple[pd.DataFrame, dict[str, tuple[str, ...]]]]:
        made = self.table_of() if self.table_of else None
        present = [*dict.fromkeys([*(column_names(file) if made is None else made.columns), *self.adds])]
        optional = (*self.optional, GENE) if self.library else self.optional
        try:
            found = detect_columns(present, self.named, optional)
        except GrapeOpsError as error:
            raise GrapeOpsError(f"{file}: {error}") from None
        wanted: set[str] | None = None
        if len(present) > MANY_COLUMNS:
            ours = {name for names in found.values() for name in names}
            wanted = ours | {*READ_BY_RULES, *MARKS, *self.needs, *self.settings.keep_columns}
        for table in read_stretches(file, wanted) if made is None else [made]:
            yield (self.prepare(table, file) if self.prepare else table), found

    def _ours(self, table: pd.DataFrame, found: dict[str, tuple[str, ...]], file: Path) -> pd.DataFrame:
        """Put rows into our columns, their gene looked up and its symbol brought up to date."""
        ours = pd.DataFrame(index=table.index)
        for name in (*_NAMES, CLASS):
            if name in found:
                ours[name] = texts_of(table, found[name])
                ours[name] = ours[name] if name == CLASS else without_missing(ours[name])
        for name in (PLATE, WELL, TILE):
            if name not in ours:
                ours[name] = "1"
                self._found.append([without_column(name, table)])
        for axis in (Y, X):
            if axis in found:
                ours[axis] = numbers_of(table[found[axis][0]], file)
        if self.library:
            ours, tallies = self.library.look_up(ours, GENE in found)
            self._found.append(tallies)
        if self._aliases:
            retired = ours[GENE].isin(self._aliases.keys())
            self._found.append(
                [Tally("cells of retired gene symbols", int(retired.sum()), "renamed", "screen.aliases")]
            )
            ours[GENE] = ours[GENE].map(lambda gene: self._aliases.get(gene, gene))
        ours[IS_CONTROL] = find_controls(table, ours[GENE], self.settings.control_pattern)
        if self.library:
            ours[IS_CONTROL] |= ours[GUIDE].isin(self.library.controls)
        ours[GENE] = ours[GENE].where((ours[GENE] != "") | ~ours[IS_CONTROL], CONTROL_LABEL)
        first = [name for name in (*OUR_COLUMNS, *OPTIONAL) if name in ours]
        extra = [name for name in table.columns if name not in (*first, IS_CONTROL) and name not in self._partial]
        self._check_kinds(table[extra], file)
        return pd.concat([ours[first], table[extra], ours[[IS_CONTROL]]], axis=1)

    def _check_kinds(self, table: pd.DataFrame, file: Path) -> None:
        """Refuse a column that is numbers in one file and text in another."""
        for name in table:
            if table[name].isna().all():
                continue
            kind = "numbers" if pd.api.types.is_numeric_dtype(table[name]) else "text"
            before, earlier = self._kinds.setdefault(str(name), (kind, file))
            if kind != before:
                raise GrapeOpsError(
                    f"The column {name!r} holds {kind} in {file} and {before} in {earlier}; write it alike in both, or "
                    "remove it."
                )

    def _settle(self, cells: pd.DataFrame, ghosts: frozenset[str]) -> pd.DataFrame:
        stay, tallies = sift_well(cells, ghosts, self.settings)
        self._found.append(tallies)
        return cells[stay].reset_index(drop=True)

    def _refuse_nothing(self, guides: dict[str, int]) -> None:
        if not self._rows:
            raise GrapeOpsError(f"The cell table {self._listed()} has no rows.")
        if not guides:
            raise GrapeOpsError(
                f"No row of {self._listed()} is a cell to keep: {self._reasons()}. Every row that lacks a gene or a "
                f"guide is left out; name the right columns as screen.columns.{GENE} and screen.columns.{GUIDE}."
            )

    def _listed(self) -> str:
        return ", ".join(str(file) for file in self.files[:3])

    def _reasons(self) -> str:
        dropped = (tally for tally in merge_tallies(self._found) if tally.fate == "dropped")
        return "; ".join(
            counted(tally.count, tally.what) + (f" ({tally.setting})" if tally.setting else "") for tally in dropped
        )

    def _refuse_no_controls(self, any_control: bool, genes: Collection[str]) -> None:
        if not genes:
            raise GrapeOpsError(
                f"No cell of {self._listed()} is left: {self._reasons()}. What is named in brackets decides on them."
            )
        if not any_control:
            blank = self.library.blank if self.library else 0
            raise no_controls(genes, self.settings.control_pattern, self._listed(), blank)
