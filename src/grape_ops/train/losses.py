"""The objectives of section 3.4, one equation, one pure function.

Letters: B batch, C channels, H height = width, S style length. Logits are those of the addressed head.
"""

import torch
from torch import Tensor
from torch.nn import functional


def discriminator_adversarial_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Real crops up, restyled ones down (Eq. 1 for D, non-saturating form): (B,), (B,) -> ()."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def generator_adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Restyled crops up (Eq. 1 for M, F and G, non-saturating form): (B,) -> ()."""
    return functional.softplus(-fake_logits).mean()


def r1_penalty(real_logits: Tensor, images: Tensor, gamma: float) -> Tensor:
    """Half of gamma times the mean squared gradient norm at real crops (section 3.5): (B,), (B, C, H, H) -> ().

    ``images`` must require gradients and ``real_logits`` must have been computed from them.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return gamma / 2 * gradient.square().sum(dim=(1, 2, 3)).mean()


def cycle_loss(images: Tensor, images_back: Tensor) -> Tensor:
    """Mean absolute gap between a crop and its round trip through another style (Eq. 2)."""
    return (images - images_back).abs().mean()


def style_reconstruction_loss(style: Tensor, style_of_fake: Tensor) -> Tensor:
    """Mean absolute gap between the style asked for, detached, and the style read back (Eq. 3): (B, S) twice -> ()."""
    return (style.detach() - style_of_fake).abs().mean()
