"""Files that are damaged in ways their libraries do not notice, or do not survive."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.screen.lmdb_pages import check_pages
from grape_ops.screen.table_files import column_names, read_stretches


def test_an_lmdb_store_that_was_cut_off_is_refused_before_it_kills_the_process(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    file = tmp_path / "crops.lmdb"
    with lmdb.open(str(file), subdir=False, map_size=1 << 20, lock=False) as store, store.begin(write=True) as writer:
        for number in range(20):
            writer.put(b"%d" % number, bytes(5000))
    check_pages(file)
    whole = file.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 8192, 4096, 100, 0):
        file.write_bytes(whole[:length])
        with pytest.raises(GrapeOpsError, match=r"crops.lmdb is (cut off|no LMDB store)"):
            check_pages(file)


def test_lists_are_no_columns_of_cells_and_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table(
        {"gene": ["A", "B"], "y": np.array([1.5, 2], np.float16), "box": [[1, 2], [3]], "raw": [b"a", b"b"]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert column_names(tmp_path / "t.parquet") == ["gene", "y", "raw"]
    (read,) = read_stretches(tmp_path / "t.parquet")
    assert read["y"].tolist() == [1.5, 2.0] and read["raw"].tolist() == ["a", "b"]
    pq.write_table(table.append_column("y", table["y"]), tmp_path / "t.parquet")
    with pytest.raises(GrapeOpsError, match=r"t.parquet cannot be read: it has the column 'y' more than once"):
        list(read_stretches(tmp_path / "t.parquet"))
