"""The discriminator D, and the convolutional trunk it shares the shape of with the style encoder (section 3.3).

Letters: B batch, C channels, H height = width, N hidden channels, P perturbations.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from grape_ops.config import TrunkSettings
from grape_ops.nn.blocks import ResBlock, doubling_widths
from grape_ops.nn.normalization import full_precision, leaky, leaky_


class Trunk(nn.Module):
    """Residual blocks that halve the image, then one convolution that makes a vector of what is left.

    Parameters
    ----------
    channels, image_size : channels and height = width of the crops.
    settings : width, blocks and tail. A tail "valid" is an unpadded convolution exactly as large as the last map,
        whatever the crop size; "mean" is a padded 3x3 convolution averaged over the map.
    fused : fold pooling into the convolutions (same function, less work).
    """

    def __init__(self, channels: int, image_size: int, settings: TrunkSettings, *, fused: bool = True):
        super().__init__()
        side = image_size >> settings.blocks
        if side < 1:
            raise ValueError(f"{settings.blocks} halvings leave nothing of a {image_size} px crop")
        widths = doubling_widths(settings.width, settings.max_width, settings.blocks)
        self.from_image = nn.Conv2d(channels, settings.width, 3, padding=1)
        self.blocks = nn.ModuleList(
            ResBlock(a, b, normalize=False, down=True, fused=fused) for a, b in itertools.pairwise(widths)
        )
        self.out_channels = widths[-1]
        kernel, padding = (side, 0) if settings.tail == "valid" else (3, 1)
        self.tail = nn.Conv2d(self.out_channels, self.out_channels, kernel, padding=padding)

    def forward(self, images: Tensor) -> Tensor:
        """Crops (B, C, H, H) -> hidden vectors (B, N)."""
        h = self.from_image(images)
        for block in self.blocks:
            h = block(h)
        # The map of a "valid" tail is 1x1, so that the mean only drops its axes.
        return leaky_(self.tail(leaky_(h))).mean(dim=(2, 3))


class Discriminator(nn.Module):
    """One real/fake logit per perturbation; only the addressed one is used."""

    def __init__(self, trunk: Trunk, n_perturbations: int):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.out_channels, n_perturbations)  # the paper's last convolution, on a 1x1 map

    def forward(self, images: Tensor) -> Tensor:
        """Crops (B, C, H, H) -> logits (B, P)."""
        return _exact(self.head, self.trunk(images))

    def addressed(self, images: Tensor, labels: Tensor) -> Tensor:
        """Keep each cell's own head: (B, C, H, H), (B,) -> (B,)."""
        return self(images).gather(1, labels[:, None]).squeeze(1)


def _exact(head: nn.Linear, hidden: Tensor) -> Tensor:
    """Logits in full precision: they are few, and steer everything."""
    with full_precision(hidden):
        return head(hidden.to(head.weight.dtype))


class _Part(nn.Module):
    """Two convolutions on one map, their mean, and a logit per perturbation."""

    def __init__(self, channels: int, side: int, width: int, n_perturbations: int):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, stride=2 if side > 4 else 1)
        self.head = nn.Linear(width, n_perturbations)

    def forward(self, found: Tensor) -> Tensor:
        """A map (B, V, h, h) -> logits (B, P)."""
        return _exact(self.head, leaky(self.second(leaky(self.first(found)))).mean(dim=(2, 3)))


class ProjectedDiscriminator(nn.Module):
    """Judges crops by the maps of a frozen network, each map by a small part of its own (Sauer et al. 2021).

    The maps are those of a classifier that has learnt to classify this screen's phenotypes, so that D begins where
    a discriminator of pixels hardly arrives with few cells.

    Parameters
    ----------
    widths : channels of the maps it is given.
    sides : height = width of these maps.
    width : channels of its own maps.
    n_perturbations : logits of each part.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], width: int, n_perturbations: int):
        super().__init__()
        self.parts = nn.ModuleList(
            _Part(channels, side, width, n_perturbations) for channels, side in zip(widths, sides, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, K times (B, V, h, h) -> logits (B, K, P)."""
        return torch.stack([part(found) for part, found in zip(self.parts, maps, strict=True)], dim=1)

    def addressed(self, maps: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Keep each cell's own head of every part: K maps, (B,) -> (B, K)."""
        logits = self(maps)
        return logits.gather(2, labels[:, None, None].expand(-1, logits.shape[1], 1)).squeeze(2)
