"""Closed forms of every term of section 3.4."""

import math

import pytest
import torch

from grape_ops.train.losses import (
    cycle_loss,
    discriminator_adversarial_loss,
    generator_adversarial_loss,
    logits_and_r1,
    style_reconstruction_loss,
)


def test_adversarial_losses_at_logit_zero_are_log_two_a_term():
    zero = torch.zeros(5)
    assert discriminator_adversarial_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert generator_adversarial_loss(zero).item() == pytest.approx(math.log(2))


def test_adversarial_losses_point_the_right_way():
    low, high = torch.full((3,), -2.0), torch.full((3,), 2.0)
    assert discriminator_adversarial_loss(high, low) < discriminator_adversarial_loss(low, high)
    assert generator_adversarial_loss(high) < generator_adversarial_loss(low)


def test_the_generators_loss_does_not_saturate_where_it_loses():
    logits = torch.tensor([-20.0], requires_grad=True)
    generator_adversarial_loss(logits).backward()
    assert logits.grad.item() == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 0.3])
def test_r1_of_a_linear_discriminator_is_half_gamma_times_its_squared_weight(gamma: float):
    weight = torch.randn(2, 4, 4, dtype=torch.float64)
    images = torch.randn(6, 2, 4, 4, dtype=torch.float64)
    logits, penalty = logits_and_r1(lambda x: (x * weight).sum(dim=(1, 2, 3)), images, gamma)
    torch.testing.assert_close(logits, (images * weight).sum(dim=(1, 2, 3)))
    assert penalty.item() == pytest.approx(gamma / 2 * weight.square().sum().item())


def test_r1_reaches_the_discriminators_weights():
    scale = torch.tensor(3.0, requires_grad=True)
    images = torch.randn(2, 1, 2, 2)
    logits_and_r1(lambda x: (scale * x).sum(dim=(1, 2, 3)), images, 1.0)[1].backward()
    assert scale.grad.item() == pytest.approx(4 * 3.0)  # d/ds of 1/2 * 4 s^2


def test_cycle_loss_of_the_identity_is_zero_and_of_a_shift_its_size():
    images = torch.randn(3, 2, 8, 8)
    assert cycle_loss(images, images).item() == 0
    assert cycle_loss(images, images + 0.25).item() == pytest.approx(0.25, rel=1e-5)


def test_style_reconstruction_teaches_the_encoder_only():
    style, read = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    loss = style_reconstruction_loss(style, read)
    assert loss.item() == pytest.approx((style - read).abs().mean().item())
    loss.backward()
    assert style.grad is None
    assert read.grad is not None
