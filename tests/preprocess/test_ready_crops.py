"""Ready crops a well at a time: the same store from a table in parts, from processes, and from a cluster."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_screen import contents

from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.cell_parts import CellParts
from grape_ops.screen.screen import Screen, no_tile, no_tiles


@dataclass(frozen=True)
class Crops:
    """Crops of uint16 made of the cell's number; notes how many cells it is asked for at once."""

    root: Path
    broken: tuple[int, ...] = ()

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        with (self.root / "reads.log").open("a") as log:
            log.write(f"{' '.join(sorted(set(cells['well'])))}\n")
        numbers = cells["crop"].to_numpy(int)
        if set(self.broken) & set(numbers.tolist()):
            raise GrapeOpsError("a crop is broken")
        noise = [np.random.default_rng(number).integers(100, 4000, (2, 32, 32)) for number in numbers]
        return np.stack(noise).astype(np.uint16)


def ready(root: Path, parts: bool, broken: tuple[int, ...] = ()) -> Screen:
    root.mkdir(parents=True, exist_ok=True)
    number = np.arange(90)
    cells = pd.DataFrame(
        {"gene_symbol": np.where(number % 5 == 0, "nontargeting", "G" + pd.Series(number % 7).map(str))}
    )
    cells["sgRNA"], cells["plate"], cells["tile"] = cells["gene_symbol"] + "_1", "P1", "1"
    cells["well"] = np.array(["A1", "A2", "B1"])[number % 3]
    cells["is_control"], cells["crop"] = number % 5 == 0, number
    kept = CellParts.write([cells[:50], cells[50:]], root / "cells") if parts else None
    return Screen(
        Path("ready"),
        ("a", "b"),
        cells[:0] if parts else cells,
        no_tiles(),
        no_tile,
        parts=kept,
        read_crops=Crops(root, broken),
    )


def settings(**changes: object) -> PreprocessSettings:
    return PreprocessSettings.model_validate({"crop_size": 32, "workers": 1} | changes)


def test_a_table_in_parts_gives_the_same_store_and_no_read_takes_more_than_a_well(tmp_path):
    preprocess(ready(tmp_path / "one", parts=False), tmp_path / "held", settings())
    preprocess(ready(tmp_path / "two", parts=True), tmp_path / "parted", settings(workers=2))
    assert contents(tmp_path / "held") == contents(tmp_path / "parted")
    assert all(len(line.split()) == 1 for line in (tmp_path / "two" / "reads.log").read_text().splitlines())
    store = CropStore.open(tmp_path / "parted")
    store.verify()
    own = store.cells.index[store.cells["well"] == "A2"]
    assert store.read(own).min() == 0 and store.read(own).max() == 65535  # rescaled by the well's percentiles


def test_groups_wider_than_a_well_share_their_percentiles(tmp_path):
    chosen = settings(intensity={"columns": ["plate"]})
    preprocess(ready(tmp_path / "s", parts=True), tmp_path / "store", chosen)
    store = CropStore.open(tmp_path / "store")
    raw = Crops(tmp_path)(pd.DataFrame({"well": "A1", "crop": np.arange(90)}))
    low, high = np.percentile(raw[:, 0], [0.1, 99.9])
    expected = np.clip((raw[3, 0] - low) / (high - low), 0, 1)
    found = store.read([1])[0, 0] / 65535  # the second cell of A1 is number 3
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_broken_crops_leave_the_others_as_they_are_and_are_tried_again(tmp_path):
    chosen = settings(most_lost=0.001)
    with pytest.raises(GrapeOpsError, match="would cost 2 cells"):
        preprocess(ready(tmp_path / "s", parts=True, broken=(4, 20)), tmp_path / "store", chosen)
    lost = preprocess(
        ready(tmp_path / "s", parts=True, broken=(4, 20)), tmp_path / "store", settings(most_lost=0.5), resume=True
    )
    assert lost.cells_dropped == {"crop missing or unreadable": 2} and lost.cells_kept == 88
    preprocess(ready(tmp_path / "s", parts=True), tmp_path / "whole", settings())
    some, whole = CropStore.open(tmp_path / "store"), CropStore.open(tmp_path / "whole")
    some.verify()
    assert len(some) == 88 and len(whole) == 90


def test_crops_smaller_than_wanted_are_told_before_anything_is_read(tmp_path):
    with pytest.raises(GrapeOpsError, match="32 x 32 px, smaller than preprocess.crop_size"):
        preprocess(ready(tmp_path / "s", parts=True), tmp_path / "store", settings(crop_size=96))
    assert len((tmp_path / "s" / "reads.log").read_text().splitlines()) == 1


def test_a_cluster_gives_the_same_store(tmp_path):
    distributed = pytest.importorskip("distributed")
    preprocess(ready(tmp_path / "one", parts=False), tmp_path / "here", settings())
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as two:
        preprocess(ready(tmp_path / "two", parts=True), tmp_path / "there", settings(), scheduler=two.scheduler_address)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
