"""The crop size that fits the nuclei of a sample, what ``inspect`` makes of it, and its contact sheet."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from typer.testing import CliRunner

from grape_ops.cli import app
from grape_ops.preprocess.crop_choice import SIZES, fitting_size, unfitted_size
from grape_ops.preprocess.nuclei import measure_nuclei

SIDE, CROP = 400, 100


def disks(places: np.ndarray, radius: float, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Draw a DNA and an actin channel: bright disks within wider, dimmer ones: -> (2, side, side) uint16."""
    rng = np.random.default_rng(seed)
    away = np.min([np.hypot(*(np.mgrid[:side, :side] - place[:, None, None])) for place in places], axis=0)
    image = np.stack([np.where(away <= radius, 6000, 300), np.where(away <= 1.6 * radius, 3000, 200)])
    return rng.poisson(image).astype(np.uint16)


def write_tiles(root: Path, radius: float, pixel_size: float | None = None) -> None:
    grid = np.arange(3 * radius, SIDE - 3 * radius + 1, 5 * radius)
    places = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    (root / "tiles").mkdir(parents=True)
    tifffile.imwrite(root / "tiles/A1.tif", disks(places, radius), photometric="minisblack")
    genes = ["nontargeting" if n % 2 else f"GENE{n % 3}" for n in range(len(places))]
    cells = pd.DataFrame({"gene_symbol": genes, "sgRNA": genes, "plate": "P1", "well": "A1", "tile": "1"})
    cells.assign(y=places[:, 0], x=places[:, 1]).to_csv(root / "cells.csv", index=False)
    described = {"cells": "cells.csv", "tiles": "tiles/{well}.tif", "channels": ["DNA", "actin"]}
    described |= {"pixel_size": pixel_size} if pixel_size else {}
    (root / "screen.yaml").write_text(yaml.safe_dump(described))


def inspect(root: Path, *more: str) -> str:
    words = ["inspect", str(root / "screen"), "--out", str(root / "p.yaml"), *more]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("width", [12, 17, 21, 30, 46, 60, 90, 140])
def test_crops_are_two_to_three_nuclei_wide(width: int, small: bool):
    size, shrink = fitting_size(width, None, None, small)
    assert size in SIZES and 2 <= size * shrink / width <= 3.1
    assert size == 32 or width == 17 if small else shrink == 1 or width > 45


def test_the_next_cell_decides_within_that_range():
    assert fitting_size(60, 100, None, small=True) == (32, 4)
    assert fitting_size(60, 200, None, small=True) == (32, 5)


def test_tiny_nuclei_and_small_ready_crops_get_what_comes_next():
    assert fitting_size(5, None, None, small=True) == (32, 1)
    assert fitting_size(45, None, 70, small=True) == (32, 2)  # no larger crops than there are
    assert fitting_size(45, None, 30, small=True) == (32, 1)


def test_ready_crops_without_nuclei_are_shown_whole(tmp_path):
    assert [unfitted_size(most, small=True) for most in (None, 40, 50, 96, 100)] == [
        (32, 1), (32, 1), (48, 1), (32, 3), (32, 3),
    ]  # fmt: skip
    assert unfitted_size(100, small=False) == unfitted_size(None, small=False) == (96, 1)
    root = tmp_path / "screen"
    root.mkdir()
    np.save(root / "crops.npy", np.ones((8, 2, 100, 100), np.uint16))
    genes = ["AAA", "nontargeting"] * 4
    pd.DataFrame({"gene_symbol": genes, "sgRNA": genes, "well": "A1"}).to_csv(root / "cells.csv", index=False)
    described = {"cells": "cells.csv", "crops": "crops.npy", "channels": ["DNA", "actin"]}
    (root / "screen.yaml").write_text(yaml.safe_dump(described))
    said = inspect(tmp_path)
    words = "96 px, binned by 3, which show the networks 32 px; no nuclei were measured to fit them to"
    assert f"Crops: {words}" in said and "could not be fitted to the cells: only 0 of" in said
    assert "column plate: plate is taken as 1" in said and "column plate: noted" not in said
    assert words in (tmp_path / "p.yaml").read_text() and "shrink: 3" in (tmp_path / "p.yaml").read_text()


