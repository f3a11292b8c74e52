"""Instance norm and the LeakyReLU after it: the published formula, and the fused form of it."""

import pytest
import torch
from torch import nn

from grape_ops.nn.normalization import AdaINLeaky, InstanceNormLeaky, leaky, norm_leaky


@pytest.mark.parametrize("fused", [False, True])
def test_adain_is_the_published_formula(fused: bool):
    layer = AdaINLeaky(2, 3, fused)
    nn.init.normal_(layer.affine.bias)
    x, style = torch.randn(4, 3, 6, 6), torch.randn(4, 2)
    gamma, beta = layer.affine(style).chunk(2, dim=1)
    mean, var = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, unbiased=False)
    normalized = (1 + gamma)[:, :, None, None] * (x - mean) / (var + 1e-5).sqrt() + beta[:, :, None, None]
    torch.testing.assert_close(layer(x, style), leaky(normalized), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fused_form_is_the_same_function_with_the_same_gradients(layout: torch.memory_format, rows: int):
    x = (3 + torch.randn(4, 5, 6, 7, dtype=torch.float64)).contiguous(memory_format=layout)
    inputs = (x, torch.randn(rows, 5, 1, 1).double(), torch.randn(rows, 5, 1, 1).double())
    weights = torch.randn_like(x)
    results = []
    for fused in (False, True):
        leaves = [part.detach().clone(memory_format=torch.preserve_format).requires_grad_() for part in inputs]
        out = norm_leaky(*leaves, fused=fused)
        results.append([out, *torch.autograd.grad((weights * out).sum(), leaves)])
    for plain, fused_result in zip(*results, strict=True):
        torch.testing.assert_close(plain, fused_result, rtol=1e-10, atol=1e-11)


def test_the_fused_form_keeps_the_layout_of_the_maps():
    x = torch.randn(2, 4, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    out = InstanceNormLeaky(4, fused=True)(x)
    out.sum().backward()
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_half_precision_maps_have_statistics_in_single_precision():
    x = 30 + torch.randn(2, 3, 64, 64)  # the mean of 4,096 such values is lost in bfloat16
    ones, zeros = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    rounded = x.bfloat16()
    exact = norm_leaky(rounded.float(), ones, zeros, fused=True)
    error = (norm_leaky(rounded, ones, zeros, fused=True).float() - exact).abs()
    assert error.mean() < 0.15
    assert (norm_leaky(rounded, ones, zeros, fused=True).float().mean() - exact.mean()).abs() < 0.05
