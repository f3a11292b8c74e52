import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from grape_ops.preprocess.intensity import BINS, COUNTED, Rescaling, count_into, count_stride, counted, percentiles


def histogram(image: np.ndarray, limit: int) -> np.ndarray:
    counts = np.zeros((len(image), BINS), np.int64)
    count_into(counts, image, limit)
    return counts


def rescale(values: np.ndarray, low: np.ndarray, high: np.ndarray, kind: str) -> np.ndarray:
    return Rescaling.between(np.stack([low, high], axis=1), kind)(values.astype(np.float32)).astype(kind)


pixels = st.sampled_from(["uint8", "uint16"]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9))
)


@given(image=pixels, shares=st.tuples(st.floats(0, 100), st.floats(0, 100)))
@settings(max_examples=40, deadline=None)
def test_percentiles_of_raw_pixels_are_numpys(image, shares):
    limit = np.iinfo(image.dtype).max
    found = percentiles(histogram(image[None].astype(np.float32), limit), limit, shares)
    assert np.allclose(found[0], np.percentile(image, shares), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("limit", [255, 65535])
def test_percentiles_of_corrected_pixels_are_exact_to_a_fraction_of_a_grey_level(limit):
    rng = np.random.default_rng(0)
    image = (rng.gamma(2, limit / 40, (1, 300, 300)) / rng.uniform(1, 1.5, (300, 300))).astype(np.float32)
    image = np.minimum(image, limit)
    found = percentiles(histogram(image, limit), limit, (0.1, 99.9))[0]
    exact = np.percentile(image, (0.1, 99.9))
    assert np.abs(found - exact).max() <= (limit + 1) / 2**20 + 1e-4
    assert np.abs(found - exact).max() / (exact[1] - exact[0]) < 0.001


def test_histograms_add_up():
    image = np.random.default_rng(0).integers(0, 65536, (2, 40, 50)).astype(np.float32)
    both = histogram(image[:, :13], 65535) + histogram(image[:, 13:], 65535)
    assert (both == histogram(image, 65535)).all()


def test_small_groups_are_counted_whole_and_large_ones_thinned():
    assert count_stride(1) == count_stride(COUNTED) == (1, 1)
    for tiles, size in ((1281, 2960), (9, 1480), (96, 640), (33, 720)):
        rows, columns = counted(0, count_stride(tiles * size**2), size, size)
        share = tiles * len(range(*rows.indices(size))) * len(range(*columns.indices(size))) / COUNTED
        assert min(0.49, tiles * size**2 / COUNTED) < share < 1.03


@given(stride=st.tuples(st.integers(1, 12), st.integers(1, 12)), size=st.integers(20, 40))
@settings(max_examples=30, deadline=None)
def test_every_pixel_has_its_turn(stride, size):
    seen = np.zeros((size, size), dtype=int)
    for position in range(40 * stride[0] * stride[1]):
        seen[counted(position, stride, size, size)] += 1
    assert seen.min() > 0 and seen.max() <= 80


def test_sampled_percentiles_are_close_to_all():
    rng = np.random.default_rng(0)
    images = rng.gamma(2, 900, (9, 400, 400)).astype(np.float32)
    sampled = sum(
        histogram(images[n][None, rows, columns], 65535)
        for n in range(9)
        for rows, columns in [counted(n, (3, 3), 400, 400)]
    )
    found = percentiles(sampled, 65535, (0.1, 99.9))[0]
    exact = np.percentile(images, (0.1, 99.9))
    assert np.abs(found - exact).max() / (exact[1] - exact[0]) < 0.02  # 160,000 pixels; 17 million bring 0.001


@given(low=st.integers(0, 30000), span=st.integers(1, 30000), kind=st.sampled_from(["uint8", "uint16"]))
@settings(max_examples=40, deadline=None)
def test_rescaling_maps_the_range_and_clips(low, span, kind):
    top = np.iinfo(kind).max
    values = np.array([[[0, low, low + span, 65535]]], dtype=np.uint16)
    out = rescale(values, np.float32([low]), np.float32([low + span]), kind).ravel()
    assert out.dtype == kind and out[0] == out[1] == 0 and out[2] == top and out[3] == top
    middle = rescale(np.float32([[[low + span / 2]]]), np.float32([low]), np.float32([low + span]), kind)
    assert abs(int(middle.item()) - top / 2) <= 1


def test_channel_without_contrast_is_black():
    assert (rescale(np.full((1, 4, 4), 7), np.float32([7]), np.float32([7]), "uint16") == 0).all()
