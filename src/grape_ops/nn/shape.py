"""The shape of a cell, read from where its light lies: how wide it is spread, and how much longer than wide.

Letters: B batch, C channels, H height = width.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from grape_ops.nn.classifier import middle_weights
from grape_ops.nn.normalization import full_precision

_MIDDLE = 0.15  # of the crop: standard deviation of the window that keeps neighbours out
_LEAST = 1e-3  # of squared half crops: the variance within a pixel, and what keeps logarithms finite
_FAINT = 1e-2  # mean light, in standard deviations of controls, below which there is no shape to speak of
_ROUND = 1e-4  # difference of variances below which light is as good as round: its long axis has no gradient


class Spread(NamedTuple):
    """Variances of the light's place along x and y, and their covariance, in squared half crops: (B, C) each."""

    x: Tensor
    y: Tensor
    covariance: Tensor


def spread_of_light(images: Tensor) -> Spread:
    """Second moments of each channel's light above its darkest pixel, around the middle: (B, C, H, H) -> (B, C)."""
    with full_precision(images):  # variances are differences of nearly equal numbers
        return _spread_of_light(images.to(torch.promote_types(images.dtype, torch.float32)))


def _spread_of_light(images: Tensor) -> Spread:
    side = images.shape[-1]
    above = images - images.detach().amin(dim=(2, 3), keepdim=True)
    light = above * middle_weights(side, _MIDDLE).to(images)
    light = light / light.sum(dim=(2, 3), keepdim=True).clamp_min(_FAINT)
    place = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) * 2 / side - 1
    along_x, along_y = light.sum(dim=2), light.sum(dim=3)
    mean_x, mean_y = along_x @ place, along_y @ place
    x = along_x @ place.square() - mean_x.square()
    y = along_y @ place.square() - mean_y.square()
    return Spread(x + _LEAST, y + _LEAST, (light @ place * place).sum(dim=2) - mean_x * mean_y)


def shape_features(images: Tensor) -> Tensor:
    """Log area and log ratio of axes of each channel's light: (B, C, H, H) -> (B, 2C)."""
    spread = spread_of_light(images)
    mean, apart = (spread.x + spread.y) / 2, (spread.x - spread.y) / 2
    apart = (apart.square() + spread.covariance.square() + _ROUND**2).sqrt()
    longer, shorter = (mean + apart).log(), (mean - apart).clamp_min(_LEAST / 2).log()
    return torch.cat([longer + shorter, longer - shorter], dim=1) / 2


def long_axes(images: Tensor) -> Tensor:
    """Each channel's unit stretch along the long axis of its light and shrinkage across it: -> (B, C, 2, 2).

    It is symmetric with trace 0; a place (x, y) on the long axis is moved outwards, one on the short axis inwards.
    """
    spread = spread_of_light(images.detach())
    along, across = (spread.x - spread.y) / 2, spread.covariance
    length = (along.square() + across.square()).sqrt().clamp_min(torch.finfo(along.dtype).tiny)
    along, across = along / length, across / length
    return torch.stack([along, across, across, -along], dim=2).unflatten(2, (2, 2))
