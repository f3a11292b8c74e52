"""Ready crops a well at a time: the same store from a table in parts, from processes, and from a cluster."""

import pickle
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_screen import contents, settings

from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crop_wells import fitting
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.cell_table import collect_cells
from grape_ops.screen.screen import Screen, no_tile, no_tiles
from grape_ops.workers import Workers


@dataclass(frozen=True)
class Crops:
    """Crops of uint16 made of the cell's number, or floats; notes how many cells it is asked for at once.

    Attributes
    ----------
    broken, small, bright : cells whose crops cannot be read, are of 24 px, or go beyond 1 as floats.
    late : how many reads of well A1 fail before one succeeds.
    """

    root: Path
    broken: tuple[int, ...] = ()
    small: tuple[int, ...] = ()
    bright: tuple[int, ...] = ()
    late: int = 0
    floats: bool = False

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        with (self.root / "reads.log").open("a") as log:
            log.write(f"{' '.join(sorted(set(cells['well'])))}\n")
        numbers = cells["crop"].to_numpy(int)
        if set(self.broken) & set(numbers.tolist()):
            raise GrapeOpsError("a crop is broken")
        reads = (self.root / "reads.log").read_text().splitlines()
        if "A1" in set(cells["well"]) and reads.count("A1") <= self.late:
            raise GrapeOpsError("the disk is away")
        if set(self.small) & set(numbers.tolist()):
            if len(numbers) > 1:
                raise GrapeOpsError("the crops differ in shape")
            return np.ones((1, 2, 24, 24), np.uint16)
        noise = [np.random.default_rng(number).integers(100, 4000, (2, 32, 32)) for number in numbers]
        if self.floats:
            return np.stack(noise) / np.where(np.isin(numbers, self.bright), 1000, 4000)[:, None, None, None]
        return np.stack(noise).astype(np.uint16)


def ready(root: Path, in_files: bool, scaling: str = "auto", **crops: Any) -> Screen:
    root.mkdir(parents=True, exist_ok=True)
    number = np.arange(90)
    cells = pd.DataFrame(
        {"gene_symbol": np.where(number % 5 == 0, "nontargeting", "G" + pd.Series(number % 7).map(str))}
    )
    cells["sgRNA"], cells["plate"], cells["tile"] = cells["gene_symbol"] + "_1", "P1", "1"
    cells["well"] = np.array(["A1", "A2", "B1"])[number % 3]
    cells["is_control"], cells["crop"] = number % 5 == 0, number
    return Screen(
        Path("ready"),
        ("a", "b"),
        collect_cells([cells[:50], cells[50:]], root / "cells" if in_files else None),
        no_tiles(),
        no_tile,
        read_crops=Crops(root, **crops),
        crop_scaling=scaling,
    )


def test_a_table_in_files_gives_the_same_store_and_no_read_takes_more_than_a_well(tmp_path):
    preprocess(ready(tmp_path / "one", in_files=False), tmp_path / "held", settings())
    preprocess(ready(tmp_path / "two", in_files=True), tmp_path / "parted", settings(workers=2))
    assert contents(tmp_path / "held") == contents(tmp_path / "parted")
    assert all(len(line.split()) == 1 for line in (tmp_path / "two" / "reads.log").read_text().splitlines())
    store = CropStore.open(tmp_path / "parted")
    store.verify()
    own = store.cells.index[store.cells["well"] == "A2"]
    assert store.read(own).min() == 0 and store.read(own).max() == 65535  # rescaled by the well's percentiles


