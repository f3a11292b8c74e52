"""The five networks: sizes at the paper's setting, the fused rewrites, and heads at every crop size."""

import pytest
import torch
from torch import nn

from grape_ops.config import DiscriminatorSettings, ModelSettings, TrunkSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.blocks import ResBlock, StyledResBlock, conv_then_pool, upsample_then_conv
from grape_ops.nn.discriminator import Trunk
from grape_ops.nn.grape import Grape, build_grape

# Counted independently, at 96 x 96 x 4 and 107 perturbations.
PAPER_PARAMETERS = {
    "embedding": 53_500,
    "mapping": 552_000,
    "generator": 24_319_236,
    "discriminator": 14_352_107,
    "style_encoder": 14_330_048,
}
# Multiply-adds of convolutions and linear layers, per crop, of the plain networks.
PAPER_GMAC = {"generator": 7.781, "discriminator": 2.310, "style_encoder": 2.310}

SMALL = ModelSettings(
    embedding_dim=8,
    style_dim=5,
    mapping_width=7,
    generator={"width": 4, "max_width": 8, "down_blocks": 2, "middle_blocks": 1},
    discriminator={"width": 4, "max_width": 8, "blocks": 3},
    style_encoder={"width": 4, "max_width": 8, "blocks": 3},
)


def small_nets(seed: int = 0, size: int = 32, channels: int = 3, **changes: object) -> Grape:
    settings = ModelSettings.model_validate(SMALL.model_dump() | changes)
    rng = torch.Generator().manual_seed(seed)
    return build_grape(settings, n_perturbations=4, channels=channels, image_size=size, rng=rng)


def test_parameters_at_the_papers_size():
    nets = build_grape(
        ModelSettings(), n_perturbations=107, channels=4, image_size=96, rng=torch.Generator().manual_seed(0)
    )
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in nets.named_children()}
    assert counts == PAPER_PARAMETERS


def test_multiply_adds_at_the_papers_size():
    settings = ModelSettings(fused_resampling=False)
    nets = build_grape(settings, n_perturbations=107, channels=4, image_size=96, rng=torch.Generator().manual_seed(0))
    nets = nets.to("meta")
    images, style = torch.zeros(1, 4, 96, 96, device="meta"), torch.zeros(1, 64, device="meta")
    for name, inputs in (("generator", (images, style)), ("discriminator", (images,)), ("style_encoder", (images,))):
        assert gmac(getattr(nets, name), *inputs) == pytest.approx(PAPER_GMAC[name], abs=0.002)


def gmac(module: nn.Module, *inputs: torch.Tensor) -> float:
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        per_output = layer.weight[0].numel()
        total += output.numel() * per_output

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return total / 1e9


@pytest.mark.parametrize("size", [6, 7, 12])
def test_convolving_and_pooling_in_one_step_is_the_same_function(size: int):
    conv = nn.Conv2d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(conv_then_pool(x, conv, fused=True), conv_then_pool(x, conv, fused=False))


@pytest.mark.parametrize("size", [3, 4])
def test_doubling_and_convolving_in_one_step_is_the_same_function(size: int):
    conv = nn.Conv2d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    for smooth in (False, True):
        folded = upsample_then_conv(x, conv, smooth, fused=True)
        torch.testing.assert_close(folded, upsample_then_conv(x, conv, smooth, fused=False))


