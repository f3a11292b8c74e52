"""Tables of vectors as AnnData (``.h5ad``, ``.zarr``) or Parquet, written in blocks.

Letters: n rows, V length of a vector.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import draft_folder_of, draft_of
from grape_ops.artifacts.hdf5 import new_hdf5
from grape_ops.artifacts.ownership import check_file, check_folder
from grape_ops.cells.genes import MADE_BY
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import UNS_MADE_BY, UNS_METHOD, UNS_SIMULATED

_ROWS = 16_384
_MARK = ".grape-ops-vectors"  # in a zarr folder that is ours


@dataclass
class VectorTable:
    """Rows of vectors and what is known of each.

    Attributes
    ----------
    obs : (n) rows.
    names : of the V numbers.
    vectors : (n, V), or a file that holds them as float32, row by row.
    method : what made them.
    notes : sentences on what was left out.
    simulated : whether the screen is simulated.
    """

    obs: pd.DataFrame
    names: tuple[str, ...]
    vectors: np.ndarray | Path
    method: str
    notes: tuple[str, ...] = ()
    simulated: bool = False

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their vectors."""
        width = len(self.names)
        for first in range(0, len(self.obs), _ROWS):
            rows = slice(first, min(first + _ROWS, len(self.obs)))
            if isinstance(self.vectors, Path):
                count = (rows.stop - first) * width
                yield rows, np.fromfile(self.vectors, np.float32, count, offset=4 * first * width).reshape(-1, width)
            else:
                yield rows, self.vectors[rows]


def check_place(out: Path) -> None:
    """Stop where a table of vectors may not be written, or cannot be by its ending."""
    if out.suffix not in (".h5ad", ".zarr", ".parquet"):
        raise GrapeOpsError(f"Vectors of cells and guides are written as .h5ad, .zarr or .parquet; got {out.name}.")
    if out.suffix == ".zarr":
        check_folder(out, "vectors", marker=_MARK)
    else:
        check_file(out, "a table of vectors", example=f"cells{out.suffix}", is_ours=_is_ours)


def write_table(table: VectorTable, out: Path) -> None:
    """Write a table by the ending of its name; it appears when it is complete."""
    if out.suffix == ".zarr":
        import zarr

        with draft_folder_of(out) as draft:
            _write_anndata(table, zarr.open_group(draft, mode="w", zarr_format=2))
            (draft / _MARK).touch()
        return
    with draft_of(out, tell=True) as draft:
        if out.suffix == ".parquet":
            _write_parquet(table, draft)
        else:
            with new_hdf5(draft) as (file, check):
                _write_anndata(table, file)
                check()


def _write_anndata(table: VectorTable, group: Any) -> None:
    """Write everything but X as anndata does, then X block by block."""
    from anndata import AnnData
    from anndata.io import write_elem

    described = AnnData(obs=table.obs, var=pd.DataFrame(index=pd.Index(table.names)))
    described.uns |= {UNS_METHOD: table.method, UNS_MADE_BY: MADE_BY}
    if table.simulated:
        described.uns[UNS_SIMULATED] = True
    write_elem(group, "/", described)
    shape = (len(table.obs), len(table.names))
    create = getattr(group, "create_array", None) or group.create_dataset
    if "X" in group:
        del group["X"]
    stored = create("X", shape=shape, dtype=np.float32, chunks=(min(4096, shape[0]), shape[1]))
    stored.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for rows, vectors in table.blocks():
        stored[rows] = vectors


def _write_parquet(table: VectorTable, draft: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    obs = pa.Table.from_pandas(table.obs, preserve_index=False)
    fields = [*obs.schema.remove_metadata(), *(pa.field(name, pa.float32()) for name in table.names)]
    facts = {UNS_MADE_BY: MADE_BY, UNS_METHOD: table.method} | ({UNS_SIMULATED: "true"} if table.simulated else {})
    schema = pa.schema(fields, metadata=facts)
    with pq.ParquetWriter(draft, schema) as writer:
        for rows, vectors in table.blocks():
            part = obs.slice(rows.start, rows.stop - rows.start)
            columns = [*part.columns, *(pa.array(np.ascontiguousarray(column)) for column in vectors.T)]
            writer.write_table(pa.table(columns, schema=schema))


def _is_ours(file: Path) -> bool:
    import h5py
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            return bool((pq.read_schema(file).metadata or {}).get(UNS_MADE_BY.encode()) == MADE_BY.encode())
        with h5py.File(file) as content:
            return bool(content[f"uns/{UNS_MADE_BY}"][()] == MADE_BY.encode())
    except (OSError, KeyError, ValueError):
        return False