def test_nuclei_are_measured_and_those_at_the_edge_are_known():
    whole = disks(np.array([[50, 50], [50, 85]]), 10, CROP)[0]
    cut = disks(np.array([[50, 50]]), 60, CROP)[0]
    nuclei = measure_nuclei([whole, cut, np.zeros((CROP, CROP), np.uint16)])
    assert nuclei.sampled == 3 and nuclei.cut.tolist() == [False, True]
    assert nuclei.width[0] == pytest.approx(20, abs=2) and nuclei.next_one[0] == pytest.approx(35, abs=1)
    assert np.isnan(nuclei.next_one[1]) and nuclei.share_cut == 0.5


def test_inspect_writes_a_size_that_holds_the_cells_and_says_why(tmp_path):
    write_tiles(tmp_path / "screen", radius=12)
    said = inspect(tmp_path, "--set", "screen.pixel_size=0.5")
    why = "binned by 2, show the networks 32 px"
    assert "Crops: nuclei are 2" in said and why in said and " µm), 60 px from the next one" in said
    written = (tmp_path / "p.yaml").read_text()
    assert why in written and yaml.safe_load(written)["settings"]["preprocess"] == {"shrink": 2}


def test_a_size_that_is_set_stays_and_cut_nuclei_are_a_doubt(tmp_path):
    write_tiles(tmp_path / "screen", radius=12)
    said = json.loads(inspect(tmp_path, "--json", "--set", "preprocess.crop_size=32"))
    assert said["crops"]["crop_size"] == 32 and said["crops"]["shrink"] == 1
    assert any("preprocess.crop_size=32, preprocess.shrink=2 fits them" in doubt for doubt in said["doubts"])
    assert yaml.safe_load((tmp_path / "p.yaml").read_text())["settings"]["preprocess"] == {"crop_size": 32}


def test_the_contact_sheet_is_drawn_as_png_and_pdf(tmp_path):
    write_tiles(tmp_path / "screen", radius=12)
    inspect(tmp_path, "--pictures", str(tmp_path / "sheet.png"), "--set", "screen.pixel_size=0.5")
    assert (tmp_path / "sheet.png").stat().st_size > 5000 and (tmp_path / "sheet.pdf").is_file()


def test_preprocess_warns_of_crops_that_cut_nuclei(tmp_path):
    write_tiles(tmp_path / "screen", radius=12)

    def cut(name: str, *more: str) -> tuple[list[str], str]:
        words = ["preprocess", str(tmp_path / "screen"), "--out", str(tmp_path / name), "--set", "preprocess.workers=1"]
        words += [word for setting in more for word in ("--set", setting)]
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
        return [str(one.message) for one in met], (tmp_path / name / "quality.tsv").read_text()

    met, table = cut("cut", "preprocess.crop_size=16")
    assert any("16 px of the screen do not hold these cells" in message for message in met)
    assert "whose nucleus the edge of the crop cuts" in table
    described = tmp_path / "screen" / "screen.yaml"
    described.write_text(described.read_text().replace("DNA", "blue"))
    met, table = cut("unknown", "preprocess.crop_size=16")
    assert not any("nucle" in message for message in met)
    met, table = cut("named", "preprocess.crop_size=16", "features.nucleus_channel=blue")
    assert any("cuts the nucleus" in message for message in met)
    met, table = cut("misnamed", "preprocess.crop_size=16", "features.nucleus_channel=DNA")
    assert any("was not checked. There is no channel 'DNA'" in message for message in met)
    met, table = cut("whole", "preprocess.crop_size=32", "preprocess.shrink=2", "features.nucleus_channel=blue")
    assert not any("nucleus" in message for message in met) and "nucleus" not in table
