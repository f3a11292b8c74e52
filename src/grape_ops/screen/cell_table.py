"""The cells of a screen, one row per cell: in memory, or in one file per well where the table is too large for it.

Either way they are read one (plate, well) at a time.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, WELL
from grape_ops.screen.quality import Tally

Place = tuple[str, str]  # plate and well


@dataclass(frozen=True, kw_only=True)
class CellTable(ABC):
    """A cell table, read one well at a time; ``collect_cells`` makes one.

    Attributes
    ----------
    columns : names of all columns.
    counts : number of cells of each (plate, well).
    quality : what reading the tables met: how many cells, kept or dropped, by which setting.
    """

    columns: tuple[str, ...]
    counts: Mapping[Place, int]
    quality: tuple[Tally, ...] = ()

    @abstractmethod
    def of(self, plate: str, well: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the cells of one well, in the order of the table; all columns if None are named."""

    @abstractmethod
    def filter(self, stays: Callable[[pd.DataFrame], pd.Series]) -> "CellTable":
        """Leave out cells; ``stays`` gets all cells of one or several wells and tells for each, (N,) bool."""

    @property
    def wells(self) -> list[Place]:
        """Every (plate, well) with cells, sorted."""
        return sorted(place for place, count in self.counts.items() if count)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[tuple[Place, pd.DataFrame]]:
        """Go through the wells: (plate, well), cells."""
        return ((place, self.of(*place)) for place in self.wells)

    def to_pandas(self) -> pd.DataFrame:
        """Return all cells at once, well by well."""
        return pd.concat([cells for _, cells in self], ignore_index=True)

    def distinct(self, columns: Sequence[str]) -> pd.DataFrame:
        """List the combinations of values of some columns, in the order of the wells."""
        wells = [self.of(*place, columns).drop_duplicates() for place in self.wells]
        return pd.concat(wells, ignore_index=True).drop_duplicates(ignore_index=True)

    def beginning(self, column: str, n: int = 256) -> list[str]:
        """Return a column's values of the first cells of the first well, as text."""
        return self.of(*self.wells[0], [column])[column].head(n).astype(str).tolist()

    def count_distinct(self, column: str) -> int:
        """Count the values of a column, of which there may be as many as cells: 8 bytes of each are kept."""
        hashes = [pd.util.hash_array(self.of(*place, [column])[column].to_numpy()) for place in self.wells]
        return len(np.unique(np.concatenate(hashes)))

    def count_by(self, columns: Sequence[str]) -> pd.DataFrame:
        """Count the cells of each combination of values of some columns: these columns, and ``cells``."""
        by = list(columns)
        found = [self.of(*place, by).groupby(by, sort=False, dropna=False).size() for place in self.wells]
        return pd.concat(found).groupby(by, sort=False, dropna=False).sum().rename("cells").reset_index()

    def in_wells(self, wells: Collection[Place]) -> "CellTable":
        """Keep the cells of wells that have images: whole screens are larger than what people fetch of them.

        Raises
        ------
        GrapeOpsError : no well is left.
        """
        kept = {place: count for place, count in self.counts.items() if place in wells}
        lost = len(self) - sum(kept.values())
        if lost == len(self):
            named, found = (", ".join(" ".join(place) for place in sorted(some)[:3]) for some in (self.wells, wells))
            raise GrapeOpsError(
                f"No cell is of a well with images: the table names {named}, the images are of {found or 'others'}."
            )
        if not lost:
            return self
        tally = Tally("cells of wells without images", lost, "dropped")
        return replace(self, counts=kept, quality=(*self.quality, tally))