def test_fused_and_plain_networks_share_weights_outputs_and_gradients():
    plain, fused = small_nets(fused_resampling=False).double(), small_nets(fused_resampling=True).double()
    fused.load_state_dict(plain.state_dict())
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    labels = torch.tensor([0, 2, 3])
    results = []
    for nets in (plain, fused):
        fake = nets.restyle(images, labels)
        loss = fake.square().mean() + nets.discriminator(fake).sum() + nets.style_encoder(fake).sum()
        loss.backward()
        results.append([fake, *(p.grad for p in nets.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("tail", ["valid", "mean"])
@pytest.mark.parametrize("size", range(32, 105, 8))
def test_heads_fit_every_crop_size(size: int, tail: str):
    trunk = {"width": 4, "max_width": 8, "blocks": 3, "tail": tail}
    nets = small_nets(size=size, channels=1, discriminator=trunk, style_encoder=trunk)
    images = torch.randn(2, 1, size, size)
    assert nets.discriminator(images).shape == (2, 4)
    assert nets.style_encoder(images).shape == (2, 5)
    assert nets.restyle(images, torch.tensor([0, 1])).shape == images.shape


@pytest.mark.parametrize("tail", ["valid", "mean"])
def test_every_pixel_of_the_last_map_reaches_the_head(tail: str):
    trunk = Trunk(1, 40, TrunkSettings(width=4, max_width=8, blocks=3, tail=tail))
    images = torch.randn(1, 1, 40, 40, requires_grad=True)
    trunk(images).sum().backward()
    assert (images.grad.abs().amax(dim=(0, 1)) > 0).float().mean() > 0.95


@pytest.mark.parametrize("channels", [1, 2, 5, 16])
def test_any_number_of_channels(channels: int):
    nets = small_nets(channels=channels)
    images = torch.randn(2, channels, 32, 32)
    assert nets.restyle(images, torch.tensor([1, 2])).shape == images.shape


@pytest.mark.parametrize(
    ("size", "channels", "changes", "words"),
    [
        (36, 3, {}, "multiple of 8"),
        (24, 3, {}, "multiple of 8"),
        (32, 17, {}, "1 to 16 channels"),
        (32, 3, {"generator": {"down_blocks": 5}}, "model.generator.down_blocks"),
        (32, 3, {"discriminator": {"blocks": 6}}, "model.discriminator.blocks"),
        (32, 3, {"attention": True, "attention_heads": 3}, "attention_heads"),
    ],
)
def test_what_does_not_fit_is_said(size: int, channels: int, changes: dict, words: str):
    with pytest.raises(GrapeOpsError, match=words):
        small_nets(size=size, channels=channels, **changes)


def test_residual_blocks_keep_their_own_scale():
    """The sum of two independent branches is divided by sqrt(2): silence in one leaves the other, scaled."""
    block = ResBlock(3, 3, normalize=False, down=False, fused=True)
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(block(x), x / 2**0.5)
    styled = StyledResBlock(3, 3, 2, up=True, smooth=False, fused=True)
    nn.init.zeros_(styled.conv2.weight)
    nn.init.zeros_(styled.conv2.bias)
    expected = x.repeat_interleave(2, 2).repeat_interleave(2, 3) / 2**0.5
    torch.testing.assert_close(styled(x, torch.randn(2, 2)), expected)


def test_convolutions_before_an_instance_norm_need_no_bias():
    """Their gradient is zero up to rounding; gradient tests leave them out."""
    nets = small_nets().double()
    nets.restyle(torch.randn(2, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1])).square().sum().backward()
    assert nets.generator.to_image.bias.grad.abs().max() > 1e-3
    assert nets.generator.encoder[0].conv1.bias.grad.abs().max() < 1e-10


def test_initialisation_depends_on_the_generator_only():
    torch.manual_seed(1)
    a = small_nets(seed=3, attention=True)
    torch.manual_seed(2)
    b, c = small_nets(seed=3, attention=True), small_nets(seed=4, attention=True)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.mapping.stack[0].weight, c.mapping.stack[0].weight)


def test_he_initialisation_is_fan_in():
    nets = build_grape(
        ModelSettings(discriminator=DiscriminatorSettings(width=64, max_width=128, blocks=2)),
        n_perturbations=3,
        channels=4,
        image_size=32,
        rng=torch.Generator().manual_seed(0),
    )
    conv = nets.discriminator.trunk.blocks[0].conv2
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert conv.bias.abs().max() == 0
    assert nets.embedding.weight.std().item() == pytest.approx(1.0, rel=0.05)


def test_attention_mixes_genes_and_is_off_by_default():
    plain, mixed = small_nets(), small_nets(attention=True)
    for nets, others_matter in ((plain, False), (mixed, True)):
        before = nets.styles(torch.tensor([0]))
        with torch.no_grad():
            nets.embedding.weight[3] += torch.randn(8)
        assert torch.allclose(before, nets.styles(torch.tensor([0]))) is not others_matter
    assert plain.attention is None
