"""What should not change, on cells that were moved, turned, or lost their neighbours; and where changes lie."""

import numpy as np
import pytest
from scipy import ndimage

from grape_ops.config import GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.restyle.content import compare_content, correlation, nucleus_shape, unrelated_content
from grape_ops.restyle.directions import (
    Change,
    change_table,
    paired_change,
    ring_index,
    ring_means,
    styles_between,
    unpaired_change,
    write_directions,
)

SIZE = 48


def ellipse(y, x, a, b, angle):
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = (rows - y) * c + (columns - x) * s, -(rows - y) * s + (columns - x) * c
    return (along / a) ** 2 + (across / b) ** 2 < 1


def cell(y=24.0, x=24.0, angle=20.0, neighbour=(5, 40)):
    nucleus = ellipse(y, x, 8, 5, angle)
    scene = nucleus * 2.0 + ellipse(y, x, 13, 10, angle) * 0.6
    return scene + ellipse(*neighbour, 7, 7, 0)


def find(crops):
    """Masks by the drawn levels: the nucleus is what is brighter than everything else."""
    nucleus = crops[:, 0] > 2
    return np.stack([nucleus, np.stack([ndimage.binary_dilation(m, iterations=5) for m in nucleus])], axis=1)


def stack(*cells):
    return np.stack(cells)[:, None]


def test_nothing_changed():
    found = compare_content(stack(cell(), cell(angle=70)), stack(cell(), cell(angle=70)), find)
    assert found.structure == pytest.approx(1) and found.surroundings == pytest.approx(1)
    assert found.nucleus_shift == 0 and found.nucleus_turn == 0 and found.nuclei_lost == 0


def test_texture_and_brightness_are_style():
    rng = np.random.default_rng(0)
    after = stack(1.5 * cell() + 0.4 * rng.normal(size=(SIZE, SIZE)).clip(-1, 1) * (cell() < 2))
    found = compare_content(stack(cell()), after, find)
    assert found.structure > 0.97


def test_shift_and_turn_are_measured():
    found = compare_content(stack(cell()), stack(cell(y=27, x=20, angle=65)), find)
    assert found.nucleus_shift == pytest.approx(5, abs=0.3)
    assert found.nucleus_turn == pytest.approx(45, abs=3)
    assert compare_content(stack(cell(angle=5)), stack(cell(angle=175)), find).nucleus_turn == pytest.approx(10, abs=3)


def test_a_neighbour_that_moves_is_seen_in_the_surroundings_alone():
    found = compare_content(stack(cell()), stack(cell(neighbour=(42, 6))), find)
    assert found.nucleus_shift == 0 and found.surroundings < 0.1 < 0.5 < found.structure


def test_a_nucleus_that_vanishes_is_counted():
    found = compare_content(stack(cell(), cell()), stack(cell(), cell() * 0.5), find)
    assert found.nuclei_lost == 0.5


def test_round_nuclei_have_no_direction_and_unrelated_cells_little_in_common():
    _, _, ratio = nucleus_shape(ellipse(24, 24, 8, 8, 0)[None])
    assert ratio[0] == pytest.approx(1, abs=0.02)
    centre, axis, ratio = nucleus_shape(ellipse(20, 30, 9, 4, 30)[None])
    assert centre[0] == pytest.approx([20, 30], abs=0.1)
    assert axis[0] == pytest.approx(30, abs=2) and ratio[0] == pytest.approx(9 / 4, abs=0.15)
    cells = stack(cell(), cell(20, 28, 80, (40, 40)), cell(26, 20, 140, (8, 8)))
    assert unrelated_content(cells, find).surroundings < 0.5


def test_correlation_is_pearson_s_where_asked():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 2, 6, 6))
    where = rng.random((3, 6, 6)) < 0.6
    expected = np.corrcoef(first[1, 0][where[1]], second[1, 0][where[1]])[0, 1]
    assert correlation(first, second, where)[1, 0] == pytest.approx(expected)
    assert np.isnan(correlation(np.ones_like(first), second, where)).all()


