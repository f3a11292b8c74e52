"""``grape-ops inspect``: what it says of each layout, and that ``grape-ops run`` takes the file it writes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr
from layout_writers import (
    Plain,
    cut_crops,
    draw_screen,
    write_brieflow,
    write_funk2022,
    write_ops_standard,
    write_periscope,
    write_scallops,
    write_table,
)
from typer.testing import CliRunner

from grape_ops.cli import app
from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.pipeline import read_pipeline
from grape_ops.screen.inspect import inspect_screen
from grape_ops.screen.write_pipeline import write_pipeline

PLAIN = ScreenSettings()
WRITERS = {
    "table": write_table,
    "funk2022": write_funk2022,
    "brieflow": write_brieflow,
    "ops-standard": write_ops_standard,
    "scallops": write_scallops,
    "periscope": write_periscope,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_inspect_recognises_the_layout_and_writes_a_pipeline(layout: str, tmp_path: Path) -> None:
    drawn = draw_screen()
    root = tmp_path / "screen"
    WRITERS[layout](root, drawn)
    out = tmp_path / "plans" / "pipeline.yaml"
    words = ["inspect", str(root), "--out", str(out), "--set", "train.steps=7"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"Layout: {layout} " in result.output
    tiles = 2 if layout == "scallops" else 8
    assert f"1 plate, 2 wells, {tiles} tiles of " in result.output
    assert "Cells: 64, of them 16 controls (" in result.output
    assert "Genes: 3 with 8 guides" in result.output
    assert "16 at least, 16 (5 %), 16 (median), 16 (95 %), 16 at most" in result.output
    plan, config = read_pipeline(out)
    assert (out.parent / plan.screen).resolve() == root.resolve()
    assert config.screen.layout == layout and config.train.steps == 7
    # A second look replaces what the first wrote and somebody may have added to, which is kept; and nothing else.
    edited = out.read_text() + "truth: mine.tsv\n"
    out.write_text(edited)
    again = CliRunner().invoke(app, ["inspect", str(root), "--out", str(out)])
    assert again.exit_code == 0 and f"the earlier {out} is kept as" in again.output
    assert (out.parent / f"{out.name}.old").read_text() == edited
    assert out.read_text() != edited
    out.write_text("screen: mine\n")
    with pytest.raises(GrapeOpsError, match="not a pipeline file of grape-ops"):
        write_pipeline(inspect_screen(root, PLAIN), root, PLAIN, out)


def test_inspect_tells_what_is_doubtful(tmp_path: Path) -> None:
    drawn = draw_screen()
    cells = drawn.cells
    cells.loc[cells.well == "A2", "gene_symbol"] = cells.gene_symbol.replace({"nontargeting": "AAVS1"})
    cells.loc[3, "y"] = 5000.0
    ghost = pd.DataFrame([{**cells.iloc[0], "y": 20 + n / 100} for n in range(400)]).assign(sgRNA="G" * 20)
    write_table(tmp_path, Plain(pd.concat([cells, ghost], ignore_index=True), drawn.tiles))
    (tmp_path / "tiles/P1/A1_0.tif").unlink()
    (tmp_path / "tiles/P1/A2_3.tif").write_bytes(b"II*")
    found = inspect_screen(tmp_path, PLAIN)
    text = "\n".join(found.doubts)
    assert not any("batch" in doubt for doubt in inspect_screen(tmp_path, PLAIN, ["plate"]).doubts)
    for said in (
        "1 batch without controls: P1|A2",
        "counted as genes: AAVS1",
        "1 guide with more than 30 times",
        "2 tiles missing or unreadable: There is no tile tiles/P1/A1_0.tif",
        "genes with fewer than 50 cells",
        "perhaps too few for a flat field",
    ):
        assert said in text, said


def test_inspect_tells_the_size_of_a_pixel_and_a_setting_that_contradicts_it(tmp_path: Path) -> None:
    write_table(tmp_path, draw_screen())
    unknown = "Pixel: of unknown size (screen.pixel_size gives it in µm, for scale bars)"
    assert unknown in str(inspect_screen(tmp_path, PLAIN))
    for file in tmp_path.glob("tiles/*/*.tif"):
        pixels = tifffile.imread(file)
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm"}
        tifffile.imwrite(file, pixels, ome=True, photometric="minisblack", metadata=metadata)
    for size, doubtful in ((None, False), (0.324, False), (0.65, True)):
        found = inspect_screen(tmp_path, ScreenSettings(pixel_size=size))
        assert f"Pixel: {size or 0.325:g} µm" in str(found)
        assert any("is 0.65 µm, and the images say 0.325 µm" in doubt for doubt in found.doubts) == doubtful


def test_inspect_says_how_channels_get_names(tmp_path: Path) -> None:
    drawn = draw_screen()
    zarr.create_array(tmp_path / "crops.zarr", data=cut_crops(drawn))
    drawn.cells.to_parquet(tmp_path / "cells.parquet")
    assert "Name them in screen.yaml" in "".join(inspect_screen(tmp_path, PLAIN).doubts)


@pytest.mark.parametrize("crops", [False, True])
def test_inspect_names_channels_that_show_nothing(tmp_path: Path, crops: bool) -> None:
    drawn = draw_screen()
    for (_, well, _), image in drawn.tiles.items():
        image[1] = 0 if well == "A1" else image[1]
        image[3] = 65535
    write = write_crops if crops else write_table
    write(tmp_path, drawn)
    doubts = [doubt for doubt in inspect_screen(tmp_path, PLAIN).doubts if "shows nothing" in doubt]
    first, second = ("channel1", "channel3") if crops else ("gammaH2AX", "actin")
    assert len(doubts) == 2 and all("(screen.channels)" in doubt for doubt in doubts)
    assert doubts[0].startswith(f"{first} shows nothing around control cells of 1 of 2 sampled wells (constant at 0), ")
    assert doubts[1].startswith(
        f"{second} shows nothing around control cells of 2 of 2 sampled wells (constant at 65535)"
    )


def write_crops(root: Path, drawn: Plain) -> None:
    np.save(root / "crops.npy", cut_crops(drawn))
    drawn.cells.to_parquet(root / "cells.parquet")


def test_inspect_counts_cells_outside_their_tiles(tmp_path: Path) -> None:
    drawn = draw_screen()
    drawn.cells.loc[3:4, "y"] = 5000.0
    write_table(tmp_path, drawn)
    assert any("2 cells outside their tile" in doubt for doubt in inspect_screen(tmp_path, PLAIN).doubts)


def test_a_submission_without_images_is_told(tmp_path: Path) -> None:
    write_ops_standard(tmp_path / "submission", draw_screen())
    for plate in (tmp_path / "submission" / "screen_1").glob("*.zarr"):
        shutil.rmtree(plate)
    with pytest.raises(GrapeOpsError, match="a submission of the OPS Data Standard without images"):
        inspect_screen(tmp_path / "submission", PLAIN)


def test_a_pipeline_file_within_the_screen_writes_outside_of_it(tmp_path: Path) -> None:
    root = tmp_path / "screen"
    write_table(root, draw_screen())
    out = root / "plans" / "pipeline.yaml"
    write_pipeline(inspect_screen(root, PLAIN), root, PLAIN, out)
    plan = yaml.safe_load(out.read_text())
    assert (out.parent / plan["out"]).resolve() == (tmp_path / "screen_map").resolve()
