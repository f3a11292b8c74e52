"""A small convolutional network that names a cell's perturbation; once frozen, what genes change in its layers.

Letters: B batch, C channels, H height = width, V length of the hidden layer (of ``GeneEffects``: of all layers it
takes), P perturbations.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from grape_ops.config import ClassifierSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.blocks import he_initialize

_LEAST_VARIANCE = 1e-10
_MIDDLE = 0.2  # of the crop


class CellClassifier(nn.Module):
    """Pairs of convolutions with batch norm, the first of a pair halving the map; its mean is the hidden layer.

    Parameters
    ----------
    channels, n_perturbations : of the crops, and how many to classify.
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
        return summaries(self.maps(images))

    def centred_layers(self, images: Tensor) -> Tensor:
        """The same, and once more with the middle of the crop weighing most: (B, C, H, H) -> (B, 2V of all layers)."""
        return centred_summaries(self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Every convolution's rectified map, batch norms at rest: crops (B, C, H, H) -> one (B, V, h, h) each.

        A batch norm at rest is a scale and a shift, which fold into the convolution before it.
        """
        found: list[Tensor] = []
        layers = list(self.trunk)[:-2]
        for convolution, norm in zip(layers[::3], layers[1::3], strict=True):
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift = norm.bias - norm.running_mean * scale
            weight = convolution.weight * scale[:, None, None, None]
            images = functional.conv2d(images, weight, shift, convolution.stride, padding=1)
            images = functional.relu(images)
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


def summaries(maps: list[Tensor]) -> Tensor:
    """Deviation and mean of every map: one (B, V, h, h) each -> (B, 2V of all of them)."""
    return torch.cat([value for found in maps for value in _spread_and_mean(found, None)], dim=1)


def centred_summaries(maps: list[Tensor]) -> Tensor:
    """The same, and both once more with the middle of the crop, where the cell is, weighing most: -> (B, 4V)."""
    around_the_middle = [
        value
        for found in maps
        for value in _spread_and_mean(found, middle_weights(found.shape[-1], _MIDDLE).to(found.device))
    ]
    return torch.cat([summaries(maps), *around_the_middle], dim=1)


def middle_weights(side: int, width: float) -> Tensor:
    """A Gaussian window over a crop, its standard deviation a share of the crop and its sum 1: -> (h, h)."""
    place = (torch.arange(side) + 0.5) / side - 0.5
    along = torch.exp(-(place**2) / (2 * width**2))
    window = along[:, None] * along
    return window / window.sum()


def _spread_and_mean(found: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    found = found.to(torch.promote_types(found.dtype, torch.float32))

    def mean_of(values: Tensor) -> Tensor:
        return values.mean(dim=(2, 3)) if weights is None else (values * weights).sum(dim=(2, 3))

    mean = mean_of(found)
    return (mean_of(found.square()) - mean.square()).clamp_min(_LEAST_VARIANCE).sqrt(), mean


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


class GeneEffects(nn.Module):
    """Each perturbation's mean effect on whitened features, shrunken by what chance explains; nothing of it learns.

    Parameters
    ----------
    n_perturbations, n_features : P and V.

    Attributes
    ----------
    whitening : (V, V), features -> units in which chance moves all directions of a gene's mean alike.
    targets : (P, V) effects in these units.
    """

    whitening: Tensor
    targets: Tensor

    def __init__(self, n_perturbations: int, n_features: int):
        super().__init__()
        self.register_buffer("whitening", torch.zeros(n_features, n_features))
        self.register_buffer("targets", torch.zeros(n_perturbations, n_features))

    def initialize(self, whitening: Tensor, targets: Tensor) -> None:
        """Take over what was found in the cells: (V, V), (P, V)."""
        self.whitening.copy_(whitening)
        self.targets.copy_(targets)

    def gaps(self, change: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """What changes of features (B, V) lack of the way from one perturbation's effect to another's.

        (B, V), (B,), (B,) -> (B, V), in units of the genes' root mean squared effect.
        """
        gap = change @ self.whitening.to(change.dtype) - (self.targets[wanted] - self.targets[labels])
        size = self.targets.square().sum(dim=1).mean().clamp_min(1.0).sqrt()  # no less than chance moves a gene's mean
        return gap / size
