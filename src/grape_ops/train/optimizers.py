"""Adam as section 3.5 sets it, one for D and one for everything else, and the filter over weights of section 5.3."""

import copy
from typing import Any

import torch

from grape_ops.config import OptimizerSettings
from grape_ops.nn.grape import Grape


def make_optimizers(nets: Grape, settings: OptimizerSettings) -> dict[str, torch.optim.Optimizer]:
    """Adam for D, and Adam for M, F, G and E, where M may have its own rate and weight decay."""
    rate, decay = settings.learning_rate, settings.weight_decay
    betas = (settings.beta1, settings.beta2)
    d = list(nets.discriminator.parameters())
    m = list(nets.embedding.parameters())
    apart = {id(p) for p in d + m}
    others = [p for p in nets.parameters() if p.requires_grad and id(p) not in apart]  # not the frozen classifier
    groups: list[dict[str, Any]] = [
        {
            "params": m,
            "lr": rate if settings.embedding_learning_rate is None else settings.embedding_learning_rate,
            "weight_decay": decay if settings.embedding_weight_decay is None else settings.embedding_weight_decay,
        },
        {"params": others},
    ]
    optimizers: dict[str, torch.optim.Optimizer] = {
        "discriminator": torch.optim.Adam(d, lr=rate, betas=betas, weight_decay=decay, fused=True),
        "generator": torch.optim.Adam(groups, lr=rate, betas=betas, weight_decay=decay, fused=True),
    }
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def set_rates(optimizers: dict[str, torch.optim.Optimizer], settings: OptimizerSettings, step: int, steps: int) -> None:
    """Set the rates of a step, counted from 0, of so many: all of them fall evenly over the last share of a run."""
    if settings.falling:
        left = min((steps - step) / (settings.falling * steps), 1.0)
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * left


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
