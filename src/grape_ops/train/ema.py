"""The filter over weights of section 5.3."""

import copy

import torch

from grape_ops.nn.grape import Grape


class WeightAverage:
    """Every ``every`` steps: average <- decay * average + (1 - decay) * weights; the first update copies.

    Attributes
    ----------
    nets : the averaged networks.
    updates : how often they have been updated.
    """

    def __init__(self, nets: Grape, every: int, decay: float):
        self.nets = copy.deepcopy(nets).requires_grad_(False)
        self.every, self.decay = every, decay
        self.updates = 0

    @torch.no_grad()
    def update(self, nets: Grape, step: int) -> None:
        """Take in the weights after ``step`` steps, if it is their turn."""
        if step % self.every:
            return
        decay = self.decay if self.updates else 0.0
        for average, weight in zip(self.nets.parameters(), nets.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        self.updates += 1