def test_rings_part_the_disc():
    index = ring_index(32, 4)
    assert index[16, 16] == 0 and index[16, 31] == 3 and index[0, 0] == 4
    image = np.where(index == 2, 5.0, 1.0)[None, None]
    assert ring_means(image, 4)[0, 0] == pytest.approx([1, 1, 5, 1])
    assert ring_means(image, 99).shape == (1, 1, 16) and np.isfinite(ring_means(image, 99)).all()


def test_changes_of_the_same_and_of_other_cells():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(60, 2, 16, 16))
    step = np.zeros((2, 16, 16))
    step[1][ring_index(16, 4) == 1] = 0.5
    paired = paired_change(before, before + step, 4)
    assert paired.profile[1] == pytest.approx([0, 0.5, 0, 0]) and paired.profile[0] == pytest.approx(np.zeros(4))
    assert paired.error == pytest.approx(np.zeros((2, 4)), abs=1e-9)
    other = unpaired_change(before, rng.normal(size=(80, 2, 16, 16)) + step, 4)
    assert np.abs((other.profile - paired.profile) / other.error).max() < 4
    assert other.map[1][ring_index(16, 4) == 1].mean() == pytest.approx(0.5, abs=0.1)


def test_the_way_leads_from_one_style_to_the_other(restyler):
    styles = styles_between(restyler, 4, 1, 5)
    ends = restyler.styles([4, 1])
    np.testing.assert_allclose(styles[[0, -1]].numpy(), ends.numpy(), atol=1e-6)
    middle = restyler.nets.mapping(restyler.nets.vectors()[[4, 1]].mean(dim=0, keepdim=True))
    np.testing.assert_allclose(styles[2].numpy(), middle[0].numpy(), atol=1e-6)


def test_channels_are_ranked_by_real_cells_and_opposite_signs_are_marked():
    clear, error = np.array([[3.0, 0.1], [-0.2, -1.0]]), np.full((2, 2), 0.05)
    made = Change(np.zeros((2, 8, 8)), np.array([[0.5, 0.06], [2.0, -0.3]]), error)
    table = change_table("AAA", ["DNA", "actin"], 8, made, Change(np.zeros((2, 8, 8)), clear, error))
    assert table["channel"].tolist() == ["DNA", "actin", "actin", "DNA"]
    assert table["opposite"].tolist() == [False, False, True, False]


def test_directions_are_written(tiny_run, tiny_store, tmp_path):
    settings = GenerateSettings(cells=8, batch_size=4, shown=2, steps=3, rings=4)
    table = write_directions(tiny_run.path, tiny_store.path, tmp_path, settings, genes=["AAA", "DDD"], source="BBB")
    assert len(table) == 2 * 2 * 4
    assert table[table["gene_symbol"] == "AAA"]["knockout"].abs().is_monotonic_decreasing
    names = {path.name for path in tmp_path.iterdir()}
    assert {"AAA_strip.pdf", "AAA_changes.png", "DDD_strip.png", "changes.tsv", "directions.json"} <= names
    write_directions(tiny_run.path, tiny_store.path, tmp_path, settings, genes=["ccc", "CCC"])
    figures = {f"CCC_{figure}.{ending}" for figure in ("strip", "changes") for ending in ("pdf", "png")}
    assert {path.name for path in tmp_path.iterdir()} == {"changes.tsv", "directions.json"} | figures
    (tmp_path / "directions.json").unlink()  # as if the call had been killed before its last file
    (tmp_path / "changes.tsv").unlink()
    write_directions(tiny_run.path, tiny_store.path, tmp_path, settings, genes=["CCC"])
    assert (tmp_path / "directions.json").is_file()
    with pytest.raises(GrapeOpsError, match="itself has no direction"):
        write_directions(tiny_run.path, tiny_store.path, tmp_path, settings, genes=["AAA"], source="AAA")
