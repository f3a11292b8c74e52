"""Repaint crops with the phenotype of a gene, or of something between two genes.

Letters: P perturbations, S length of a style code, n crops, C channels, H crop size.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch

from grape_ops.embed import trained_nets
from grape_ops.train.run import Run


class Painter:
    """The run's networks, ready to repaint; calls from several threads take turns."""

    def __init__(self, run: Run, *, averaged: bool):
        self.nets, _ = trained_nets(run, averaged=averaged)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.nets.to(self.device)
        with torch.inference_mode():
            self.styles = self.nets.styles()  # (P, S)
        self._lock = Lock()

    def distances(self, control: int) -> np.ndarray:
        """How far each perturbation's style code is from the control's: (P,)."""
        return torch.linalg.vector_norm(self.styles - self.styles[control], dim=1).cpu().numpy()

    def paint(self, crops: np.ndarray, first: int, second: int, mixes: Sequence[float]) -> np.ndarray:
        """Repaint network input: (n, C, H, H), n mixes -> (n, C, H, H).

        Parameters
        ----------
        first, second : perturbations.
        mixes : for each crop, the way from the first (0) to the second (1); style codes are mixed linearly.
        """
        with self._lock, torch.inference_mode():
            share = torch.tensor(list(mixes), dtype=self.styles.dtype, device=self.device)[:, None]
            styles = torch.lerp(self.styles[first].expand(len(share), -1), self.styles[second], share)
            return self.nets.generator(torch.from_numpy(crops).to(self.device), styles).float().cpu().numpy()
