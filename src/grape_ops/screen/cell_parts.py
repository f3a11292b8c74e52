"""A cell table in files, one a (plate, well), so that nobody has to hold all of it."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, WELL


@dataclass(frozen=True)
class CellParts:
    """Where the parts lie, and the number of cells in each.

    Attributes
    ----------
    folder : holds one parquet file a well.
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

    def read(self, plate: str, well: str) -> pd.DataFrame:
        """Read the cells of one well, in the order of the table they came from."""
        if (plate, well) not in self.files:
            raise GrapeOpsError(f"The cell table has no cells of plate {plate}, well {well}.")
        return pd.read_parquet(self.folder / self.files[plate, well])

    @classmethod
    def write(cls, stretches: Iterable[pd.DataFrame], folder: Path) -> "CellParts":
        """Sort a table by well as it comes, a stretch at a time; what lay in the folder is replaced."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        writers: dict[tuple[str, str], pq.ParquetWriter] = {}
        files: dict[tuple[str, str], str] = {}
        counts: dict[tuple[str, str], int] = {}
        schema: pa.Schema | None = None
        try:
            for stretch in stretches:
                for (plate, well), cells in stretch.groupby([PLATE, WELL], sort=False):
                    place = (str(plate), str(well))
                    part = pa.Table.from_pandas(cells, schema=schema, preserve_index=False)
                    schema = part.schema
                    if place not in writers:
                        files[place] = f"{len(files):05d}.parquet"
                        writers[place] = pq.ParquetWriter(folder / files[place], schema)
                    writers[place].write_table(part)
                    counts[place] = counts.get(place, 0) + len(cells)
        except pa.ArrowException as error:
            raise GrapeOpsError(f"A column of the cell table holds values of several kinds: {error}.") from None
        finally:
            for writer in writers.values():
                writer.close()
        return cls(folder, files, counts)

    def replace(self, plate: str, well: str, cells: pd.DataFrame) -> None:
        """Put other cells in place of those of a well."""
        cells.to_parquet(self.folder / self.files[plate, well], index=False)
        self.counts[plate, well] = len(cells)
