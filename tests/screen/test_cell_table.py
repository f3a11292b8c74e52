"""A cell table in files, whose columns may be empty for long stretches."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grape_ops.screen.cell_table import collect_cells
from grape_ops.screen.table_files import ROWS_AT_ONCE, read_stretches


def test_columns_of_a_parquet_table_may_be_empty_in_the_first_stretch(tmp_path: Path) -> None:
    empty, filled = ROWS_AT_ONCE + 10, 100
    columns = {
        "plate": pa.array(["P1"] * (empty + filled)),
        "well": pa.array(["A1"] * empty + ["A1", "B1"] * (filled // 2)),
        "class": pa.nulls(empty, pa.string()).to_pylist() + ["interphase"] * filled,
        "checked": pa.array([None] * empty + [True] * filled, pa.bool_()),
        "never": pa.nulls(empty + filled, pa.string()),
        "area": pa.array([None] * empty + [7.5] * filled, pa.float64()),
    }
    pq.write_table(pa.table(columns), tmp_path / "cells.parquet")
    cells = collect_cells(read_stretches(tmp_path / "cells.parquet"), tmp_path / "cells")
    assert cells.counts == {("P1", "A1"): empty + filled // 2, ("P1", "B1"): filled // 2}
    first, second = cells.of("P1", "A1"), cells.of("P1", "B1")
    assert first["class"].isna().sum() == empty and set(second["class"]) == {"interphase"}
    assert set(second["checked"]) == {"True"} and second["never"].isna().all()
    np.testing.assert_array_equal(second["area"], np.full(filled // 2, 7.5))
    assert pd.api.types.is_float_dtype(first["area"])
