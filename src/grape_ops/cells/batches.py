"""A minibatch, the balanced seeded sampler, and the loader between a crop store and the networks.

Letters: B batch, C channels, H height = width, N cells, P perturbations.

Every draw is a pure function of (seed, step): a run that resumes at a step sees the batches it would have seen,
with no sampler state to save, and a loader may fetch ahead without changing anything.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError

# Names of the independent random streams that hang off one seed.
_ROUNDS, _CELLS, _TARGETS, _AUGMENT = range(4)


@dataclass(frozen=True)
class Batch:
    """One iteration's crops.

    Attributes
    ----------
    images : (B, C, H, H) float, z-scored by the controls of each crop's batch.
    labels : (B,) int64, each crop's own perturbation y.
    targets : (B,) int64, the perturbation z it is to be repainted with.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Move everything to a device, once."""
        return Batch(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


class _Rounds:
    """An endless sequence of shuffled rounds over n items, addressable at any position."""

    def __init__(self, n: int, *key: int):
        self.n, self.key = n, key
        self._round, self._order = -1, np.empty(0, np.int64)

    def at(self, position: int) -> int:
        """Item at a position of the sequence."""
        turn, offset = divmod(position, self.n)
        if turn != self._round:
            self._round, self._order = turn, np.random.default_rng([*self.key, turn]).permutation(self.n)
        return int(self._order[offset])


class Sampler:
    """Which cells, and which target perturbations, each step sees.

    ``balanced`` draws shuffled rounds over perturbations, so that every perturbation comes equally often (section
    3.5) and none is missing for more than two rounds; the cells of each perturbation come in shuffled rounds of
    their own. ``uniform`` draws shuffled rounds over all cells. Targets always come in rounds over perturbations.

    Parameters
    ----------
    labels : (N,) perturbation of every cell, in [0, n_perturbations).
    n_perturbations, batch_size, seed : as they say.
    mode : "balanced" or "uniform".
    """

    def __init__(self, labels: np.ndarray, n_perturbations: int, batch_size: int, seed: int, mode: str = "balanced"):
        counts = np.bincount(labels, minlength=n_perturbations)
        if mode == "balanced" and (counts == 0).any():
            raise GrapeOpsError(f"{(counts == 0).sum()} perturbations of the store have no cells to draw.")
        self.batch_size, self.mode, self.seed = batch_size, mode, seed
        self._cells_of = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        self._genes = _Rounds(n_perturbations, seed, _ROUNDS)
        self._targets = _Rounds(n_perturbations, seed, _TARGETS)
        self._within = [_Rounds(max(n, 1), seed, _CELLS, gene) for gene, n in enumerate(counts.tolist())]
        self._all = _Rounds(len(labels), seed, _CELLS)

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells and targets of a step, counted from 0: ((B,), (B,)) int64."""
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        targets = np.array([self._targets.at(p) for p in positions])
        if self.mode == "uniform":
            return np.array([self._all.at(p) for p in positions]), targets
        # Each round over perturbations takes the next cell of each of them.
        cells = [
            self._cells_of[gene][self._within[gene].at(p // self._genes.n)]
            for p, gene in ((p, self._genes.at(p)) for p in positions)
        ]
        return np.array(cells), targets


def turn_and_mirror(images: Tensor, codes: Tensor) -> Tensor:
    """Apply to each crop one of the eight symmetries of the square: (B, C, H, H), (B,) in [0, 8) -> (B, C, H, H)."""
    out = torch.empty_like(images)
    for code in range(8):
        chosen = codes == code
        turned = torch.rot90(images[chosen], code % 4, dims=(2, 3))
        out[chosen] = turned.flip(3) if code >= 4 else turned
    return out


class BatchLoader:
    """Batches of a store, fetched one ahead in a thread, standardised on the device.

    Parameters
    ----------
    store, sampler : where the crops come from, and which of them.
    device : where batches are wanted.
    augment : turn and mirror crops at random.
    rank, world : this process's slice of every batch.
    """

    def __init__(
        self,
        store: CropStore,
        sampler: Sampler,
        device: torch.device,
        *,
        augment: bool = False,
        rank: int = 0,
        world: int = 1,
    ):
        self.store, self.sampler, self.device = store, sampler, device
        self.augment, self.rank, self.world = augment, rank, world
        self._mean = torch.from_numpy(store.control_mean).to(device)
        self._sd = torch.from_numpy(store.control_sd).to(device)

    def images(self, cells: np.ndarray) -> Tensor:
        """Crops of these cells (B,), z-scored by the controls of each crop's batch (section 3.2): (B, C, H, H)."""
        raw = torch.from_numpy(self.store.read(cells)).to(self.device)
        batch = torch.from_numpy(self.store.batch_codes[cells]).to(self.device)
        scaled = raw.float() / self.store.pixel_max
        images = (scaled - self._mean[batch][:, :, None, None]) / self._sd[batch][:, :, None, None]
        return images.contiguous(memory_format=torch.channels_last)

    def fetch(self, step: int) -> Batch:
        """Make the batch of a step."""
        cells, targets = self.sampler.draw(step)
        mine = slice(self.rank, None, self.world)
        cells, targets = cells[mine], targets[mine]
        images = self.images(cells)
        if self.augment:
            rng = np.random.default_rng([self.sampler.seed, _AUGMENT, step])
            codes = rng.integers(8, size=self.sampler.batch_size)[mine]
            images = turn_and_mirror(images, torch.from_numpy(codes).to(self.device))
        labels = torch.from_numpy(self.store.labels[cells])
        return Batch(images, labels.to(self.device), torch.from_numpy(targets).to(self.device))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of the steps from ``start`` up to ``stop``."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead = pool.submit(self.fetch, start)
            for step in range(start, stop):
                batch = ahead.result()
                if step + 1 < stop:
                    ahead = pool.submit(self.fetch, step + 1)
                yield batch
