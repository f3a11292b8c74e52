"""The generator G: repaints a cell in the style of another perturbation (section 3.3)."""

import itertools

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from grape_ops.nn.blocks import ResBlock, StyledResBlock, doubling_widths
from grape_ops.nn.normalization import InstanceNormLeaky


class Generator(nn.Module):
    """Encoder of down-sampling and middle blocks with instance norm, mirrored decoder with AdaIN; no noise input.

    Parameters
    ----------
    channels : channels of the crops.
    style_dim : length of a style code.
    width, max_width : channels after the first layer, doubled at each halving up to ``max_width``.
    down_blocks : halvings of the encoder; the crop size must be a multiple of 2 ** down_blocks.
    middle_blocks : blocks at the lowest resolution, in encoder and decoder each.
    fused : fold resampling into the convolutions (same function, less work).
    checkpointing : keep only what lies between blocks, and compute the rest again on the way back.
    """

    def __init__(
        self,
        channels: int,
        style_dim: int,
        *,
        width: int,
        max_width: int,
        down_blocks: int,
        middle_blocks: int,
        fused: bool = True,
        checkpointing: bool = False,
    ):
        super().__init__()
        self.checkpointing = checkpointing
        widths = doubling_widths(width, max_width, down_blocks)
        low = widths[-1]
        pairs = list(itertools.pairwise(widths))
        self.from_image = nn.Conv2d(channels, width, 3, padding=1)
        self.encoder = nn.ModuleList(
            [ResBlock(a, b, normalize=True, down=True, fused=fused) for a, b in pairs]
            + [ResBlock(low, low, normalize=True, down=False, fused=fused) for _ in range(middle_blocks)]
        )
        self.decoder = nn.ModuleList(
            [StyledResBlock(low, low, style_dim, up=False, fused=fused) for _ in range(middle_blocks)]
            + [StyledResBlock(b, a, style_dim, up=True, fused=fused) for a, b in reversed(pairs)]
        )
        self.norm = InstanceNormLeaky(width, fused)
        self.to_image = nn.Conv2d(width, channels, 1)

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """Crops (B, C, H, W) and style codes (B, S) -> repainted crops (B, C, H, W)."""
        return self.decode(self.encode(images), style)

    def encode(self, images: Tensor) -> Tensor:
        """What of the crops is kept whatever the style, (B, C, H, W) -> (B, c, h, w): one pass serves many styles."""
        h = self.from_image(images)
        for block in self.encoder:
            h = self._run(block, h)
        return h

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Paint content (B, c, h, w) in style codes (B, S) -> crops (B, C, H, W)."""
        h = content
        for block in self.decoder:
            h = self._run(block, h, style)
        return self.to_image(self.norm(h))

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)
