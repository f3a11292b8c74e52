"""A small convolutional network that names a cell's perturbation.

Letters: B batch, C channels, H height = width, V length of the hidden layer, P perturbations.
"""

import math

import torch
from torch import Tensor, nn

from grape_ops.config import ClassifierSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.blocks import he_initialize


class CellClassifier(nn.Module):
    """Pairs of convolutions with batch norm, the first of a pair halving the map; its mean is the hidden layer.

    Parameters
    ----------
    channels, n_perturbations : of the crops, and how many to tell apart.
    width, max_width : channels of the first layer, doubled after each halving up to ``max_width``.
    halvings : of the map.
    rng : of the weights.
    """

    def __init__(
        self, channels: int, n_perturbations: int, *, width: int, max_width: int, halvings: int, rng: torch.Generator
    ):
        super().__init__()
        layers = _convolution(channels, width, 1)
        for _ in range(halvings - 1):
            wider = min(2 * width, max_width)
            layers += _convolution(width, width, 2) + _convolution(width, wider, 1)
            width = wider
        layers += _convolution(width, width, 2)
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(width, n_perturbations)
        he_initialize(self, rng)

    def forward(self, images: Tensor) -> Tensor:
        """Crops (B, C, H, H) -> logits (B, P); ``trunk`` alone gives the hidden layer (B, V)."""
        return self.head(self.trunk(images))

    def layers(self, images: Tensor) -> Tensor:
        """Mean and deviation of every convolution's map: crops (B, C, H, H) -> (B, V of all layers)."""
        read = [torch.std_mean(part.float(), dim=(2, 3), correction=0) for part in self.maps(images)]
        return torch.cat([value for pair in read for value in pair], dim=1)  # a map of one pixel has a deviation of 0

    def maps(self, images: Tensor) -> list[Tensor]:
        """Every convolution's rectified map: crops (B, C, H, H) -> one (B, V, h, h) each."""
        found: list[Tensor] = []
        for layer in self.trunk:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                found.append(images)
        return found

    @property
    def map_widths(self) -> list[int]:
        """Channels of every map."""
        return [layer.out_channels for layer in self.trunk if isinstance(layer, nn.Conv2d)]

    def map_sides(self, image_size: int) -> list[int]:
        """Height = width of every map, of crops of this size."""
        sides = []
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                image_size = -(-image_size // layer.stride[0])
                sides.append(image_size)
        return sides


def build_classifier(
    settings: ClassifierSettings, n_perturbations: int, channels: int, image_size: int, rng: torch.Generator
) -> CellClassifier:
    """Make the network for crops of a size, initialised from ``rng``.

    Raises
    ------
    GrapeOpsError : more halvings than the crop has.
    """
    halvings = settings.blocks or max(int(math.log2(image_size / 4)), 1)
    if image_size >> halvings < 1:
        raise GrapeOpsError(
            f"The classifier's blocks={halvings} halvings leave nothing of a crop of {image_size} px; lower them."
        )
    return CellClassifier(
        channels, n_perturbations, width=settings.width, max_width=settings.max_width, halvings=halvings, rng=rng
    )


def _convolution(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]
