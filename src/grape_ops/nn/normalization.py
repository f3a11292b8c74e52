"""Instance norm with the LeakyReLU that follows it everywhere in the generator (section 3.3).

Letters: B batch, C channels, H and W height and width, S style length.

PyTorch's instance norm copies channels-last maps, returns another layout, and keeps its input, its output, the scaled
map and the rectified one for the way back. The fused form keeps the input and the rectified map only, in the
layout they came in; it is the same function. ``fused=False`` computes it the plain way, as the tests' oracle.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

SLOPE = 0.2


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Turn autocast off where a tensor lies: for what is small and steers much. Without meaning on the meta device."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)


EPS = 1e-5


def leaky(x: Tensor) -> Tensor:
    """LeakyReLU(0.2) of the whole family."""
    return functional.leaky_relu(x, SLOPE)


def leaky_(x: Tensor) -> Tensor:
    """The same in place, for a map that nothing else reads."""
    return functional.leaky_relu(x, SLOPE, inplace=True)


class _NormLeaky(torch.autograd.Function):
    """leaky(scale * IN(x) + shift); statistics at least in single precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """(B, C, H, W), (B or 1, C, 1, 1) twice -> (B, C, H, W)."""
        exact = torch.promote_types(x.dtype, torch.float32)
        mean = x.mean((2, 3), keepdim=True, dtype=exact)
        centred = x - mean.to(x.dtype)
        squares = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True, dtype=exact).square()
        inverse_sd = (squares / x[0, 0].numel() + EPS).rsqrt()
        gain = inverse_sd * scale
        out = leaky_(torch.addcmul((shift - mean * gain).to(x.dtype), x, gain.to(x.dtype)))
        ctx.save_for_backward(x, out, mean, inverse_sd, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, scale and shift."""
        x, out, mean, inverse_sd, scale = ctx.saved_tensors
        exact, n = mean.dtype, x[0, 0].numel()
        # The sign of the output is the sign of what was rectified.
        grad = torch.ops.aten.leaky_relu_backward(grad, out, SLOPE, True)
        centred = x - mean.to(x.dtype)
        total = grad.sum((2, 3), keepdim=True, dtype=exact)
        moment = (grad * centred).sum((2, 3), keepdim=True, dtype=exact) * inverse_sd
        gain = inverse_sd * scale
        grad_x = torch.addcmul((-gain * total / n).to(x.dtype), grad, gain.to(x.dtype))
        grad_x.addcmul_(centred, (-gain * inverse_sd * moment / n).to(x.dtype))
        return grad_x, moment.sum_to_size(scale.shape).to(scale.dtype), total.sum_to_size(scale.shape).to(scale.dtype)


def norm_leaky(x: Tensor, scale: Tensor, shift: Tensor, fused: bool) -> Tensor:
    """leaky(scale * IN(x) + shift): (B, C, H, W), (B or 1, C, 1, 1) twice -> (B, C, H, W)."""
    if fused:
        return _NormLeaky.apply(x, scale, shift)
    return leaky(scale * functional.instance_norm(x, eps=EPS) + shift)


class InstanceNormLeaky(nn.Module):
    """Instance norm with a gain and an offset per channel, then LeakyReLU."""

    def __init__(self, channels: int, fused: bool):
        super().__init__()
        self.fused = fused
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return norm_leaky(x, self.weight[None, :, None, None], self.bias[None, :, None, None], self.fused)


class AdaINLeaky(nn.Module):
    """Adaptive instance norm, (1 + gamma) * IN(x) + beta with gamma and beta from s, then LeakyReLU."""

    def __init__(self, style_dim: int, channels: int, fused: bool):
        super().__init__()
        self.fused = fused
        self.affine = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, C, H, W), (B, S) -> (B, C, H, W)."""
        gamma, beta = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        return norm_leaky(x, 1 + gamma, beta, self.fused)
