"""One iteration against the equations: values, gradients, and who learns from what."""

import copy

import pytest
import torch
from small_networks import B, batch64, nets64
from torch.nn import functional

from grape_ops.cells.batches import Batch
from grape_ops.config import LossSettings
from grape_ops.nn.grape import Grape
from grape_ops.train.step import Objectives, Restyled, discriminator_objective, frozen, restyle

PARTS = ("embedding", "mapping", "generator", "discriminator", "style_encoder")


def descend_generator(nets: Grape, batch: Batch, made: Restyled, weights: LossSettings) -> float:
    """Leave the gradients of M, F, G and E, and return the loss."""
    losses = []

    def descend(loss: torch.Tensor, _: dict) -> None:
        loss.backward()
        losses.append(loss.item())

    with frozen(nets.discriminator):
        Objectives(weights).descend_generator(nets, batch, made, descend)
    return sum(losses)


def product_step(nets: Grape, batch: Batch, weights: LossSettings) -> tuple[float, float, dict, dict]:
    """Losses and gradients of one product step, D's update left out."""
    made = restyle(nets, batch)
    d_loss, _ = discriminator_objective(nets, batch, made, weights)
    d_loss.backward()
    d_grads = gradients(nets)
    nets.zero_grad()
    g_loss = descend_generator(nets, batch, made, weights)
    g_grads = gradients(nets)
    nets.zero_grad()
    return d_loss.item(), g_loss, d_grads, g_grads


def gradients(nets: Grape) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in nets.named_parameters() if p.grad is not None}


