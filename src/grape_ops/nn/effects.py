"""What genes change in the layers of a frozen classifier, as a target for restyled cells.

Letters: B batch, P perturbations, V features of the layers.
"""

import torch
from torch import Tensor, nn


class GeneEffects(nn.Module):
    """Each perturbation's mean effect on whitened features, shrunken by what chance explains; nothing of it learns.

    Parameters
    ----------
    n_perturbations, n_features : P and V.

    Attributes
    ----------
    whitening : (V, V), features -> units in which chance moves all directions of a gene's mean alike.
    targets : (P, V) effects in these units.
    """

    whitening: Tensor
    targets: Tensor

    def __init__(self, n_perturbations: int, n_features: int):
        super().__init__()
        self.register_buffer("whitening", torch.zeros(n_features, n_features))
        self.register_buffer("targets", torch.zeros(n_perturbations, n_features))

    def initialize(self, whitening: Tensor, targets: Tensor) -> None:
        """Take over what was found in the cells: (V, V), (P, V)."""
        self.whitening.copy_(whitening)
        self.targets.copy_(targets)

    def gaps(self, change: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """What changes of features (B, V) lack of the way from one perturbation's effect to another's.

        (B, V), (B,), (B,) -> (B, V), in units of the genes' root mean squared effect.
        """
        gap = change @ self.whitening.to(change.dtype) - (self.targets[wanted] - self.targets[labels])
        size = self.targets.square().sum(dim=1).mean().clamp_min(1.0).sqrt()  # no less than chance moves a gene's mean
        return gap / size
