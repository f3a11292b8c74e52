"""Residual blocks of the generator, the discriminator and the style encoder (section 3.3).

Letters: B batch, C and K channels in and out, H and W height and width, S style length.

The blocks follow the conventions the paper inherits from StarGAN v2: pre-activation, LeakyReLU(0.2), sums
divided by sqrt(2), average pooling down, nearest neighbour up. Resampling next to a convolution is linear, so
both fold into one strided 4x4 kernel (``fused=True``): the same function with 4/9 of the multiplications and
no full-resolution intermediate. ``fused=False`` computes it the plain way; parameters are the same for both.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from grape_ops.nn.normalization import AdaINLeaky, InstanceNormLeaky, leaky, leaky_

SQRT2 = math.sqrt(2.0)


def _boxed(weight: Tensor, factor: float, flipped: bool = False) -> Tensor:
    """Convolve 3x3 kernels, times ``factor``, with a 2x2 box of ones: (..., 3, 3) -> (..., 4, 4)."""
    one = torch.eye(3, dtype=weight.dtype, device=weight.device)
    box = functional.pad(one, (0, 0, 0, 1)) + functional.pad(one, (0, 0, 1, 0))
    box = box.flip(1) if flipped else box
    # One matrix product: padding and adding would pass over wide kernels eight times.
    spread = weight.flatten(2).flatten(0, 1) @ torch.kron(box, factor * box).T
    return spread.unflatten(0, weight.shape[:2]).unflatten(2, (4, 4))


def conv_then_pool(x: Tensor, conv: nn.Conv2d, fused: bool) -> Tensor:
    """A padded 3x3 convolution, then 2x2 average pooling: (B, C, H, W) -> (B, K, H // 2, W // 2)."""
    if not fused:
        return functional.avg_pool2d(conv(x), 2)
    return functional.conv2d(x, _boxed(conv.weight, 1 / 4), conv.bias, stride=2, padding=1)


def doubled(x: Tensor, smooth: bool) -> Tensor:
    """Double height and width, by bilinear interpolation or nearest neighbours: (B, C, H, W) -> (B, C, 2H, 2W)."""
    if smooth:
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def upsample_then_conv(x: Tensor, conv: nn.Conv2d, smooth: bool, fused: bool) -> Tensor:
    """Doubling, then a padded 3x3 convolution: (B, C, H, W) -> (B, K, 2H, 2W)."""
    if smooth or not fused:  # with bilinear doubling the folded kernel has 6x6 entries: nothing is saved
        return conv(doubled(x, smooth))
    kernel = _boxed(conv.weight, 1, flipped=True).transpose(0, 1)
    return functional.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


class ResBlock(nn.Module):
    """Pre-activation residual block, optionally normalised and optionally halving the image."""

    def __init__(self, channels_in: int, channels_out: int, *, normalize: bool, down: bool, fused: bool):
        super().__init__()
        self.down, self.fused = down, fused
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm1 = InstanceNormLeaky(channels_in, fused) if normalize else None
        self.norm2 = InstanceNormLeaky(channels_in, fused) if normalize else None
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False) if channels_in != channels_out else None

    def _shortcut(self, x: Tensor) -> Tensor:
        # A 1x1 convolution without bias commutes with pooling; pooling first leaves it a quarter of the work.
        if self.down and self.fused:
            x = functional.avg_pool2d(x, 2)
        if self.skip is not None:
            x = self.skip(x)
        if self.down and not self.fused:
            x = functional.avg_pool2d(x, 2)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W), or half of H and W if the block halves."""
        h = self.norm1(x) if self.norm1 is not None else leaky(x)
        h = conv_then_pool(h, self.conv1, self.fused) if self.down else self.conv1(h)
        h = self.conv2(self.norm2(h) if self.norm2 is not None else leaky_(h))
        return h.add_(self._shortcut(x)).div_(SQRT2)


class StyledResBlock(nn.Module):
    """Residual block of the decoder: style enters by AdaIN, the image is optionally doubled."""

    def __init__(self, channels_in: int, channels_out: int, style_dim: int, *, up: bool, smooth: bool, fused: bool):
        super().__init__()
        self.up, self.smooth, self.fused = up, smooth, fused
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.norm1 = AdaINLeaky(style_dim, channels_in, fused)
        self.norm2 = AdaINLeaky(style_dim, channels_out, fused)
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False) if channels_in != channels_out else None

    def _shortcut(self, x: Tensor) -> Tensor:
        # A 1x1 convolution commutes with doubling; doubling last leaves a quarter of the work.
        if self.up and not self.fused:
            x = doubled(x, self.smooth)
        if self.skip is not None:
            x = self.skip(x)
        if self.up and self.fused:
            x = doubled(x, self.smooth)
        return x

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, C, H, W), (B, S) -> (B, K, H, W), or twice H and W if the block doubles."""
        h = self.norm1(x, style)
        h = upsample_then_conv(h, self.conv1, self.smooth, self.fused) if self.up else self.conv1(h)
        h = self.conv2(self.norm2(h, style))
        return h.add_(self._shortcut(x)).div_(SQRT2)


def doubling_widths(width: int, max_width: int, blocks: int) -> list[int]:
    """Channels before and after each of ``blocks`` halvings: [width, ..., min(width * 2^blocks, max_width)]."""
    return [min(width * 2**i, max_width) for i in range(blocks + 1)]


@torch.no_grad()
def he_initialize(module: nn.Module, rng: torch.Generator) -> None:
    """He initialisation (fan-in) of convolutions and linear layers, biases 0 (section 3.5)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu", generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.MultiheadAttention):
            nn.init.xavier_uniform_(layer.in_proj_weight, generator=rng)  # its usual scale, from our generator
