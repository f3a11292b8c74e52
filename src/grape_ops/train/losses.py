"""The objectives of section 3.4, one equation, one pure function.

Letters: B batch, C channels, H height = width, S style length. Logits are those of the addressed
heads: (B,), or (B, K) where D judges K maps.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def discriminator_adversarial_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Real crops up, restyled ones down (Eq. 1 for D, non-saturating form): (B,), (B,) -> ()."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def generator_adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Restyled crops up (Eq. 1 for M, F and G, non-saturating form): (B,) -> ()."""
    return functional.softplus(-fake_logits).mean()


def logits_and_r1(logits_of: Callable[[Tensor], Tensor], images: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Logits at real crops, and half of gamma times the mean squared gradient norm there (section 3.5).

    ``logits_of`` maps (B, C, H, H) -> (B,). The gradient is taken by ``torch.func``, which gives the same numbers as
    ``torch.autograd.grad(create_graph=True)`` and, unlike it, can be compiled.
    """

    def total(crops: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_of(crops)
        return logits.sum(), logits

    gradient, logits = torch.func.grad(total, has_aux=True)(images)
    return logits, gamma / 2 * gradient.square().sum(dim=(1, 2, 3)).mean()


def cycle_loss(images: Tensor, images_back: Tensor) -> Tensor:
    """Mean absolute gap between a crop and its round trip through another style (Eq. 2)."""
    return (images - images_back).abs().mean()


def style_reconstruction_loss(style: Tensor, style_of_fake: Tensor) -> Tensor:
    """Mean absolute gap between the style asked for, detached, and the style read back (Eq. 3): (B, S) twice -> ()."""
    return (style.detach() - style_of_fake).abs().mean()


def matching_loss(gaps: Tensor, targets: Tensor) -> Tensor:
    """Squared mean gap of each target's cells (``nn/classifier.py``), averaged over targets: (B, V), (B,) -> ().

    Cells with the same phenotype differ in how they show it, and so may restyled ones: what counts is their mean.
    Its square is estimated from pairs of different cells, so that their scatter costs nothing; a target that stands
    alone in the batch says nothing. Not of the paper.
    """
    pairs = (targets[:, None] == targets).to(gaps.dtype)
    pairs = pairs - torch.diag_embed(pairs.diagonal())
    weight = pairs / pairs.sum(dim=1, keepdim=True).clamp_min(1)  # each cell with the mean of the others
    return (weight * (gaps @ gaps.T)).sum() / pairs.any(dim=1).sum().clamp_min(1)
