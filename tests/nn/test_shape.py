"""The shape of cells as read from their light, and the stretch along their long axis."""

import math

import torch

from grape_ops.nn.generator import flow_of, warped
from grape_ops.nn.shape import long_axes, shape_features

SIDE = 48


def ellipses(angles: torch.Tensor, longer: float, shorter: float) -> torch.Tensor:
    """Bell-shaped light with these standard deviations in px: (B,) -> (B, 1, 48, 48)."""
    place = torch.arange(SIDE, dtype=torch.float64) + 0.5 - SIDE / 2
    x, y = place[None, None, :], place[None, :, None]
    sine, cosine = angles.sin()[:, None, None], angles.cos()[:, None, None]
    along, across = cosine * x + sine * y, cosine * y - sine * x
    return torch.exp(-(along**2) / (2 * longer**2) - across**2 / (2 * shorter**2))[:, None]


def seen(longer: float, shorter: float) -> tuple[float, float]:
    """Log area and log ratio of axes that the window over the middle leaves of such light."""
    window = 0.15 * SIDE
    axes = [1 / (1 / own**2 + 1 / window**2) for own in (longer, shorter)]
    in_half_crops = [axis * (2 / SIDE) ** 2 + 1e-3 for axis in axes]
    return math.log(in_half_crops[0] * in_half_crops[1]) / 2, math.log(in_half_crops[0] / in_half_crops[1]) / 2


def test_size_and_elongation_are_those_of_an_ellipse_whichever_way_it_points():
    angles = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    found = shape_features(ellipses(angles, 5.0, 3.0))
    wanted = torch.tensor(seen(5.0, 3.0), dtype=torch.float64).expand(7, 2)
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)
    round_one = shape_features(ellipses(angles[:1], 4.0, 4.0))
    assert round_one[0, 1].abs() < 0.03
    assert abs(round_one[0, 0] - seen(4.0, 4.0)[0]) < 0.01


def test_brightness_and_background_are_no_shape():
    images = ellipses(torch.tensor([0.7], dtype=torch.float64), 5.0, 3.0)
    torch.testing.assert_close(shape_features(3 * images - 2), shape_features(images))


def test_an_empty_channel_has_finite_features_and_gradients():
    images = torch.zeros(2, 3, 32, 32, requires_grad=True)
    features = shape_features(images)
    features.sum().backward()
    assert features.isfinite().all()
    assert images.grad is not None and images.grad.isfinite().all()
    assert long_axes(images).isfinite().all()


def test_a_stretch_along_the_long_axis_elongates_whichever_way_the_cell_points():
    angles = torch.linspace(0, math.pi, 9, dtype=torch.float64)[:-1]
    images = ellipses(angles, 5.0, 3.5)
    drawn = torch.zeros(len(angles), 7, SIDE, SIDE)
    drawn[:, 6] = -2.0  # pixels come from nearer the middle along the long axis: the cell becomes longer
    longer = warped(images, flow_of(drawn, long_axes(images)))
    before, after = (shape_features(part)[:, 1] for part in (images, longer))
    assert ((after - before) > 0.1).all()
    assert after.std() < 0.1 * (after - before).mean()
    drawn[:, 6] = 2.0
    rounder = warped(images, flow_of(drawn, long_axes(images)))
    assert (shape_features(rounder)[:, 1] < before - 0.05).all()
