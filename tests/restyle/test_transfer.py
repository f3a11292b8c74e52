"""Restyled cells: the same cells for every gene, in batches or at once, as a store that reads back the same."""

import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from grape_ops.cells.store import CropStore
from grape_ops.cli import app
from grape_ops.config import GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.restyle import transfer
from grape_ops.restyle.sampling import draw_cells, draw_matching, gene_row, turn_within
from grape_ops.restyle.transfer import SOURCE_CELL, write_transfer

SETTINGS = GenerateSettings(cells=7, batch_size=3, shown=3)


def test_batches_make_no_difference(restyler):
    cells = np.array([3, 40, 1, 22, 17, 9, 30])
    styles = restyler.styles([0, 2])
    restyled = restyler.images(cells, styles)
    crops = torch.from_numpy(restyler.store.standardized(cells))
    for index, row in enumerate((0, 2)):
        whole = restyler.nets.restyle(crops, torch.full((len(cells),), row)).numpy()
        np.testing.assert_allclose(restyled[index], whole, atol=1e-5)


def test_stored_pixels_read_back_as_they_were_and_clipping_is_counted(restyler):
    cells = np.arange(6)
    images = torch.from_numpy(restyler.store.standardized(cells))
    pixels, clipped = restyler.stored(images, cells)
    np.testing.assert_array_equal(pixels, restyler.store.read(cells))
    assert clipped == 0
    images[0, 0, :2] += 1e6
    pixels, clipped = restyler.stored(images, cells)
    assert clipped == 64 and (pixels[0, 0, :2] == restyler.store.pixel_max).all()


@pytest.mark.parametrize(("source", "n"), [("control", 7), ("AAA", 7)])
def test_the_store_holds_the_cells_and_their_restyled_copies(tiny_run, tiny_store, restyler, tmp_path, source, n):
    out = tmp_path / "out"
    record = write_transfer(
        tiny_run.path, tiny_store.path, out, SETTINGS, source=source, genes=["CCC", "BBB", "CCC"], seed=3
    )
    made = CropStore.open(out / "store")
    made.verify()
    assert record["genes"] == ["CCC", "BBB"] and record == json.loads((out / "transfer.json").read_text())
    assert len(made) == 3 * n
    row = gene_row(restyler.names, source)
    cells = draw_cells(tiny_store, row, n, 3)
    for gene in ("CCC", "BBB"):
        own = np.flatnonzero(made.cells["gene_symbol"] == gene)
        assert made.cells[SOURCE_CELL].iloc[own].tolist() == cells.tolist()
        restyled = restyler.images(cells, restyler.styles([gene_row(restyler.names, gene)]))[0]
        grain = 1 / (made.control_sd[made.batch_codes[own]] * made.pixel_max)[:, :, None, None]
        inside = (made.read(own) > 0) & (made.read(own) < made.pixel_max)
        assert inside.mean() > 0.5
        assert (np.abs(made.standardized(own) - restyled) <= 0.51 * grain + 1e-4)[inside].all()
    kept = np.flatnonzero(made.cells["gene_symbol"] == ("nontargeting" if source == "control" else source))
    np.testing.assert_array_equal(made.read(kept), tiny_store.read(cells))
    np.testing.assert_array_equal(made.standardized(kept), tiny_store.standardized(cells))
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{ending}" for name in ("CCC", "BBB", "overview") for ending in ("pdf", "png")
    }


def test_the_command(tiny_run, tiny_store, tmp_path):
    arguments = [tiny_run.path, tiny_store.path, "--from", "control", "--cells", 4, "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, ["transfer", *map(str, arguments)])
    assert result.exit_code == 0 and "4 cells x 4 genes" in result.output


def test_what_cannot_be_done_is_said(tiny_run, tiny_store, tmp_path):
    with pytest.raises(GrapeOpsError, match="no gene aab. Do you mean AAA|no gene aab. There are"):
        write_transfer(tiny_run.path, tiny_store.path, tmp_path / "a", SETTINGS, genes=["aab"])
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "x").touch()
    with pytest.raises(GrapeOpsError, match="holds other things than restyled cells"):
        write_transfer(tiny_run.path, tiny_store.path, tmp_path / "file", SETTINGS)


def test_an_interrupted_call_is_no_obstacle_to_the_next(tiny_run, tiny_store, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_write_figures", stop)
        with pytest.raises(KeyboardInterrupt):
            write_transfer(tiny_run.path, tiny_store.path, tmp_path / "out", SETTINGS, genes=["AAA"])
    assert not (tmp_path / "out" / "store").exists()
    write_transfer(tiny_run.path, tiny_store.path, tmp_path / "out", SETTINGS, genes=["AAA"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"store", "figures", "transfer.json"}


def test_what_a_call_left_that_could_not_write_its_record_is_replaced(tiny_run, tiny_store, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise GrapeOpsError("The disk is full")

    def write() -> None:
        write_transfer(tiny_run.path, tiny_store.path, tmp_path / "out", SETTINGS, genes=["AAA"])

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "write_json", full)
        with pytest.raises(GrapeOpsError, match="disk is full"):
            write()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"store", "figures"}
    write()
    assert (tmp_path / "out" / "transfer.json").is_file()
    with pytest.raises(GrapeOpsError, match="holds restyled cells already"):  # a finished result is not replaced
        write()
    (tmp_path / "own").mkdir()
    shutil.copytree(tiny_store.path, tmp_path / "own" / "store")
    with pytest.raises(GrapeOpsError, match="holds other things"):  # nor a store that is not of this command
        write_transfer(tiny_run.path, tiny_store.path, tmp_path / "own", SETTINGS, genes=["AAA"])


def test_cells_come_in_turns_from_all_batches(tiny_store):
    cells = draw_cells(tiny_store, tiny_store.control_label, 6, 0)
    assert np.bincount(tiny_store.batch_codes[cells]).tolist() == [3, 3]
    assert (tiny_store.labels[cells] == tiny_store.control_label).all()
    np.testing.assert_array_equal(cells[:4], draw_cells(tiny_store, tiny_store.control_label, 4, 0))
    assert turn_within(np.array([2, 2, 0, 2, 0])).tolist() == [0, 1, 0, 2, 1]


def test_matching_cells_come_from_the_same_batch_while_there_are_any(tiny_store):
    first = np.flatnonzero(tiny_store.batch_codes == 0)[:8]
    drawn = draw_matching(tiny_store, 1, first, 0)
    assert len(set(drawn.tolist())) == 8 and (tiny_store.labels[drawn] == 1).all()
    assert (tiny_store.batch_codes[drawn] == 0).sum() == 6  # all that gene has there
    own = draw_matching(tiny_store, 1, np.flatnonzero(tiny_store.labels == 1)[:4], 0)
    assert not set(own) & set(np.flatnonzero(tiny_store.labels == 1)[:4])
