"""Reading users' cell tables: our column names, gene symbols and controls; cells that fail a rule are left out."""

import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.groundtruth.names import clean_name, has_control, visible_form
from grape_ops.schema import CLASS, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, TILE, WELL, X, Y
from grape_ops.screen.cell_rules import READ_BY_RULES, UNKNOWN, ghost_guides, sift, sift_well
from grape_ops.screen.cell_table import CellTable, collect_cells
from grape_ops.screen.columns import OPTIONAL, OUR_COLUMNS, detect_columns
from grape_ops.screen.guide_library import (
    GuideLibrary,
    find_controls,
    is_control,
    marking_columns,
    no_controls,
    read_library,
)
from grape_ops.screen.quality import NamedCounts, Tally, merge_tallies
from grape_ops.screen.spelling import MISSING, different_values, loose
from grape_ops.screen.table_files import TablePart, parts_of
from grape_ops.words import counted, some_of

_NAMES = (GENE, GUIDE, PLATE, WELL, TILE)
_NAMED = "named in the table"
_ID_COLUMNS = ("perturbation_id", "gene_id", "gene_id_0")  # a library's symbols are other words for what they hold
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
        self._told = NamedCounts()
        self._genes: dict[str, dict[str, int]] = {}  # of each guide
        self._rows = 0
        self._kinds: dict[str, tuple[str, Path]] = {}
        self._partial: frozenset[object] = frozenset()
        self._filled: dict[str, str | float] = {}

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
        sources = self._sources()
        self._compare_columns(sources)
        cells = collect_cells(self._stretches(sources), folder)
        guides = {guide: sum(genes.values()) for guide, genes in self._genes.items()}
        self._check_not_empty(guides)
        ghosts = ghost_guides(pd.Series(guides), self.settings.ghost_factor)
        cells = cells.filter(lambda own: self._sift_well(own, ghosts))
        self._check_some_left(cells)
        told = [*self._told.tallies(), *several_genes(self._genes)]
        return replace(cells, quality=merge_tallies([*self._found, told]))

    def _sources(self) -> list["_Source"]:
        """List all files of all tables, with the columns that each has: parts of one table may differ."""
        sources = []
        for file in self.files:
            made = self.table_of() if self.table_of else None
            for part in [TablePart(file)] if made is not None else parts_of(file):
                columns = part.column_names() if made is None else map(str, made.columns)
                name = part.file.relative_to(file.parent).as_posix()
                sources.append(_Source(file, part, name, [*dict.fromkeys([*columns, *self.adds])], {}, made))
        # A place that all files name is taken from there: one may have coordinates of another frame as well.
        common = [column for column in sources[0].present if all(column in other.present for other in sources)]
        named = {ours: theirs for ours, theirs in self.named.items() if theirs in common}
        shared = detect_columns(common, named, OUR_COLUMNS) if set(named) == set(self.named) else {}
        places = {ours: shared[ours][0] for ours in (PLATE, WELL, TILE, Y, X) if len(shared.get(ours, ())) == 1}
        return [self._detect(source, {**places, **self.named}) for source in sources]

    def _detect(self, source: "_Source", named: Mapping[str, str]) -> "_Source":
        optional = (*self.optional, GENE) if self.library else self.optional
        try:
            return replace(source, found=detect_columns(source.present, named, optional))
        except GrapeOpsError as error:
            raise GrapeOpsError(f"{source.part.file}: {error}") from None

    def _compare_columns(self, sources: Sequence["_Source"]) -> None:
        """Find the columns that only some of the files have: the rules read them, but only ours are kept and filled."""
        if len(sources) < 2:
            return
        present = [set[object](source.present) for source in sources]
        ours = [set[object](source.found) for source in sources]
        partial = set.union(*present) - set.intersection(*present)
        self._partial = frozenset(partial - {*OUR_COLUMNS, *OPTIONAL, *self.adds})
        gaps: dict[str, str | float] = {CLASS: "", Y: math.nan, X: math.nan}
        self._filled = {name: gaps[name] for name in set.union(*ours) - set.intersection(*ours) if name in gaps}
        taken = {column for source in sources for columns in source.found.values() for column in columns}
        lost = [
            f"{column} is not in {some_of([source.name for source in sources if column not in source.present], 1)}"
            for column in sorted(map(str, self._partial - taken))
        ]
        what = f"columns that only some of the tables have ({some_of(lost)})"
        self._found.append([Tally(what, len(lost), "dropped")])

    def _stretches(self, sources: Sequence["_Source"]) -> Iterator[pd.DataFrame]:
        """Read all files one stretch at a time, without the cells that fail a rule; counts the genes of each guide."""
        for source in sources:
            for table in self._tables(source):
                self._rows += len(table)
                cells = self._ours(table, source)
                stay, tallies = sift(table, cells, self.settings)
                self._found.append(tallies)
                cells = cells[stay]
                check_no_gaps(cells, source.part.file)
                genes = cells[GENE].where(~cells[IS_CONTROL], CONTROL_LABEL)
                for (guide, gene), count in count_combinations(cells[GUIDE], genes):
                    known = self._genes.setdefault(guide, {})
                    known[gene] = known.get(gene, 0) + count
                if len(cells):
                    yield cells.reset_index(drop=True)

    def _tables(self, source: "_Source") -> Iterator[pd.DataFrame]:
        wanted: set[str] | None = None
        if len(source.present) > MANY_COLUMNS:
            ours = {name for names in source.found.values() for name in names}
            marks = marking_columns(source.present)
            wanted = ours | {*READ_BY_RULES, *marks, *self.needs, *self.settings.keep_columns}
        for table in source.part.read_stretches(wanted) if source.made is None else [source.made]:
            yield self.prepare(table, source.file) if self.prepare else table

    def _ours(self, table: pd.DataFrame, source: "_Source") -> pd.DataFrame:
        """Put rows into our columns; genes are looked up in the library and retired symbols replaced."""
        found, file = source.found, source.part.file
        ours = pd.DataFrame(index=table.index)
        for name in (*_NAMES, CLASS):
            if name in found:
                ours[name] = texts_of(table, found[name], self._told, name)
        for name in (PLATE, WELL, TILE):
            if name not in ours:
                ours[name] = "1"
                self._found.append([without_column(name, table)])
        for axis in (Y, X):
            if axis in found:
                ours[axis] = numbers_of(table[found[axis][0]], file)
        for name, gap in self._filled.items():
            if name not in ours:
                ours[name] = gap
        ours = self._with_symbols(ours, found)
        first = [name for name in (*OUR_COLUMNS, *OPTIONAL) if name in ours]
        ours[IS_CONTROL] = find_controls(table, ours[GENE], self.settings.control_pattern, self._told)
        if self.library:
            ours[IS_CONTROL] |= ours[GUIDE].isin(self.library.controls)
            self._compare_genes(ours, found)
        ours[GENE] = ours[GENE].where((ours[GENE] != "") | ~ours[IS_CONTROL], CONTROL_LABEL)
        extra = [name for name in table.columns if name not in (*first, IS_CONTROL) and name not in self._partial]
        self._check_kinds(table[extra], file)
        return pd.concat([ours[first], table[extra], ours[[IS_CONTROL]]], axis=1)

    def _with_symbols(self, ours: pd.DataFrame, found: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
        """Take genes from the library, and replace retired symbols; those of the table itself stay as ``_NAMED``."""
        if self.library:
            named = ours[GENE] if GENE in found else pd.Series("", index=ours.index)
            ours, tallies = self.library.look_up(ours, GENE in found)
            self._found.append(tallies)
            ours[_NAMED] = named
        if self._aliases:
            retired = ours[GENE].isin(self._aliases.keys())
            self._found.append(
                [Tally("cells of retired gene symbols", int(retired.sum()), "renamed", "screen.aliases")]
            )
            ours[GENE] = ours[GENE].map(lambda gene: self._aliases.get(gene, gene))
        return ours

    def _compare_genes(self, ours: pd.DataFrame, found: Mapping[str, tuple[str, ...]]) -> None:
        """Tell cells whose own gene is another than that of the library; an id is no symbol, and not compared."""
        assert self.library
        if GENE not in found or found[GENE][0].lower() in _ID_COLUMNS:
            return
        known = ours[ours[GUIDE].isin(self.library.genes.keys())]
        pattern, differing = self.settings.control_pattern, dict[str, int]()
        genes = known[GENE].where(~known[IS_CONTROL], CONTROL_LABEL)
        for (own, gene), count in count_combinations(known[_NAMED], genes):
            symbol = self._aliases.get(own, own)
            both_controls = gene == CONTROL_LABEL and bool(is_control(pd.Series([own]), pattern).any())
            if own and loose(symbol) != loose(gene) and not both_controls and not UNKNOWN.fullmatch(own):
                pair = f"{own} of the table is {gene or 'without a gene'} in the library"
                differing[pair] = differing.get(pair, 0) + count
        what = "cells whose gene the library gives otherwise, which counts"
        self._told.add(what, differing, "doubted", "screen.library")

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


@dataclass(frozen=True)
class _Source:
    """One file of a cell table.

    Attributes
    ----------
    file : the table, a file or a folder.
    part : the file itself; ``name`` is that of the table and its own.
    present, found : its columns, and which of them are ours.
    made : the table, where it is not read from the file.
    """

    file: Path
    part: TablePart
    name: str
    present: Sequence[str]
    found: Mapping[str, tuple[str, ...]]
    made: pd.DataFrame | None


def count_combinations(first: pd.Series, second: pd.Series) -> Iterator[tuple[tuple[str, str], int]]:
    """Count the rows of each combination of two texts: (N,), (N,) -> ((text, text), count), as they first come."""
    sizes = pd.DataFrame({"first": first, "second": second}).groupby(["first", "second"], sort=False).size()
    for names, count in zip(sizes.index.to_flat_index(), sizes.to_numpy().tolist(), strict=True):
        yield (str(names[0]), str(names[1])), count


def several_genes(genes: Mapping[str, Mapping[str, int]]) -> list[Tally]:
    """Tell guides that a cell table gives to several genes: guide -> gene -> cells."""
    several = {}
    for guide, counts in genes.items():
        named = [gene for gene in counts if not UNKNOWN.fullmatch(gene)]
        if len(named) > 1:
            several[f"{guide}: {', '.join(named[:3])}"] = 1
    found = NamedCounts()
    found.add("guides that the cell table gives to several genes", several, "doubted")
    return found.tallies()


def texts_of(table: pd.DataFrame, columns: tuple[str, ...], told: NamedCounts, ours: str) -> pd.Series:
    """Join columns as clean text (``clean_name``); a whole number written as a float loses its ``.0``, a gap is empty.

    Parameters
    ----------
    told : gets the names that were written otherwise than they are read.
    ours : what the text is, such as "gene_symbol".
    """
    parts = []
    for column in columns:
        # Each value is put into words once: cells by the million are of a few thousand guides and tiles.
        codes, found = different_values(table[column])
        values = pd.Series(found, dtype=None if found else object)
        text = values.astype(str).where(values.notna(), "").str.strip()
        if pd.api.types.is_float_dtype(values) or column_is_number(text):
            text = text.str.removesuffix(".0")
        clean = [clean_name(name) for name in text]
        if clean != text.tolist() or any(map(has_control, clean)):
            clean = _tell_changes(text.tolist(), clean, np.bincount(codes), told, ours)
        if ours != CLASS:
            clean = ["" if name.lower() in MISSING else name for name in clean]
        parts.append(np.array([*clean, None], dtype=object)[:-1][codes])
    return pd.Series(sum(parts[1:], start=parts[0]), index=table.index)


def _tell_changes(
    before: Sequence[str], clean: Sequence[str], counts: np.ndarray, told: NamedCounts, ours: str
) -> list[str]:
    """Count the cells of names that were cleaned, and empty those with control characters: they are damaged."""
    damaged = [has_control(name) for name in clean]
    of = list(zip(before, clean, damaged, counts.tolist(), strict=True))
    cleaned = {visible_form(name): count for name, own, bad, count in of if own != name and not bad}
    what = f"cells whose {ours} was written with invisible characters or in another Unicode form"
    told.add(what, cleaned, "renamed")
    lost = {visible_form(name): count for name, _, bad, count in of if bad}
    told.add(f"cells whose {ours} holds control characters, and counts as missing", lost, "noted")
    return ["" if bad else name for name, bad in zip(clean, damaged, strict=True)]


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
