"""How figures are written: both formats, whole, and equal files of equal figures."""

from pathlib import Path

import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.plotting.figure import name_points, new_figure, save_figure


def line():
    figure = new_figure(2, 1)
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def test_a_figure_is_a_pdf_and_a_png_of_its_resolution(tmp_path: Path):
    save_figure(line(), tmp_path / "new" / "recall_0.05", dpi=100, simulated=False)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["recall_0.05.pdf", "recall_0.05.png"]
    png = (tmp_path / "new" / "recall_0.05.png").read_bytes()
    assert [int.from_bytes(png[place : place + 4], "big") for place in (16, 20)] == [200, 100]
    assert (tmp_path / "new" / "recall_0.05.pdf").read_bytes().startswith(b"%PDF")


def test_a_figure_of_a_simulated_screen_says_so(tmp_path: Path):
    figure, other = line(), line()
    save_figure(figure, tmp_path / "a", simulated=True)
    save_figure(other, tmp_path / "b", simulated=False)
    assert figure.get_supxlabel() == "simulated screen" and not other.get_supxlabel()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_that_it_is_simulated_stands_in_a_legend_below_the_figure(tmp_path: Path):
    figure = line()
    figure.axes[0].lines[0].set_label("a line")
    figure.legend(loc="outside lower center")
    save_figure(figure, tmp_path / "a", simulated=True)
    assert figure.legends[0].get_title().get_text() == "simulated screen" and not figure.get_supxlabel()


def test_equal_figures_give_equal_files(tmp_path: Path):
    for name in "ab":
        save_figure(line(), tmp_path / name, simulated=False)
    for ending in ("pdf", "png"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_figure_that_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch):
    save_figure(line(), tmp_path / "a", simulated=False)
    before = (tmp_path / "a.pdf").read_bytes()
    figure = line()
    monkeypatch.setattr(figure, "savefig", full_disk)
    with pytest.raises(GrapeOpsError, match="disk is full"):
        save_figure(figure, tmp_path / "a", simulated=False)
    assert (tmp_path / "a.pdf").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pdf", "a.png"]


def test_both_files_of_a_figure_take_their_places_once_both_are_written(tmp_path: Path, monkeypatch):
    figure, there = line(), []
    save = figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda *a, **k: there.append(list(tmp_path.glob("a.*"))) or save(*a, **k))
    save_figure(figure, tmp_path / "a", simulated=False)
    assert there == [[], []]


def full_disk(file: Path, **_):
    file.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_names_that_would_touch_are_left_out_and_the_first_stays():
    figure = new_figure(3, 3)
    axis = figure.subplots()
    crowded, alone = [(0.5 + 0.001 * i, 0.5) for i in range(8)], (0.1, 0.9)
    x, y = zip(*crowded, alone, strict=True)
    axis.scatter(x, y, label="genes")
    axis.legend(loc="upper right")
    name_points(figure, [f"GENE{i}" for i in range(9)], x, y)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert not any(box.overlaps(axis.get_legend().get_window_extent()) for box in boxes)
    assert [text.get_text() for text in axis.texts] == ["GENE0", "GENE1", "GENE2", "GENE3", "GENE8"]


def test_a_name_covers_no_point_where_a_corner_is_free():
    figure = new_figure(4, 3)
    axis = figure.subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.scatter([0.5, 0.55, 0.45], [0.5, 0.53, 0.53])  # two points above the first, to its right and left
    name_points(figure, ["GENE"], [0.5], [0.5])
    (name,) = axis.texts
    assert name.get_va() == "top" and name.get_ha() == "left"