def restated_step(nets: Grape, batch: Batch, lam: LossSettings) -> tuple[float, float, dict, dict]:
    """The same step from the equations of the method alone: plain forwards, nothing shared, nothing batched."""
    x, y, z = batch.images, batch.labels, batch.targets
    rows = torch.arange(len(x))

    def mapped() -> torch.Tensor:
        h = nets.embedding.weight[z]
        for layer in nets.mapping.stack:
            h = h @ layer.weight.T + layer.bias if hasattr(layer, "weight") else h.clamp(min=0)
        return h

    # max over D of Eq. 1 (non-saturating), minus R1 on real crops: gamma/2 E |grad_x D_y(x)|^2
    real = x.clone().requires_grad_(True)
    d_real = nets.discriminator(real)[rows, y]
    with torch.no_grad():
        fake = nets.generator(x, mapped())
    d_fake = nets.discriminator(fake)[rows, z]
    (slope,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
    penalty = lam.r1 / 2 * (slope**2).reshape(len(x), -1).sum(dim=1).mean()
    d_loss = -torch.log(torch.sigmoid(d_real)).mean() - torch.log(1 - torch.sigmoid(d_fake)).mean() + penalty
    d_names = [n for n, _ in nets.named_parameters() if n.startswith("discriminator")]
    d_parameters = [p for n, p in nets.named_parameters() if n.startswith("discriminator")]
    d_grads = dict(zip(d_names, torch.autograd.grad(d_loss, d_parameters), strict=True))

    # min over M, G, F, E of Eq. 4
    s = mapped()
    fake = nets.generator(x, s)
    adversarial = -torch.log(torch.sigmoid(nets.discriminator(fake)[rows, z])).mean()
    cycle = (x - nets.generator(fake, nets.style_encoder(x))).abs().mean()  # Eq. 2
    s_hat = nets.style_encoder(fake.detach())
    style = (s.detach() - s_hat).abs().mean()  # Eq. 3
    g_loss = adversarial + lam.cycle * cycle + lam.style * style
    g_names = [n for n, _ in nets.named_parameters() if not n.startswith("discriminator")]
    g_parameters = [p for n, p in nets.named_parameters() if not n.startswith("discriminator")]
    g_grads = dict(zip(g_names, torch.autograd.grad(g_loss, g_parameters), strict=True))
    return d_loss.item(), g_loss.item(), d_grads, g_grads


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("weights", [LossSettings(), LossSettings(cycle=0.7, style=1.3, r1=0.4)])
def test_the_product_agrees_with_the_equations(weights: LossSettings, fused: bool):
    nets, batch = nets64(fused_resampling=fused), batch64()
    got, expected = product_step(nets, batch, weights), restated_step(nets, batch, weights)
    assert got[0] == pytest.approx(expected[0], rel=1e-12)
    assert got[1] == pytest.approx(expected[1], rel=1e-12)
    for mine, theirs in zip(got[2:], expected[2:], strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-10, atol=1e-10, msg=name)


def touched(grads: dict[str, torch.Tensor]) -> set[str]:
    return {part for part in PARTS if any(n.startswith(part) and g.abs().max() > 0 for n, g in grads.items())}


def test_each_objective_reaches_its_own_networks_only():
    nets, batch = nets64(), batch64()
    _, _, d_grads, g_grads = product_step(nets, batch, LossSettings())
    assert touched(d_grads) == {"discriminator"}
    assert touched(g_grads) == set(PARTS) - {"discriminator"}


def test_eq_3_reaches_the_style_encoder_only_unless_told_otherwise():
    nets, batch = nets64(), batch64()
    without = product_step(nets, batch, LossSettings(cycle=0, style=0))[3]
    only_e = product_step(nets, batch, LossSettings(cycle=0, style=1))[3]
    everyone = product_step(nets, batch, LossSettings(cycle=0, style=1, detach_style=False))[3]
    assert "style_encoder.head.weight" not in without
    for name, gradient in without.items():
        assert torch.equal(gradient, only_e[name])
    assert touched(only_e) - touched(without) == {"style_encoder"}
    assert not torch.allclose(everyone["embedding.weight"], without["embedding.weight"])


def test_without_a_cycle_weight_the_second_restyling_is_not_computed():
    nets, batch = nets64(), batch64()
    calls = []
    nets.generator.register_forward_hook(lambda *_: calls.append(1))
    product_step(nets, batch, LossSettings(cycle=0))
    assert len(calls) == 1


def test_lazy_r1_is_the_same_penalty_now_and_then():
    nets, batch = nets64(), batch64()
    made = restyle(nets, batch)
    weights = LossSettings(r1=0.5, r1_every=4)
    penalties = [Objectives(weights).discriminator(nets, batch, made, step)[1]["d_r1"].item() for step in range(5)]
    each = Objectives(LossSettings(r1=0.5)).discriminator(nets, batch, made)[1]["d_r1"].item()
    assert penalties == pytest.approx([4 * each, 0, 0, 0, 4 * each])


def test_only_the_addressed_heads_learn():
    _, _, d_grads, _ = product_step(nets64(), batch64(), LossSettings())
    used = d_grads["discriminator.head.weight"].abs().sum(dim=1) > 0
    assert used.tolist() == [True, True, True, True, False]  # 4 is nobody's label and nobody's target


def test_only_the_asked_for_genes_learn():
    _, _, _, g_grads = product_step(nets64(), batch64(), LossSettings())
    used = g_grads["embedding.weight"].abs().sum(dim=1) > 0
    assert used.tolist() == [True, True, False, True, False]


def test_a_shared_fake_changes_no_bit_of_the_generators_gradient():
    """M, F and G stand still while D learns, so that computing the fake once more gives the same bits."""
    nets, batch = nets64(), batch64()
    again = copy.deepcopy(nets)
    for twin, shared in ((nets, restyle(nets, batch)), (again, None)):
        optimizer = torch.optim.SGD(twin.discriminator.parameters(), lr=0.1)
        d_loss, _ = discriminator_objective(twin, batch, shared or restyle(twin, batch), LossSettings())
        d_loss.backward()
        optimizer.step()
        twin.zero_grad()
        descend_generator(twin, batch, shared or restyle(twin, batch), LossSettings())
    for name, gradient in gradients(nets).items():
        assert torch.equal(gradient, gradients(again)[name]), name


def test_a_discriminator_step_separates_and_a_generator_step_fools():
    nets, batch = nets64(), batch64()
    weights = LossSettings(r1=0, cycle=0, style=0)

    def margin() -> tuple[float, float]:
        with torch.no_grad():
            real = nets.discriminator.addressed(batch.images, batch.labels).mean()
            fake = nets.discriminator.addressed(restyle(nets, batch).fake, batch.targets).mean()
        return real.item(), fake.item()

    real, fake = margin()
    d_loss, _ = discriminator_objective(nets, batch, restyle(nets, batch), weights)
    d_loss.backward()
    torch.optim.SGD(nets.discriminator.parameters(), lr=1e-3).step()
    nets.zero_grad()
    assert margin()[0] - margin()[1] > real - fake
    fake = margin()[1]
    descend_generator(nets, batch, restyle(nets, batch), weights)
    others = [p for n, p in nets.named_parameters() if not n.startswith("discriminator")]
    torch.optim.SGD(others, lr=1e-3).step()
    assert margin()[1] > fake


def test_the_discriminator_alone_overfits_a_batch():
    nets, batch = nets64().float(), batch64()
    batch = Batch(batch.images.float(), batch.labels, batch.targets)
    made = restyle(nets, batch).detached()
    optimizer = torch.optim.Adam(nets.discriminator.parameters(), lr=3e-3, betas=(0.0, 0.99))
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = discriminator_objective(nets, batch, made, LossSettings(r1=0))
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_the_cycle_alone_learns_to_give_a_cell_back():
    nets = nets64().float()
    rng = torch.Generator().manual_seed(3)
    coarse = torch.randn(B, 2, 4, 4, generator=rng)
    images = functional.interpolate(coarse, size=32, mode="bilinear")
    batch = Batch(images, torch.zeros(B, dtype=torch.long), torch.zeros(B, dtype=torch.long))
    parameters = [*nets.generator.parameters(), *nets.style_encoder.parameters(), *nets.mapping.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        fake = restyle(nets, batch).fake
        loss = (images - nets.generator(fake, nets.style_encoder(images))).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]
