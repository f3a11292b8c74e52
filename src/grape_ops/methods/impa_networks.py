"""What the IMPA-like baseline trains differently: noise beside a gene's vector, and a loss that makes it matter.

Letters: B batch, C channels, H height = width, P perturbations, V length of a gene's vector, S length of a style code.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from grape_ops.cells.batches import Batch, BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import ImpaSettings, LossSettings, ModelSettings, TrainSettings
from grape_ops.nn.grape import Grape
from grape_ops.nn.style import MappingNetwork
from grape_ops.randomness import TrainingStream
from grape_ops.train.initialize import Initialization
from grape_ops.train.recipe import Recipe
from grape_ops.train.run_folder import Run
from grape_ops.train.step import Objectives, Restyled, Terms, restyle_with


class NoisyMapping(MappingNetwork):
    """A mapping network F that takes noise beside a gene's vector."""

    def __init__(self, noise_dim: int, settings: ModelSettings):
        super().__init__(settings.embedding_dim + noise_dim, settings)
        self.noise_dim = noise_dim

    def forward(self, vectors: Tensor, noise: Tensor | None = None) -> Tensor:
        """Gene vectors (B, V) and noise (B, noise_dim), zeros if None -> style codes (B, S)."""
        noise = vectors.new_zeros(len(vectors), self.noise_dim) if noise is None else noise.to(vectors.dtype)
        return super().forward(torch.cat([vectors, noise], dim=1))


@dataclass(frozen=True)
class NoisyBatch(Batch):
    """A minibatch with two draws of standard normal noise for each crop: (B, noise_dim) each."""

    noise: Tensor | None = None
    other_noise: Tensor | None = None


class NoisyLoader(BatchLoader):
    """Batches with noise of a length; the other parameters are those of :class:`BatchLoader`."""

    def __init__(self, noise_dim: int, crops: StandardizedCrops, sampler: Sampler, **options: Any):
        super().__init__(crops, sampler, **options)
        self.noise_dim = noise_dim

    def fetch(self, step: int) -> NoisyBatch:
        """Make the batch of a step."""
        batch = super().fetch(step)
        drawn = self.rng(TrainingStream.NOISE, step).standard_normal(
            (2, self.sampler.batch_size, self.noise_dim), np.float32
        )
        noise, other_noise = torch.from_numpy(drawn[:, self.mine]).to(self.device)
        return NoisyBatch(**vars(batch), noise=noise, other_noise=other_noise)


def diversity_loss(fake: Tensor, other_fake: Tensor) -> Tensor:
    """Mean absolute gap between two restylings of a crop that differ in their noise only; it is to grow."""
    return (fake - other_fake).abs().mean()


class ImpaObjectives(Objectives):
    """GRAPE's, with noise in the style codes and the diversity loss.

    Parameters
    ----------
    settings, autocast : as of :class:`Objectives`.
    diversity : weight of the diversity loss; with 0 it is not computed.
    """

    def __init__(self, settings: TrainSettings, autocast: Callable[[], AbstractContextManager[Any]], diversity: float):
        super().__init__(settings.loss, settings.compile, autocast)
        self.diversity = diversity
        self.restyle = self.prepared(restyle_with_noise)
        if diversity > 0:
            self.of_generator.append(self.prepared(self._diversity))

    def _diversity(self, nets: Grape, batch: NoisyBatch, restyled: Restyled, _: LossSettings) -> tuple[Tensor, Terms]:
        """What the networks gain by restyling differently with another noise."""
        other = nets.generator(batch.images, noisy_styles(nets, batch.targets, batch.other_noise))
        diversity = diversity_loss(restyled.fake, other)
        return -self.diversity * diversity, {"diversity": diversity.detach()}


def restyle_with_noise(nets: Grape, batch: NoisyBatch) -> Restyled:
    """Restyle a batch to its targets, with the first noise of each crop."""
    return restyle_with(nets, batch, noisy_styles(nets, batch.targets, batch.noise))


def noisy_styles(nets: Grape, labels: Tensor, noise: Tensor | None) -> Tensor:
    """Style codes of the labelled perturbations: (B,), (B, noise_dim) -> (B, S)."""
    return cast("Tensor", nets.mapping(nets.vectors()[labels], noise))


@dataclass(frozen=True)
class ImpaRecipe(Recipe):
    """The IMPA-like baseline's training.

    Attributes
    ----------
    vectors : (P, V) float32 that stand in for M.
    settings : the baseline's.
    """

    vectors: np.ndarray
    settings: ImpaSettings

    def networks(self, run: Run) -> Grape:
        """GRAPE's, with noise before F."""
        mapping = NoisyMapping(self.settings.noise_dim, run.config.model)
        return run.build(checkpointing=run.config.train.activation_checkpointing, mapping=mapping)

    def initialization(self, run: Run, store: CropStore) -> Initialization:
        """The given vectors."""
        return Initialization(rows=torch.from_numpy(self.vectors))

    def loader(
        self, crops: StandardizedCrops, sampler: Sampler, settings: TrainSettings, rank: int, world: int
    ) -> BatchLoader:
        """Batches with noise."""
        noise_dim = self.settings.noise_dim
        return NoisyLoader(noise_dim, crops, sampler, augment=settings.augment, rank=rank, world=world)

    def objectives(self, settings: TrainSettings, autocast: Callable[[], AbstractContextManager[Any]]) -> Objectives:
        """With the diversity loss."""
        return ImpaObjectives(settings, autocast, self.settings.diversity)
