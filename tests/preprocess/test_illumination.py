import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tiny_screen import vignette

from grape_ops.preprocess.flat_field import FlatField
from grape_ops.preprocess.illumination import estimate_field, lattice, local_median, median_radius


def estimate(tiles: np.ndarray, min_agreement: float = 0.5) -> FlatField:
    """Field of tiles (T, C, H, W), as the survey takes it."""
    shape = tiles.shape[2:]
    down, across = lattice(*shape)
    sparse = tiles[:, :, down, across].astype(float)
    halves = (sparse[::2].mean(axis=0), sparse[1::2].mean(axis=0)) if len(tiles) > 1 else None
    return estimate_field(sparse.mean(axis=0), halves, shape, 2.0, 20, min_agreement)


def everywhere(field: FlatField, size: int) -> np.ndarray:
    return np.broadcast_to(field.at(np.arange(size), np.arange(size)), (len(field.grid), size, size))


def test_radius_is_that_of_the_fields_pipelines():
    assert median_radius(2960, 2960) == 373 and median_radius(1480, 1480) == 186


@given(value=st.integers(0, 65535), size=st.integers(8, 90), tiles=st.integers(1, 3), always=st.booleans())
@settings(max_examples=25, deadline=None)
def test_flat_images_are_left_exactly_alone(value, size, tiles, always):
    images = np.full((tiles, 1, size, size + 3), value, dtype=np.uint16)
    field = estimate(images, min_agreement=0.0 if always else 0.5)
    assert (field.at(np.arange(size), np.arange(size + 3)) == 1).all()


def test_no_field_divides_to_the_same_numbers():
    pixels = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    assert (pixels / FlatField.none(1).at(np.arange(3), np.arange(4)) == pixels).all()


@pytest.mark.parametrize("size", [96, 250])
def test_corrected_vignetting_is_flat(size):
    light = vignette(size)
    tiles = np.random.default_rng(0).poisson(1000 * light, (40, 1, size, size))
    flat = light / everywhere(estimate(tiles), size)[0]
    inner = slice(size // 8, -size // 8)
    assert flat[inner, inner].min() / flat[inner, inner].max() > 0.98
    # At the very corners the disk is cut off and sees too much of the middle, as in the field's pipelines.
    assert light.min() / light.max() < 0.67 and flat.min() / flat.max() > 0.85


def test_field_is_the_full_resolution_median():
    size, rng = 400, np.random.default_rng(1)
    light = vignette(size) * np.linspace(0.8, 1.2, size)
    # Few cells, so that the mean tile is skewed: block averages would not have its median.
    cells = [ndimage.gaussian_filter((rng.random((size, size)) < 0.003) * 900.0, 2) + 3 for _ in range(12)]
    mean = np.mean(cells, axis=0) * light
    radius, places = median_radius(size, size), np.arange(0, size, 19)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(mean, radius, constant_values=np.nan), (2 * radius + 1,) * 2
    )
    full = np.nanmedian(windows[::19, ::19][:, :, y**2 + x**2 <= radius**2], axis=2)
    field = estimate_field(mean[None], (mean[None],) * 2, (size, size), 2.0, 20, 0.5)
    ratio = field.at(places, places)[0] / full
    ratio = ratio[full > np.percentile(full, 5)]  # below the robust minimum the field is clipped
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.005


def test_field_is_one_or_more_and_close_to_one_at_its_darkest():
    tiles = np.random.default_rng(0).poisson(500 * vignette(96), (30, 2, 96, 96))
    field = everywhere(estimate(tiles), 96)
    assert field.min() == 1 and field.max() < 1.6


def test_a_field_that_two_halves_disagree_on_is_not_applied():
    rng = np.random.default_rng(0)
    blobs = [ndimage.gaussian_filter((rng.random((96, 96)) < 0.002) * 9e4, 9) + 50 for _ in range(4)]
    tiles = np.stack(blobs)[:, None] * vignette(96)
    field = estimate(tiles)
    assert field.agreement[0] < 0.5 and (field.grid == 1).all()
    assert (estimate(tiles, min_agreement=0.0).grid > 1).any()
    assert (estimate(tiles[:1]).grid == 1).all()


def test_dark_channel_gives_no_field():
    field = estimate(np.zeros((4, 1, 64, 64), dtype=np.uint16), min_agreement=0.0)
    assert np.isfinite(field.grid).all() and (field.grid == 1).all()


def test_large_tiles_are_thinned_out_and_still_found():
    size = 2000
    assert lattice(size, size)[0].step == 4
    light = vignette(size)
    down, across = lattice(size, size)
    sparse = light[None, down, across]
    field = estimate_field(sparse, (sparse, sparse), (size, size), 2.0, 10, 0.5)
    places = np.arange(300, size - 300, 50)
    flat = light[np.ix_(places, places)] / field.at(places, places)[0]
    assert flat.min() / flat.max() > 0.99


def test_median_of_a_step():
    image = np.where(np.arange(60) < 30, 1.0, 2.0) * np.ones((60, 1))
    median = local_median(image, 8, 1)
    assert np.allclose(median[:, :22], 1, atol=0.04) and np.allclose(median[:, 38:], 2, atol=0.04)
