"""The generator G: restyles a cell to another perturbation (section 3.3).

The paper's generator makes the whole cell anew (``paints: cell``). One that makes a change, G(x, s) = x +
change(x, s), keeps what it does not mean to change: it begins as the identity, and needs few steps and cells to leave
surroundings alone. Two kinds of change are simple, but hard to make through an encoder that halves the cell several
times. Brighter or coarser light is a gain of the cell's pixels and of their fine structure (``gain``), and another
shape is a movement of its pixels (``warp``).
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from grape_ops.config import GeneratorSettings
from grape_ops.nn.blocks import ResBlock, StyledResBlock, doubling_widths
from grape_ops.nn.normalization import AdaINLeaky, InstanceNormLeaky, full_precision
from grape_ops.nn.shape import long_axes

_FLOW_BLOCK = 4  # px: movements are averaged over blocks of this size, and change smoothly between them


class Content(NamedTuple):
    """What decoding starts from: the crops (B, C, H, W) and their encoding (B, c, h, w)."""

    images: Tensor
    maps: Tensor


class Generator(nn.Module):
    """Encoder of down-sampling and middle blocks with instance norm, mirrored decoder with AdaIN; no noise input.

    Parameters
    ----------
    channels : channels of the crops.
    style_dim : length of a style code.
    settings : widths, blocks, and what it makes; the crop size must be a multiple of 2 ** down_blocks.
    fused : fold resampling into the convolutions (same function, less work).
    checkpointing : keep only what lies between blocks, and compute the rest again on the way back.
    """

    def __init__(
        self,
        channels: int,
        style_dim: int,
        settings: GeneratorSettings,
        *,
        fused: bool = True,
        checkpointing: bool = False,
    ):
        super().__init__()
        self.checkpointing = checkpointing
        self.paints, self.gain = settings.paints, settings.gain
        self.warp, self.long_axis = settings.warp, settings.long_axis
        width, middle = settings.width, range(settings.middle_blocks)
        widths = doubling_widths(width, settings.max_width, settings.down_blocks)
        low, smooth = widths[-1], settings.upsampling == "bilinear"
        pairs = list(itertools.pairwise(widths))
        self.from_image = nn.Conv2d(channels, width, 3, padding=1)
        self.encoder = nn.ModuleList(
            [ResBlock(a, b, normalize=True, down=True, fused=fused) for a, b in pairs]
            + [ResBlock(low, low, normalize=True, down=False, fused=fused) for _ in middle]
        )
        self.decoder = nn.ModuleList(
            [StyledResBlock(low, low, style_dim, up=False, smooth=smooth, fused=fused) for _ in middle]
            + [StyledResBlock(b, a, style_dim, up=True, smooth=smooth, fused=fused) for a, b in reversed(pairs)]
        )
        # After a plain instance norm every change would be as strong as any other; the style has to say how strong.
        changes = settings.paints == "change"
        self.norm = AdaINLeaky(style_dim, width, fused) if changes else InstanceNormLeaky(width, fused)
        self.to_image = nn.Conv2d(width, 3 * channels if settings.gain else channels, 1)
        self.to_flow = nn.Conv2d(width, 6 + channels * settings.long_axis, 1) if settings.warp else None

    @torch.no_grad()
    def initialize_as_identity(self) -> None:
        """Let a generator that makes a change begin as the identity."""
        if self.paints == "change":
            nn.init.zeros_(self.to_image.weight)
        if self.to_flow is not None:
            nn.init.zeros_(self.to_flow.weight)

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """Crops (B, C, H, W) and style codes (B, S) -> restyled crops (B, C, H, W)."""
        return self.decode(self.encode(images), style)

    def encode(self, images: Tensor) -> Content:
        """What of the crops (B, C, H, W) is kept whatever the style: one pass serves many styles."""
        h = self.from_image(images)
        for block in self.encoder:
            h = self._run(block, h)
        return Content(images, h)

    def decode(self, content: Content, style: Tensor) -> Tensor:
        """Content in style codes (B, S) -> crops (B, C, H, W)."""
        h = content.maps
        for block in self.decoder:
            h = self._run(block, h, style)
        h = self.norm(h, style) if isinstance(self.norm, AdaINLeaky) else self.norm(h)
        made = self.to_image(h)
        if self.paints == "cell":
            return made
        images = content.images
        if self.to_flow is not None:
            axes = long_axes(images) if self.long_axis else None
            images = warped(images, self.warp * torch.tanh(flow_of(self.to_flow(h).float(), axes))).to(images.dtype)
        if not self.gain:
            return images + made
        added, of_light, of_detail = made.chunk(3, dim=1)
        return images + added + of_light * images + of_detail * fine_structure(images)

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)


def flow_of(drawn: Tensor, axes: Tensor | None = None) -> Tensor:
    """Movements, smooth between blocks of pixels and zero at the rim: (B, 6 or 6 + C, H, W) -> (B, 2, H, W).

    The first two maps are movements of their own; the mean of the next four is a linear map of the place in the
    crop, which stretches or shrinks the cell in the middle as a whole. Those of C more stretch it along the long axis
    of each channel's light, wherever that points, given as ``axes`` (B, C, 2, 2).
    """
    local = functional.interpolate(
        functional.avg_pool2d(drawn[:, :2], _FLOW_BLOCK), scale_factor=_FLOW_BLOCK, mode="bilinear", align_corners=False
    )
    place = places(drawn)
    linear, amounts = drawn[:, 2:].mean(dim=(2, 3)).tensor_split([4], dim=1)
    linear = linear.unflatten(1, (2, 2))
    if axes is not None:
        linear = linear + torch.einsum("bc,bcij->bij", amounts, axes.to(amounts))
    stretch = torch.einsum("bij,jhw->bihw", linear, place)
    return (local + stretch) * (1 - place.square()).prod(dim=0)


def fine_structure(images: Tensor) -> Tensor:
    """What a blur over five pixels takes away, edges repeated: (B, C, H, W) -> the same."""
    weights = torch.tensor([1, 4, 6, 4, 1], dtype=images.dtype, device=images.device) / 16
    channels = images.shape[1]
    kernel = (weights[:, None] * weights).expand(channels, 1, 5, 5)
    with full_precision(images):  # a difference of nearly equal numbers
        return images - functional.conv2d(functional.pad(images, (2, 2, 2, 2), "replicate"), kernel, groups=channels)


def warped(images: Tensor, flow: Tensor) -> Tensor:
    """Take every pixel from where the flow (B, 2, H, W), in px along x and y, points: (B, C, H, W) -> the same."""
    height, width = images.shape[2:]
    images, flow = images.float(), flow.float()
    per_pixel = torch.tensor([2 / width, 2 / height], device=images.device)
    grid = (places(images) + flow * per_pixel[:, None, None]).permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)


def places(images: Tensor) -> Tensor:
    """Where each pixel of crops (B, C, H, W) lies along x and y, the edges at -1 and 1: (2, H, W)."""
    y, x = (((torch.arange(n, device=images.device) + 0.5) * 2 / n - 1).to(images.dtype) for n in images.shape[2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))
