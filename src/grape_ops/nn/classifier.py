"""A small convolutional network that names a cell's perturbation.

Letters: B batch, C channels, H height = width, V length of the hidden layer, P perturbations.
"""

import torch
from torch import Tensor, nn

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
        read: list[Tensor] = []
        for layer in self.trunk:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                read += torch.std_mean(images.float(), dim=(2, 3), correction=0)  # 0 for a map of one pixel
        return torch.cat(read, dim=1)


def _convolution(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]
