"""Reading users' cell tables: our column names, gene symbols and controls; cells that fail a rule are left out."""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.schema import CLASS, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, TILE, WELL, X, Y
from grape_ops.screen.cell_rules import READ_BY_RULES, ghost_guides, sift, sift_well
from grape_ops.screen.cell_table import CellTable, collect_cells
from grape_ops.screen.columns import OPTIONAL, OUR_COLUMNS, detect_columns
from grape_ops.screen.guide_library import MARKS, GuideLibrary, find_controls, no_controls, read_library
from grape_ops.screen.quality import Tally, merge_tallies
from grape_ops.screen.spelling import without_missing
from grape_ops.screen.table_files import column_names, read_stretches
from grape_ops.words import counted

_NAMES = (GENE, GUIDE, PLATE, WELL, TILE)
MANY_COLUMNS = 50  # more than this are measurements, which a crop store does not need

# What a layout does to the rows of one of its tables before ours looks at them.
Prepare = Callable[[pd.DataFrame, Path], pd.DataFrame]


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

    def read(self, folder: Path | None = None) -> CellTable:
        """Read the tables: our columns first, then the user's own as they are, and ``is_control``.

        Plates, wells, tiles, genes and guides become strings, y and x floats.

        Parameters
        ----------
        folder : keeps the table in one file per well; only one stretch or one well is then in memory.

        Raises
        ------
        GrapeOpsError : a file is missing or unreadable, a column is missing, or a value does not fit.
        """
        if self.library:
            self._found.append(list(self.library.quality))
        guides: dict[str, int] = {}
        self._partial = self._find_partial()
        cells = collect_cells(self._stretches(guides), folder)
        self._check_not_empty(guides)
        ghosts = ghost_guides(pd.Series(guides), self.settings.ghost_factor)
        cells = cells.filter(lambda own: self._sift_well(own, ghosts))
        self._check_some_left(cells)
        return replace(cells, quality=merge_tallies(self._found))

    def _find_partial(self) -> frozenset[object]:
        """Find the columns that only some of the files have; the rules read them, but they are not kept."""
        if len(self.files) < 2:
            return frozenset()
        present = [set[object](column_names(file)) for file in self.files]
        partial = frozenset(set.union(*present) - set.intersection(*present)) - {*OUR_COLUMNS, *OPTIONAL, *self.adds}
        self._found.append([Tally("columns that only some of the tables have", len(partial), "dropped")])
        return partial

    def _stretches(self, guides: dict[str, int]) -> Iterator[pd.DataFrame]:
        """Read all files one stretch at a time, without the cells that fail a rule; counts the cells of each guide."""
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
        """Put rows into our columns; genes are looked up in the library and retired symbols replaced."""
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

    def _sift_well(self, cells: pd.DataFrame, ghosts: frozenset[str]) -> pd.Series:
        stay, tallies = sift_well(cells, ghosts, self.settings)
        self._found.append(tallies)
        return stay

    def _check_not_empty(self, guides: dict[str, int]) -> None:
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

    def _check_some_left(self, cells: CellTable) -> None:
        if not len(cells):
            raise GrapeOpsError(
                f"No cell of {self._listed()} is left: {self._reasons()}. What is named in brackets decides on them."
            )
        named = cells.distinct([GENE, IS_CONTROL])
        if not named[IS_CONTROL].any():
            blank = self.library.blank if self.library else 0
            raise no_controls(set(named[GENE]), self.settings.control_pattern, self._listed(), blank)


def texts_of(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Join columns as text; a whole number written as a float loses its ``.0``, a gap becomes empty."""
    parts = []
    for column in columns:
        # Each value is put into words once: cells by the million are of a few thousand guides and tiles.
        codes, found = pd.factorize(table[column], use_na_sentinel=False)
        values = pd.Series(found)
        text = values.astype(str).where(values.notna(), "").str.strip()
        if pd.api.types.is_float_dtype(values) or column_is_number(text):
            text = text.str.removesuffix(".0")
        parts.append(text.to_numpy(object)[codes])
    return pd.Series(sum(parts[1:], start=parts[0]), index=table.index)


def without_column(name: str, table: pd.DataFrame) -> Tally:
    """Note that the table has no plate, well or tile, and which column may be meant."""
    close = difflib.get_close_matches(name, [str(column).lower() for column in table], 1, 0.75)
    hint = f" (is it {close[0]}?)" if close else ""
    return Tally(f"cells without a column {name}{hint}", len(table), "noted", f"screen.columns.{name}")


def column_is_number(text: pd.Series) -> bool:
    """Tell whether a column of text holds whole numbers that were written as floats: 1.0, 2.0."""
    known = text[text != ""]
    return len(known) > 0 and bool(known.str.fullmatch(r"\d+\.0").all())


def numbers_of(values: pd.Series, path: Path) -> pd.Series:
    """Read coordinates; gaps stay gaps.

    Raises
    ------
    GrapeOpsError : a value is no number.
    """
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        values = values.astype(str)  # they would become nanoseconds
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    bad = numbers.isna() & values.notna()
    bad &= ~values.isin(values[bad][values[bad].astype(str).str.strip() == ""])
    if bad.any():
        raise GrapeOpsError(
            f"The column {values.name!r} of {path} must hold numbers, but {int(bad.sum())} rows do not, for example "
            f"{values[bad].iloc[0]!r}. Name the right column under screen.columns."
        )
    return numbers


def check_no_gaps(cells: pd.DataFrame, path: Path) -> None:
    """Refuse identified cells that lack a plate, well, tile or coordinate."""
    for column in (name for name in (PLATE, WELL, TILE, Y, X) if name in cells):
        gaps = int(((cells[column] == "") | cells[column].isna()).sum())
        if gaps:
            raise GrapeOpsError(
                f"{gaps} of {len(cells)} identified cells in {path} have no {column}. Remove these rows, or name "
                f"another column as screen.columns.{column}."
            )
