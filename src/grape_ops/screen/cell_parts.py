"""A cell table in files, one a (plate, well), so that nobody has to hold all of it.

The files are Arrow streams: written a piece at a time, they keep nothing of the earlier pieces in memory, as parquet
does.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, WELL


@dataclass(frozen=True)
class CellParts:
    """Where the parts lie, and the number of cells in each.

    Attributes
    ----------
    folder : holds one file per well.
    files : name of the file of each (plate, well).
    counts : cells of each (plate, well).
    """

    folder: Path
    files: dict[tuple[str, str], str]
    counts: dict[tuple[str, str], int]

    @property
    def wells(self) -> list[tuple[str, str]]:
        """Every (plate, well) with cells, sorted."""
        return sorted(place for place, count in self.counts.items() if count)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def read(self, plate: str, well: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the cells of one well, in the order of the table they came from; all columns if None are named."""
        if (plate, well) not in self.files:
            raise GrapeOpsError(f"The cell table has no cells of plate {plate}, well {well}.")
        file = self.folder / self.files[plate, well]
        chosen = None
        if columns is not None:
            with pa.ipc.open_stream(file) as stream:
                chosen = sorted(map(stream.schema.get_field_index, columns))
        with pa.ipc.open_stream(file, options=pa.ipc.IpcReadOptions(included_fields=chosen)) as stream:
            cells = stream.read_pandas()
        return cells if columns is None else cells[list(columns)]

    @classmethod
    def write(cls, stretches: Iterable[pd.DataFrame], folder: Path) -> "CellParts":
        """Sort a table by well as it comes, a stretch at a time; what lay in the folder is replaced."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        writers: dict[tuple[str, str], pa.RecordBatchStreamWriter] = {}
        files: dict[tuple[str, str], str] = {}
        counts: dict[tuple[str, str], int] = {}
        schema: pa.Schema | None = None
        begun_empty: list[str] = []
        try:
            with ExitStack() as opened:
                for stretch in stretches:
                    for (plate, well), cells in stretch.groupby([PLATE, WELL], sort=False):
                        place = (str(plate), str(well))
                        if schema is None:
                            schema = pa.Schema.from_pandas(cells, preserve_index=False)
                            begun_empty = [name for name in schema.names if pa.types.is_null(schema.field(name).type)]
                            for name in begun_empty:
                                schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
                        # Of what a column without any value will hold later, nothing is known: it becomes text.
                        texts = {name: cells[name].map(str, na_action="ignore") for name in begun_empty}
                        part = pa.Table.from_pandas(cells.assign(**texts), schema=schema, preserve_index=False)
                        if place not in writers:
                            files[place] = f"{len(files):05d}.arrow"
                            writers[place] = opened.enter_context(_writer(folder / files[place], schema))
                        writers[place].write_table(part)
                        counts[place] = counts.get(place, 0) + len(cells)
        except pa.ArrowException as error:
            raise GrapeOpsError(f"A column of the cell table holds values of several kinds: {error}.") from None
        return cls(folder, files, counts)

    def replace(self, plate: str, well: str, cells: pd.DataFrame) -> None:
        """Put other cells in place of those of a well."""
        part = pa.Table.from_pandas(cells, preserve_index=False)
        with _writer(self.folder / self.files[plate, well], part.schema) as writer:
            writer.write_table(part)
        self.counts[plate, well] = len(cells)


def _writer(file: Path, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
    return pa.ipc.new_stream(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
