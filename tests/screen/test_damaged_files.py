"""Files that are damaged in ways their libraries do not notice, or do not survive."""

import random
import struct
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


def test_an_lmdb_store_whose_last_pages_were_given_up_is_whole_until_a_key_or_value_is_cut_off(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    file, draw = tmp_path / "crops.lmdb", random.Random(285)
    with lmdb.open(str(file), subdir=False, map_size=1 << 24, lock=False) as store:
        for _ in range(draw.randint(1, 4)):
            with store.begin(write=True) as writer:
                keys = set[bytes]()
                for _ in range(draw.randint(1, 120)):
                    if keys and draw.random() < 0.5:
                        key = draw.choice(sorted(keys))
                        writer.delete(key)
                        keys.discard(key)
                    else:
                        key = b"%05d" % draw.randint(0, 300)
                        writer.put(key, bytes(draw.choice([10, 500, 3000, 9000])))
                        keys.add(key)
                if draw.random() < 0.5:
                    for key in sorted(keys)[len(keys) // 4 :]:
                        writer.delete(key)
    whole = file.read_bytes()
    last = max(struct.unpack_from("<QQ", whole, start + 136)[::-1] for start in (0, 4096))[1]
    assert len(whole) < (last + 1) * 4096  # the case that is tested
    check_pages(file)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GrapeOpsError, match=r"crops.lmdb is cut off"):
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


def test_a_column_that_is_twice_in_a_text_table_is_refused_if_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("gene,x,x,\nA,1,2,\nB,1,2,\n")
    with pytest.raises(GrapeOpsError, match="t.csv cannot be read: it has the column 'x' more than once"):
        list(read_stretches(tmp_path / "t.csv"))
    assert len(next(read_stretches(tmp_path / "t.csv", {"gene"}))) == 2
    (tmp_path / "t.csv").write_bytes(b"gene,x\rA,1\rB,1\r")  # lines as old Macs end them
    assert len(next(read_stretches(tmp_path / "t.csv"))) == 2
