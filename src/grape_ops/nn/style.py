"""Where styles come from: the gene embedding M, the mapping network F, and the style encoder E (section 3.3).

Letters: B batch, P perturbations, V length of a gene vector, S length of a style code.
"""

import itertools

import torch
from torch import Tensor, nn

from grape_ops.config import ModelSettings
from grape_ops.nn.discriminator import Trunk


class GeneEmbedding(nn.Module):
    """The trainable matrix M: one row per gene, and one row, the last, for all non-targeting guides."""

    def __init__(self, n_perturbations: int, dim: int, scale: float, rng: torch.Generator):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(n_perturbations, dim, generator=rng))

    @torch.no_grad()
    def initialize(self, rows: Tensor) -> None:
        """Begin from these rows (P, V) instead of noise."""
        self.weight.copy_(rows)

    def forward(self) -> Tensor:
        """All rows: (P, V)."""
        return self.weight


class GeneAttention(nn.Module):
    """One self-attention block over genes, between M and F (an ablation of section 5.1)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, vectors: Tensor) -> Tensor:
        """Gene vectors (P, V) -> (P, V), each having seen the others."""
        h = self.norm(vectors)[None]
        return vectors + self.attention(h, h, h, need_weights=False)[0][0]


class MappingNetwork(nn.Module):
    """The mapping network F: a row of M -> a style code, by a small MLP; ``dim`` numbers go in."""

    def __init__(self, dim: int, settings: ModelSettings):
        super().__init__()
        sizes = [dim] + [settings.mapping_width] * (settings.mapping_layers - 1)
        stack: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            stack += [nn.Linear(a, b), nn.ReLU()]
        self.stack = nn.Sequential(*stack, nn.Linear(sizes[-1], settings.style_dim))

    def forward(self, vectors: Tensor) -> Tensor:
        """Gene vectors (B, V) -> style codes (B, S)."""
        return self.stack(vectors)


class StyleEncoder(nn.Module):
    """The style encoder E: reads a style code back from a crop, with one head shared by all perturbations."""

    def __init__(self, trunk: Trunk, style_dim: int):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.out_channels, style_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Crops (B, C, H, H) -> style codes (B, S)."""
        return self.head(self.trunk(images))
