"""Restyle cells of a store to genes, at the rate of the generator's forward pass (section 3.3).

What a cell keeps is encoded once for all styles, so that each further gene costs the decoder alone.
Users call ``restyle`` of ``api/restyling.py``.
Letters: n cells, K styles, B batch, C channels, H crop size, S length of a style code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grape_ops.cells.batches import StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.embed import run_store, trained_nets
from grape_ops.nn.grape import Grape
from grape_ops.train.run_folder import Run, open_run


@dataclass(frozen=True)
class RestyledBatch:
    """One batch of cells in one style.

    Attributes
    ----------
    rows : places of the cells among those asked for.
    style : which of the styles.
    images : (B, C, H, H) on the device, in standard deviations of the controls of each cell's batch.
    """

    rows: slice
    style: int
    images: Tensor


class Restyler:
    """A trained generator beside the cells it was trained on.

    Attributes
    ----------
    run, store : what it was trained on.
    nets : the networks, on ``device``.
    averaged : whether their weights are the filtered ones.
    names : the perturbations, in the order of the rows of M.
    """

    def __init__(self, run: Run, store: CropStore, nets: Grape, averaged: bool, batch_size: int = 256):
        self.run, self.store, self.averaged, self.batch_size = run, store, averaged, batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.nets = nets.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names: list[str] = run.genes.index.tolist()
        self.crops = StandardizedCrops(store, self.device)
        # The arithmetic of training; on a CPU half precision is no gain for a single pass.
        self._half = run.config.train.precision == "bf16-mixed" and self.device.type == "cuda"

    @classmethod
    def open(
        cls,
        run_path: Path,
        store_path: Path | None = None,
        *,
        where: str = "",
        ema: bool = True,
        batch_size: int = 256,
    ) -> "Restyler":
        """Open a run and its store, or the cells of it that ``where`` chooses.

        Raises
        ------
        GrapeOpsError : no checkpoint, or a store other than the run's.
        """
        run = open_run(run_path)
        store = run_store(run, store_path, where)
        nets, averaged = trained_nets(run, averaged=ema)
        return cls(run, store, nets, averaged, batch_size)

    def styles(self, rows: list[int]) -> Tensor:
        """Style codes of perturbations: (K,) -> (K, S)."""
        return self.nets.styles(torch.tensor(rows, device=self.device))

    def restyle(self, cells: np.ndarray, styles: Tensor) -> Iterator[RestyledBatch]:
        """Restyle cells (n,) with each of the styles (K, S), batch by batch."""
        for start in range(0, len(cells), self.batch_size):
            rows = slice(start, min(start + self.batch_size, len(cells)))
            for index, images in enumerate(self.restyle_images(self.crops(cells[rows]), styles)):
                yield RestyledBatch(rows, index, images)

    def restyle_images(self, images: Tensor, styles: Tensor) -> Iterator[Tensor]:
        """Restyle standardised crops, of the store or not, to each style: (B, C, H, H), (K, S) -> K times that."""
        with self._arithmetic():
            content = self.nets.generator.encode(images)
        for style in styles:
            with self._arithmetic():
                yield self.nets.generator.decode(content, style.expand(len(images), -1)).float()

    def images(self, cells: np.ndarray, styles: Tensor) -> np.ndarray:
        """Restyled cells as one array, for few of them: (n,), (K, S) -> (K, n, C, H, H) float32."""
        shape = (len(styles), len(cells), len(self.store.channels), self.store.crop_size, self.store.crop_size)
        out = np.empty(shape, np.float32)
        for part in self.restyle(cells, styles):
            out[part.style, part.rows] = part.images.cpu().numpy()
        return out

    def stored(self, images: Tensor, cells: np.ndarray) -> tuple[np.ndarray, int]:
        """Images (B, C, H, H) as a store keeps pixels, by the batches of ``cells``, and how many had to be clipped."""
        return self.stored_by_batch(images, self.store.batch_codes[cells])

    def stored_by_batch(self, images: Tensor, codes: np.ndarray) -> tuple[np.ndarray, int]:
        """The same for crops that need not be in the store, by the batch (B,) of each."""
        pixels, clipped = self.store.pixel_scale(images.device).pixels(images, codes)
        return pixels.cpu().numpy().astype(self.store.pixel_type), clipped

    def _arithmetic(self) -> "torch.autocast":
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)
