"""Adam as section 3.5 sets it: one for the discriminator, one for everything else."""

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
    return {
        "discriminator": torch.optim.Adam(d, lr=rate, betas=betas, weight_decay=decay, fused=True),
        "generator": torch.optim.Adam(groups, lr=rate, betas=betas, weight_decay=decay, fused=True),
    }
