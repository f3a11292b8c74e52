"""A channel that shows nothing among the control cells is named: its z-scores must not train in silence."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from tiny_screen import contents, make_screen

from grape_ops.cells.standardize import control_sums
from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.preprocess.quality_table import dead_channels


def shard(crops: np.ndarray, batch: str) -> dict:
    sums = control_sums(crops, np.full(len(crops), batch), np.ones(len(crops), bool))
    return {"controls": {name: vars(part) for name, part in sums.items()}}


def test_constant_black_and_saturated_channels_are_named_by_batch():
    rng = np.random.default_rng(0)
    good = rng.integers(100, 60_000, (6, 1, 8, 8), dtype=np.uint16)
    black, flat, full = np.zeros_like(good), np.full_like(good, 700), np.full_like(good, 65_535)
    full[0, 0, 0, 0] = 0
    shards = {
        "a": shard(np.concatenate([good, good, good], axis=1), "one"),
        "b": shard(np.concatenate([black, good, full], axis=1), "two"),
        "c": shard(np.concatenate([flat, good, good], axis=1), "three"),
    }
    found = dead_channels(shards, ("DNA", "ER", "actin"), "uint16")
    assert found[0] == "three DNA: constant at 700" and found[1] == "two DNA: constant at 0"
    assert found[2].startswith("two actin: saturated, 9") and len(found) == 3


@dataclass(frozen=True)
class Blind:
    """Reads tiles whose second channel shows nothing."""

    read: object

    def __call__(self, row: pd.Series) -> np.ndarray:
        pixels = self.read(row).copy()
        pixels[1] = 0
        return pixels


def test_preprocessing_warns_and_the_quality_table_counts(tmp_path):
    screen = make_screen(tmp_path / "screen")
    settings = PreprocessSettings(crop_size=24, workers=1, flat_field={"enabled": False})
    with pytest.warns(UserWarning, match="show nothing among the control cells"):
        preprocess(replace(screen, read_tile=Blind(screen.read_tile)), tmp_path / "dead", settings)
    quality = CropStore.open(tmp_path / "dead").path / "quality.tsv"
    assert "channels of a batch that show nothing among its control cells\t3\tnoted" in quality.read_text()
    preprocess(screen, tmp_path / "sound", settings)
    assert "show nothing" not in (tmp_path / "sound" / "quality.tsv").read_text()
    assert contents(tmp_path / "sound")
