"""Files that cannot be read, wells without controls: reported, the rest goes on, and the exit code says so."""

import json
from pathlib import Path

import pandas as pd
import pytest
from layout_writers import Plain, draw_screen, write_table
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.errors import GrapeOpsError

SETTINGS = [
    word
    for setting in ("preprocess.crop_size=32", "preprocess.workers=1", "preprocess.flat_field.enabled=false")
    for word in ("--set", setting)
]


def cut(root: Path, *more: str) -> tuple[int, str]:
    words = ["preprocess", str(root / "screen"), "--out", str(root / "store"), *SETTINGS, *more]
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, GrapeOpsError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def spoil(root: Path) -> None:
    """Cut off a tile, put a folder in place of another, and take the controls from a third well."""
    drawn = draw_screen(plates=("P1", "P2"))
    bare = (drawn.cells.plate == "P2") & (drawn.cells.well == "A2")
    drawn.cells.loc[bare, "gene_symbol"] = drawn.cells.gene_symbol.replace({"nontargeting": "EZH2"})
    write_table(root / "screen", drawn)
    cut_off, folder = root / "screen/tiles/P1/A1_0.tif", root / "screen/tiles/P1/A1_1.tif"
    cut_off.write_bytes(cut_off.read_bytes()[:-500])
    folder.unlink()
    folder.mkdir()


def test_the_rest_goes_on_and_the_exit_code_says_so(tmp_path: Path) -> None:
    spoil(tmp_path)
    code, output = cut(tmp_path)
    assert code == 3
    assert "Left out: 2 unreadable tiles." in output and "Left out: 1 batch without control cells." in output
    store = CropStore.open(tmp_path / "store")
    store.verify()
    assert len(store) == 128 - 16 - 32 and store.batches == ("P1|A1", "P1|A2", "P2|A1")
    table = pd.read_csv(tmp_path / "store/quality.tsv", sep="\t").set_index("what")
    assert table.loc["cells whose tile is missing or unreadable", "count"] == 16
    assert table.loc["cells of batches without controls", "count"] == 32
    assert (table.loc[table["fate"] == "dropped", "setting"] == "preprocess.on_problem").all()
    quality = json.loads((tmp_path / "store/quality.json").read_text())
    assert [entry["what"] for entry in quality["table"]] == table.index.tolist()
    assert any("cut off" in example for example in quality["problems"][0]["examples"])


def test_nothing_left_out_is_exit_code_0(tmp_path: Path) -> None:
    write_table(tmp_path / "screen", draw_screen())
    assert cut(tmp_path)[0] == 0


def test_a_scheduler_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("grape_ops.workers.WAIT_SECONDS", 1)
    write_table(tmp_path / "screen", draw_screen())
    code, message = cut(tmp_path, "--scheduler", "tcp://127.0.0.1:9")
    assert code == 1 and "No Dask scheduler with workers answers at tcp://127.0.0.1:9" in message


def test_told_to_stop_it_stops_before_reading_pixels(tmp_path: Path) -> None:
    spoil(tmp_path)
    code, message = cut(tmp_path, "--set", "preprocess.on_problem=stop")
    assert code == 1 and "2 unreadable tiles" in message and "1 batch without control cells" in message
    assert not list((tmp_path / "store").rglob("*.npz"))


def test_a_ruined_screen_stops_even_if_told_to_drop(tmp_path: Path) -> None:
    write_table(tmp_path / "screen", draw_screen())
    description = tmp_path / "screen/screen.yaml"
    description.write_text(description.read_text().replace("- actin\n", ""))
    code, message = cut(tmp_path)
    # One sentence for eight tiles that fail alike.
    assert code == 1 and message.count("has the shape (4, 128, 128)") == 1 and "and 7 more such" in message


@pytest.mark.parametrize("far", [0, 5000])
def test_coordinates_of_another_frame_stop_at_the_first_tile(tmp_path: Path, far: int) -> None:
    drawn = draw_screen()
    write_table(tmp_path / "screen", Plain(drawn.cells.assign(x=drawn.cells.x + far), drawn.tiles))
    code, message = cut(tmp_path)
    assert code == (1 if far else 0)
    assert not far or "8 cells outside their tile, in the first tile of 128 x 128 pixels alone" in message
