"""Restyle cells to the phenotype of a gene, or of something between two genes, for several callers at a time.

Letters: P perturbations, K steps, n cells, C channels, H crop size.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch

from grape_ops.restyle.restyler import Restyler


class LiveRestyler:
    """The run's generator beside its cells; calls from several threads take turns."""

    def __init__(self, restyler: Restyler):
        self.restyler = restyler
        self._lock = Lock()
        self._styles = restyler.styles(list(range(len(restyler.names))))

    def distances(self, control: int) -> np.ndarray:
        """How far each perturbation's style code is from the control's: (P,)."""
        return torch.linalg.vector_norm(self._styles - self._styles[control], dim=1).cpu().numpy()

    def restyle(self, cells: np.ndarray, first: int, second: int, mixes: Sequence[float]) -> np.ndarray:
        """Restyle cells step by step on the way between two perturbations: (n,), K mixes -> (K, n, C, H, H).

        A mix of 0 is the first perturbation, 1 the second; between them style codes are mixed linearly.
        """
        with self._lock, torch.inference_mode():
            share = torch.tensor(list(mixes), dtype=self._styles.dtype, device=self._styles.device)[:, None]
            styles = torch.lerp(self._styles[first].expand(len(share), -1), self._styles[second], share)
            return self.restyler.images(cells, styles)
