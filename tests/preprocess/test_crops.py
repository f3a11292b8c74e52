import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from grape_ops.preprocess.crops import corner, near_edge, outside, reach
from grape_ops.preprocess.crops import cut as cut_window
from grape_ops.preprocess.flat_field import FlatField
from grape_ops.preprocess.intensity import Rescaling

HEIGHT, WIDTH = 37, 45
TILE = np.random.default_rng(0).integers(0, 65536, (2, HEIGHT, WIDTH), dtype=np.uint16)
RAW = np.float32([[0, 65535], [0, 65535]])  # stored pixels are the raw ones

sizes = st.integers(1, 24)
rows = st.floats(-0.5, HEIGHT - 0.51)
columns = st.floats(-0.5, WIDTH - 0.51)


def cut(tile, corners, size, edge, field, scale, kind):
    """Crops from the window of the tile that they need, which must be those from the whole tile."""
    shape, scaling = tile.shape[1:], Rescaling.between(scale, kind)
    top, left, height, width = reach(corners, size, shape)
    window = tile[:, top : top + height, left : left + width]
    crops = cut_window(window, (top, left), shape, corners, size, edge, field, scaling)
    assert (crops == cut_window(tile, (0, 0), shape, corners, size, edge, field, scaling)).all()
    return crops


def cut_at(y: float, x: float, size: int, edge: str, tile: np.ndarray = TILE) -> np.ndarray:
    corners = np.array([[corner(np.array([y]), size)[0], corner(np.array([x]), size)[0]]])
    return cut(tile, corners, size, edge, FlatField.none(len(tile)), RAW, "uint16")[0]


def test_the_centre_pixel_comes_to_half_the_crop():
    for size in (1, 2, 7, 8):
        tile = np.zeros((2, HEIGHT, WIDTH), dtype=np.uint16)
        tile[:, 20, 22] = 65535
        for y, x in ((20, 22), (19.5, 21.5), (20.49, 22.49)):
            found = np.argwhere(cut_at(y, x, size, "drop", tile)[0])
            assert found.tolist() == [[size // 2, size // 2]]


@given(y=rows, x=columns, size=sizes)
@settings(max_examples=60, deadline=None)
def test_crops_inside_equal_slices(y, x, size):
    if near_edge(np.array([y]), np.array([x]), HEIGHT, WIDTH, size, None)[0]:
        return
    top, left = (int(np.floor(c + 0.5)) - size // 2 for c in (y, x))
    for edge in ("drop", "reflect", "zero"):
        assert (cut_at(y, x, size, edge) == TILE[:, top : top + size, left : left + size]).all()


@given(y=rows, x=columns, size=st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_crops_at_borders_equal_numpys_padding(y, x, size):
    top, left = (int(np.floor(c + 0.5)) - size // 2 for c in (y, x))
    margin = 130
    for edge, mode in (("reflect", "reflect"), ("zero", "constant")):
        padded = np.pad(TILE, ((0, 0), (margin, margin), (margin, margin)), mode=mode)
        expected = padded[:, top + margin :, left + margin :][:, :size, :size]
        assert (cut_at(y, x, size, edge) == expected).all()


@given(y=rows, x=columns, size=sizes, margin=st.none() | st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_near_edge_is_where_the_crop_leaves_or_the_margin_is_not_kept(y, x, size, margin):
    top, left = (int(np.floor(c + 0.5)) - size // 2 for c in (y, x))
    leaves = top < 0 or left < 0 or top + size > HEIGHT or left + size > WIDTH
    close = min(y, x, HEIGHT - 1 - y, WIDTH - 1 - x) < (margin or 0)
    near = near_edge(np.array([y]), np.array([x]), HEIGHT, WIDTH, size, margin)[0]
    assert near == (leaves or close)


def test_outside_is_beyond_the_last_pixel_or_unknown():
    y = np.array([0, -0.5, -0.6, HEIGHT - 0.6, HEIGHT - 0.5, np.nan, 3])
    x = np.array([0, 0, 0, 0, 0, 0, np.inf])
    assert outside(y, x, HEIGHT, WIDTH).tolist() == [False, False, True, False, True, True, True]


def test_correction_and_scaling_are_those_of_the_whole_tile():
    rng = np.random.default_rng(1)
    field = FlatField(
        1 + rng.random((2, 5, 6)).astype(np.float32), np.linspace(3, 33, 5), np.linspace(3, 41, 6), np.ones(2)
    )
    scale = np.float32([[100, 40000], [50, 30000]])
    whole = TILE / field.at(np.arange(HEIGHT), np.arange(WIDTH))
    expected = (whole - scale[:, :1, None]) / (scale[:, 1] - scale[:, 0])[:, None, None]
    expected = np.clip(expected, 0, 1)[:, 5:25, 9:29]
    crop = cut(TILE, np.array([[5, 9]]), 20, "drop", field, scale, "uint16")[0]
    assert np.abs(crop / 65535 - expected).max() < 1e-5


def test_a_crop_depends_on_its_own_window_only():
    corners = np.array([[3, 4], [-5, 30], [20, 20]])
    together = cut(TILE, corners, 12, "reflect", FlatField.none(2), RAW, "uint16")
    for crop, place in zip(together, corners, strict=True):
        assert (cut(TILE, place[None], 12, "reflect", FlatField.none(2), RAW, "uint16")[0] == crop).all()