def test_groups_wider_than_a_well_share_their_percentiles(tmp_path):
    chosen = settings(intensity={"columns": ["plate"]})
    preprocess(ready(tmp_path / "s", in_files=True), tmp_path / "store", chosen)
    store = CropStore.open(tmp_path / "store")
    raw = Crops(tmp_path)(pd.DataFrame({"well": "A1", "crop": np.arange(90)}))
    low, high = np.percentile(raw[:, 0], [0.1, 99.9])
    expected = np.clip((raw[3, 0] - low) / (high - low), 0, 1)
    found = store.read([1])[0, 0] / 65535  # the second cell of A1 is number 3
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_groups_smaller_than_a_well_have_their_own_percentiles_and_workers_send_little(tmp_path):
    screen = ready(tmp_path / "s", in_files=False)
    cells = screen.cells.to_pandas()
    cells["tile"] = np.where(cells["crop"] < 45, "1", "2")
    screen = replace(screen, cells=collect_cells([cells]))
    chosen = settings(intensity={"columns": ["plate", "well", "tile"]})
    sent = []

    class Listening(Workers):
        def run(self, *tasks):
            for result in super().run(*tasks):
                sent.append(len(pickle.dumps(result)))
                yield result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grape_ops.workers.Workers", Listening)
        preprocess(screen, tmp_path / "store", chosen)
    assert sent and max(sent) < 10_000
    store = CropStore.open(tmp_path / "store")
    raw = Crops(tmp_path)(pd.DataFrame({"well": "A1", "crop": np.arange(0, 45, 3)}))
    low, high = np.percentile(raw[:, 0], [0.1, 99.9])
    expected = np.clip((raw[1, 0] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(store.read([1])[0, 0] / 65535, expected, atol=1e-3)


@pytest.mark.parametrize("columns", [["plate", "well"], ["plate"]])
def test_broken_crops_are_tried_again_and_once_mended_leave_no_trace(tmp_path, columns):
    chosen = settings(most_lost=0.001, intensity={"columns": columns})
    with pytest.raises(GrapeOpsError, match="would cost 2 cells"):
        preprocess(ready(tmp_path / "s", in_files=True, broken=(4, 20)), tmp_path / "store", chosen)
    preprocess(ready(tmp_path / "s", in_files=True), tmp_path / "store", chosen, resume=True)
    preprocess(ready(tmp_path / "s", in_files=True), tmp_path / "whole", chosen)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_broken_crops_leave_the_others_as_they_are(tmp_path):
    chosen = settings(most_lost=0.001)
    with pytest.raises(GrapeOpsError, match="would cost 2 cells"):
        preprocess(ready(tmp_path / "s", in_files=True, broken=(4, 20)), tmp_path / "store", chosen)
    (tmp_path / "s" / "reads.log").unlink()
    lost = preprocess(
        ready(tmp_path / "s", in_files=True, broken=(4, 20)), tmp_path / "store", settings(most_lost=0.5), resume=True
    )
    assert lost.cells_dropped == {"crop missing or unreadable": 2} and lost.cells_kept == 88
    reads = (tmp_path / "s" / "reads.log").read_text().splitlines()
    assert reads.count("A1") == 1  # to look at the first; it had been measured and written in full
    preprocess(ready(tmp_path / "s", in_files=True), tmp_path / "whole", settings())
    some, whole = CropStore.open(tmp_path / "store"), CropStore.open(tmp_path / "whole")
    some.verify()
    for well in ("A1", "A2", "B1"):
        left = [row for row, number in enumerate(range(["A1", "A2", "B1"].index(well), 90, 3)) if number not in (4, 20)]
        own, all_own = (np.flatnonzero(store.cells["well"] == well) for store in (some, whole))
        # Without the broken one the percentiles of its well move a little.
        np.testing.assert_allclose(
            some.read(own).astype(float), whole.read(all_own[left]).astype(float), atol=0 if well == "A1" else 300
        )


def test_what_was_measured_in_full_is_not_measured_again(tmp_path):
    screen, chosen = ready(tmp_path / "s", in_files=True), settings()
    preprocess(screen, tmp_path / "whole", chosen)
    reads = len((tmp_path / "s" / "reads.log").read_text().splitlines())
    assert reads == 1 + 3 + 3

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("ready_crops._Wells.choose", "crop_wells.finish_shard", "ready_crops.finish_store"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"grape_ops.preprocess.{place}", killed)
            with pytest.raises(KeyboardInterrupt):
                preprocess(screen, tmp_path / "store", chosen, resume=True)
    preprocess(screen, tmp_path / "store", chosen, resume=True)
    assert len((tmp_path / "s" / "reads.log").read_text().splitlines()) == 2 * reads + 3  # each looked at the first
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_well_that_could_not_be_measured_is_no_well_without_scale(tmp_path):
    late = 30 + 1 + 30  # looking for a first crop, then measuring
    lost = preprocess(ready(tmp_path / "s", in_files=True, late=late), tmp_path / "store", settings())
    assert lost.cells_dropped == {"crop missing or unreadable": 30}
    assert "no crop of P1|A1 could be read" in lost.quality["problems"][0]["examples"][0]


def test_crops_smaller_than_wanted_are_told_before_all_are_read(tmp_path):
    chosen = settings(crop_size=96)
    with pytest.raises(GrapeOpsError, match="32 x 32 px, smaller than preprocess.crop_size"):
        preprocess(ready(tmp_path / "s", in_files=True), tmp_path / "store", chosen)
    with pytest.raises(GrapeOpsError, match="32 x 32 px, smaller than preprocess.crop_size"):
        preprocess(ready(tmp_path / "t", in_files=True), tmp_path / "other", settings(crop_size=96, on_problem="stop"))
    assert len((tmp_path / "t" / "reads.log").read_text().splitlines()) == 1


def test_a_single_small_crop_is_left_out_wherever_it_is(tmp_path):
    for place in (0, 6):
        lost = preprocess(ready(tmp_path / "s", in_files=True, small=(place,)), tmp_path / f"store{place}", settings())
        assert lost.cells_dropped == {"crop missing or unreadable": 1}


def test_floats_beyond_one_are_left_out_and_cannot_be_rescaled(tmp_path):
    screen = ready(tmp_path / "s", in_files=True, floats=True, bright=(40,))
    lost = preprocess(screen, tmp_path / "store", settings())
    assert lost.cells_dropped == {"crop missing or unreadable": 1}
    assert "floats from" in lost.quality["problems"][0]["examples"][0]
    with pytest.raises(GrapeOpsError, match="screen.crop_scaling=full"):
        preprocess(
            ready(tmp_path / "s", in_files=True, floats=True, scaling="percentiles"), tmp_path / "other", settings()
        )


def test_a_finished_store_keeps_its_pixel_size_and_says_so(tmp_path):
    screen = replace(ready(tmp_path / "s", in_files=True), pixel_size=0.5)
    first = preprocess(screen, tmp_path / "store", settings())
    before = contents(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert preprocess(screen, tmp_path / "store", settings()) == first
    with pytest.warns(UserWarning, match=r"keeps its pixel size of 0.5 µm.*now 0.325 µm.*explore.pixel_size.*--overw"):
        assert preprocess(replace(screen, pixel_size=0.325), tmp_path / "store", settings()) == first
    assert contents(tmp_path / "store") == before


def test_a_cluster_gives_the_same_store(cluster, tmp_path):
    preprocess(ready(tmp_path / "one", in_files=False), tmp_path / "here", settings())
    screen = ready(tmp_path / "two", in_files=True)
    preprocess(screen, tmp_path / "there", settings(), scheduler=cluster.scheduler_address)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


@pytest.mark.parametrize("kind", ["int16", "int32", "int64", "uint32"])
def test_integers_whose_range_says_nothing_are_refused_and_not_cut_off_or_black(kind: str) -> None:
    crops = np.full((2, 1, 8, 8), 300, dtype=kind)
    with pytest.raises(GrapeOpsError, match=f"The crops hold {kind} pixels, whose largest possible value"):
        fitting(crops, 8, 1, rescaled=False)
    assert fitting(crops.astype(np.uint16), 8, 1, rescaled=False).shape == crops.shape