@dataclass(frozen=True, kw_only=True)
class _InMemory(CellTable):
    """Cells in one table, and the rows of each (plate, well)."""

    cells: pd.DataFrame
    rows: Mapping[Place, np.ndarray]

    @classmethod
    def hold(cls, cells: pd.DataFrame) -> "_InMemory":
        indices: dict[Any, Any] = dict(cells.groupby([PLATE, WELL]).indices)
        rows = {(str(plate), str(well)): own for (plate, well), own in indices.items()}
        counts = {place: len(own) for place, own in rows.items()}
        return cls(columns=tuple(map(str, cells.columns)), counts=counts, cells=cells, rows=rows)

    def of(self, plate: str, well: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        cells = self.cells if columns is None else self.cells[list(columns)]
        return cells.iloc[self.rows[plate, well]].reset_index(drop=True)

    def filter(self, stays: Callable[[pd.DataFrame], pd.Series]) -> CellTable:
        return self.hold(self.cells[stays(self.cells)].reset_index(drop=True))


@dataclass(frozen=True, kw_only=True)
class _InFiles(CellTable):
    """Cells in one Arrow stream per (plate, well): unlike parquet, its writer keeps nothing written in memory."""

    files: Mapping[Place, Path]

    def of(self, plate: str, well: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        file, chosen = self.files[plate, well], None
        if columns is not None:
            with pa.ipc.open_stream(file) as stream:
                chosen = sorted(map(stream.schema.get_field_index, columns))
        with pa.ipc.open_stream(file, options=pa.ipc.IpcReadOptions(included_fields=chosen)) as stream:
            cells = stream.read_pandas()
        return cells if columns is None else cells[list(columns)]

    def filter(self, stays: Callable[[pd.DataFrame], pd.Series]) -> CellTable:
        """Leave out cells, in the files themselves."""
        counts = {}
        for place, cells in self:
            part = pa.Table.from_pandas(cells[stays(cells)], preserve_index=False)
            with _writer(self.files[place], part.schema) as writer:
                writer.write_table(part)
            counts[place] = len(part)
        return replace(self, counts=counts)


def collect_cells(stretches: Iterable[pd.DataFrame], folder: Path | None = None) -> CellTable:
    """Put together a cell table that comes one stretch of rows at a time.

    Parameters
    ----------
    folder : gets one file per (plate, well), so that only one stretch is in memory; what lies there is deleted.
        None holds the table in memory.

    Raises
    ------
    GrapeOpsError : a column holds values of several kinds.
    """
    if folder is None:
        held = list(stretches)
        return _InMemory.hold(pd.concat(held, ignore_index=True) if held else pd.DataFrame(columns=[PLATE, WELL]))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writers: dict[Place, pa.RecordBatchStreamWriter] = {}
    files: dict[Place, Path] = {}
    counts: dict[Place, int] = {}
    schema: pa.Schema | None = None
    begun_empty: list[str] = []
    try:
        with ExitStack() as opened:
            for stretch in stretches:
                for (plate, well), cells in stretch.groupby([PLATE, WELL], sort=False):
                    place = (str(plate), str(well))
                    if schema is None:
                        schema, begun_empty = _schema(cells)
                    texts = {name: cells[name].map(str, na_action="ignore") for name in begun_empty}
                    part = pa.Table.from_pandas(cells.assign(**texts), schema=schema, preserve_index=False)
                    if place not in writers:
                        files[place] = folder / f"{len(files):05d}.arrow"
                        writers[place] = opened.enter_context(_writer(files[place], schema))
                    writers[place].write_table(part)
                    counts[place] = counts.get(place, 0) + len(cells)
    except pa.ArrowException as error:
        raise GrapeOpsError(f"A column of the cell table holds values of several kinds: {error}.") from None
    return _InFiles(columns=tuple(schema.names if schema else ()), counts=counts, files=files)


def _schema(cells: pd.DataFrame) -> tuple[pa.Schema, list[str]]:
    """Types of the columns, and those without any value so far: what they will hold is unknown, so it becomes text."""
    schema = pa.Schema.from_pandas(cells, preserve_index=False)
    empty = [name for name in schema.names if pa.types.is_null(schema.field(name).type)]
    for name in empty:
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
    return schema, empty


def _writer(file: Path, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
    return pa.ipc.new_stream(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
