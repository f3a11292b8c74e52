"""Minibatches: the balanced seeded sampler, and the loader between a crop store and the networks.

The experimental batches of a screen, such as plates, are ``CropStore.batches``.

Letters: B batch, C channels, H height = width, N cells, P perturbations.

Every draw is a pure function of (seed, step): a run that resumes at a step sees the batches it would have seen,
with no sampler state to save, and a loader may fetch ahead without changing anything.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.randomness import TrainingStream, generator


@dataclass(frozen=True)
class Batch:
    """One iteration's crops.

    Attributes
    ----------
    images : (B, C, H, H) float, z-scored by the controls of each crop's batch.
    labels : (B,) int64, each crop's own perturbation y.
    targets : (B,) int64, the perturbation z it is to be restyled to.
    views : (B, 2 + 2C) how D is shown each crop, and the restyled one: shift along rows and columns in px, then a
        gain and an offset of each channel; None shows them as they are.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    views: Tensor | None = None

    def parts(self, n: int) -> list[Self]:
        """Split into n equal parts, in order."""
        columns = [[None] * n if (v := getattr(self, f.name)) is None else v.chunk(n) for f in fields(self)]
        return [type(self)(*values) for values in zip(*columns, strict=True)]


class _Rounds:
    """An endless sequence of shuffled rounds over n items, addressable at any position."""

    def __init__(self, n: int, seed: int, stream: TrainingStream, *part: int):
        self.n, self.seed, self.stream, self.part = n, seed, stream, part
        self._round, self._order = -1, np.empty(0, np.int64)

    def at(self, position: int) -> int:
        """Item at a position of the sequence."""
        turn, offset = divmod(position, self.n)
        if turn != self._round:
            rng = generator(self.seed, self.stream, *self.part, turn)
            self._round, self._order = turn, rng.permutation(self.n)
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
    cells : (n,) the cells to draw from; all of them if None.
    together : how many cells in a row get the same target.
    """

    def __init__(
        self,
        labels: np.ndarray,
        n_perturbations: int,
        batch_size: int,
        seed: int,
        mode: str = "balanced",
        cells: np.ndarray | None = None,
        together: int = 1,
    ):
        cells = np.arange(len(labels)) if cells is None else cells
        counts = np.bincount(labels[cells], minlength=n_perturbations)
        if mode == "balanced" and (counts == 0).any():
            raise GrapeOpsError(f"{(counts == 0).sum()} perturbations of the store have no cells to draw.")
        self.batch_size, self.mode, self.seed, self.together = batch_size, mode, seed, together
        self._cells = cells
        self._cells_of = np.split(cells[np.argsort(labels[cells], kind="stable")], np.cumsum(counts)[:-1])
        self._genes = _Rounds(n_perturbations, seed, TrainingStream.ROUNDS)
        self._targets = _Rounds(n_perturbations, seed, TrainingStream.TARGETS)
        self._within = [_Rounds(max(n, 1), seed, TrainingStream.CELLS, gene) for gene, n in enumerate(counts.tolist())]
        self._all = _Rounds(len(cells), seed, TrainingStream.CELLS)

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells and targets of a step, counted from 0: ((B,), (B,)) int64."""
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        targets = np.array([self._targets.at(p // self.together) for p in positions])
        if self.mode == "uniform":
            return self._cells[[self._all.at(p) for p in positions]], targets
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


def hold_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a share of each perturbation's cells, at least one stays: (N,) labels -> (N,) bool, True if held out."""
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        cells = np.flatnonzero(labels == label)
        rng = generator(seed, TrainingStream.HOLDOUT, int(label))
        held[rng.permutation(cells)[: min(round(share * len(cells)), len(cells) - 1)]] = True
    return held


class StandardizedCrops:
    """A store's crops on a device, as the networks take them (section 3.2, step 4).

    Parameters
    ----------
    store : where the crops come from.
    device : where they are wanted.
    resident : "always" keeps all of them on the device as integers, "never" reads those asked for from the store,
        "auto" keeps them if the device is a GPU whose free memory they fill to less than half.
    """

    def __init__(self, store: CropStore, device: torch.device, resident: str = "never"):
        self.store, self.device = store, device
        self._scale = store.pixel_scale(device)
        self._batch_codes = torch.from_numpy(store.batch_codes)
        fits = resident == "always" or (resident == "auto" and _fits(store, device))
        self._crops = _as_signed(store.read(np.arange(len(store)))).to(device) if fits else None

    def __call__(self, cells: np.ndarray) -> Tensor:
        """Crops of these cells (B,), z-scored by the controls of each crop's batch: (B, C, H, H), channels last."""
        index = torch.from_numpy(np.asarray(cells))
        if self._crops is not None:
            raw = self._crops[index.to(self.device)]
        else:
            raw = _as_signed(self.store.read(cells))
            if self.device.type == "cuda":
                raw = raw.pin_memory().to(self.device, non_blocking=True)
        batch = self._batch_codes[index].to(self.device)
        images = (raw.view(torch.uint16) if raw.dtype == torch.int16 else raw).float()
        images = images.contiguous(memory_format=torch.channels_last)
        return self._scale.standardize_(images, batch)


class BatchLoader:
    """Batches of a store, fetched one ahead in a thread.

    Parameters
    ----------
    crops, sampler : where the crops come from, and which of them.
    augment : turn and mirror crops at random.
    shift, jitter : of the views that D is shown: largest shift in px, spread of gains and offsets.
    rank, world : this process's slice of every batch, ``mine``.
    """

    def __init__(
        self,
        crops: StandardizedCrops,
        sampler: Sampler,
        *,
        augment: bool = False,
        shift: int = 0,
        jitter: float = 0.0,
        rank: int = 0,
        world: int = 1,
    ):
        self.crops, self.sampler, self.device = crops, sampler, crops.device
        self.augment, self.shift, self.jitter = augment, shift, jitter
        self.mine = slice(rank, None, world)

    def fetch(self, step: int) -> Batch:
        """Make the batch of a step."""
        all_cells, all_targets = self.sampler.draw(step)
        cells, targets = all_cells[self.mine], torch.from_numpy(all_targets[self.mine]).to(self.device)
        images = self.crops(cells)
        if self.augment:
            codes = self.rng(TrainingStream.AUGMENT, step).integers(8, size=len(all_cells))[self.mine]
            images = turn_and_mirror(images, torch.from_numpy(codes).to(self.device))
        labels = torch.from_numpy(self.crops.store.labels[cells]).to(self.device)
        views = None
        if self.shift or self.jitter:
            rng = self.rng(TrainingStream.VIEWS, step)
            shifts = rng.integers(-self.shift, self.shift, (len(all_cells), 2), endpoint=True).astype(np.float32)
            changes = self.jitter * rng.standard_normal((len(all_cells), 2 * images.shape[1]), np.float32)
            views = torch.from_numpy(np.concatenate([shifts, changes], axis=1)[self.mine]).to(self.device)
        return Batch(images, labels, targets, views)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of the steps from ``start`` up to ``stop``."""
        if start >= stop:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead = pool.submit(self.fetch, start)
            for step in range(start, stop):
                batch = ahead.result()
                if step + 1 < stop:
                    ahead = pool.submit(self.fetch, step + 1)
                yield batch

    def rng(self, stream: TrainingStream, step: int) -> np.random.Generator:
        """Source of a stream's random numbers at a step."""
        return generator(self.sampler.seed, stream, step)


def _as_signed(pixels: np.ndarray) -> Tensor:
    """The same bits as a type that torch can index on every device: uint16 -> int16; uint8 stays."""
    return torch.from_numpy(pixels.view(np.int16) if pixels.dtype == np.uint16 else pixels)


def _fits(store: CropStore, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    size = len(store) * len(store.channels) * store.crop_size**2 * (2 if store.pixel_max > 255 else 1)
    return size < torch.cuda.mem_get_info(device)[0] / 2
