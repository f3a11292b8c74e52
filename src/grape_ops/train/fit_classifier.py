"""A weakly supervised network: which gene was knocked out in this cell?

The network never learns that well, since most knock-outs leave most cells as they were; but its layers are where it
has to classify phenotypes. Every gene is drawn equally often. Some cells are set aside: once it has long been
worse at them, it overfits the others, and stops. A moving average of its weights is what is evaluated and kept, so that
any moment is a good one to stop at. It is a baseline of its own, and can initialise M.
Letters: n cells, B crops of an iteration, P perturbations, V length of the hidden layer.
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from grape_ops.cells.batches import Batch, BatchLoader, Sampler, StandardizedCrops, hold_out
from grape_ops.cells.store import CropStore
from grape_ops.config import ClassifierSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.classifier import CellClassifier, build_classifier
from grape_ops.progress import progress

WARM_UP = 100  # iterations over which the rate rises
MEMORY = 200  # iterations that the average of the weights looks back, at most
LOOK_EVERY = 100  # iterations between looks at the cells set aside
MOST_HELD = 2000  # cells set aside, at most
PATIENCE = 500  # iterations to go on, at least, when the cells set aside fare no better; half as many again, if more
_CROPS_AT_ONCE = 256

Part = Callable[[Tensor], Tensor]  # crops (B, C, H, H) -> features (B, V)


def train_classifier(
    store: CropStore,
    settings: ClassifierSettings,
    seed: int,
    cells: np.ndarray | None = None,
    device: torch.device | None = None,
    precision: str = "32-true",
) -> CellClassifier:
    """Train a network that classifies the perturbations of a store, the controls being one of them.

    Parameters
    ----------
    store : the cells.
    settings : size and training.
    seed : of weights, draws and turns; equal seeds give equal networks on equal threads.
    cells : (n,) those to learn from, and to set some aside from; all of them if None.
    device : where to train; a GPU if None and there is one.
    precision : arithmetic, as in ``train.precision``.

    Returns
    -------
    The network: crops -> logits (B, P); its ``trunk``: crops -> hidden (B, V).
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cells = np.arange(len(store)) if cells is None else cells
    held = held_cells(store.labels[cells], settings.holdout, seed)
    crops = StandardizedCrops(store, device, "auto")
    stopping = EarlyStopping(crops, cells[held], store.labels)
    fit = ClassifierFit(store, settings, seed, device, precision)
    loader = _loader(crops, settings, seed, cells[~held])
    recent = float("nan")
    with progress("train classifier", settings.steps, "step") as advance:
        for step, batch in enumerate(loader.batches(0, settings.steps), start=1):
            loss = fit.iterate(batch)
            if step % 20 == 1:
                recent = float(loss)
            advance(note=f"loss {recent:.3f}")
            if step % LOOK_EVERY == 0 and stopping.has_seen_enough(fit.average, step):
                break
    if not math.isfinite(recent):
        raise GrapeOpsError("The classifier's loss is no longer finite: lower the classifier's learning_rate.")
    return cast("CellClassifier", fit.average.module.requires_grad_(False))


class ClassifierFit:
    """A classifier that learns, and the average of its weights; the parameters are those of `train_classifier`."""

    def __init__(self, store: CropStore, settings: ClassifierSettings, seed: int, device: torch.device, precision: str):
        self._settings, self._device, self._half = settings, device, precision == "bf16-mixed"
        self.network = new_classifier(store, settings, seed).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(self.network, avg_fn=_moved, use_buffers=True).eval()
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._warm_up = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: min((step + 1) / WARM_UP, 1.0))
        self._rng = torch.Generator().manual_seed(seed)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """How far the network is from naming the perturbations: (B, C, H, H), (B,) -> ()."""
        return functional.cross_entropy(self.network(images), labels, label_smoothing=self._settings.label_smoothing)

    def iterate(self, batch: Batch) -> Tensor:
        """Learn from a batch, and return its loss: -> ()."""
        images = jittered(batch.images, self._settings.jitter, self._rng)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            loss = self.loss(images, batch.labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._warm_up.step()
        self.average.update_parameters(self.network)
        return loss.detach()


def time_classifier(
    store: CropStore, settings: ClassifierSettings, device: torch.device, precision: str, steps: int
) -> tuple[float, float]:
    """Seconds of an iteration, the median of a few after one to warm up, and of reading the layers of a cell."""
    crops, cells = StandardizedCrops(store, device), np.arange(len(store))
    loader = _loader(crops, settings, 0, cells)
    fit, seconds = ClassifierFit(store, settings, 0, device, precision), []
    for step in range(steps + 1):
        begun = time.perf_counter()
        float(fit.iterate(loader.fetch(step)))  # reading the loss waits for the device
        seconds.append(time.perf_counter() - begun)
    begun, some = time.perf_counter(), cells[:_CROPS_AT_ONCE]
    features_of(fit.network.centred_layers, crops, some)
    return statistics.median(seconds[1:]), (time.perf_counter() - begun) / len(some)


class EarlyStopping:
    """Tells from cells that a network does not learn from when it has begun to overfit the others.

    Parameters
    ----------
    crops : where cells are read from.
    cells : (n,) those set aside; with none it never says so.
    labels : (N,) of all cells.
    """

    def __init__(self, crops: StandardizedCrops, cells: np.ndarray, labels: np.ndarray):
        self._crops, self._cells, self._labels = crops, cells, torch.from_numpy(labels[cells]).long()
        self._weight = 1 / torch.bincount(self._labels)[self._labels]  # every perturbation counts alike, as in training
        self._best, self._at = math.inf, 0

    def has_seen_enough(self, network: nn.Module, step: int) -> bool:
        """Look at the network after ``step`` iterations: has its loss been above its lowest for long?"""
        if not len(self._cells):
            return False
        loss = functional.cross_entropy(
            torch.from_numpy(features_of(network, self._crops, self._cells)), self._labels, reduction="none"
        )
        mean = float((self._weight * loss).sum() / self._weight.sum())
        if mean < self._best:
            self._best, self._at = mean, step
        return step >= self._at + max(PATIENCE, self._at / 2)


def held_cells(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw which of these cells a network is evaluated on: (n,) labels -> (n,) bool; no more than that takes."""
    held = hold_out(labels, share, seed)
    spare = np.random.default_rng([seed, len(labels)]).permutation(np.flatnonzero(held))[MOST_HELD:]
    held[spare] = False
    return held


def _moved(average: Tensor, weight: Tensor, updates: Tensor | int) -> Tensor:
    """Move an average towards the weights; it looks back over a tenth of the training, and ``MEMORY`` steps at most."""
    return average + (weight - average) * min(max(10 / (int(updates) + 1), 1 / MEMORY), 1)


def new_classifier(store: CropStore, settings: ClassifierSettings, seed: int) -> CellClassifier:
    """Make the network for a store, initialised from the seed."""
    rng = torch.Generator().manual_seed(seed)
    return build_classifier(settings, len(store.perturbations), len(store.channels), store.crop_size, rng)


def jittered(images: Tensor, spread: float, rng: torch.Generator) -> Tensor:
    """Change gain and offset of each crop's channels at random: (B, C, H, H) -> (B, C, H, H).

    Batches differ in just this, so that what survives it is more likely a phenotype.
    """
    if spread == 0:
        return images
    gain, offset = spread * torch.randn(2, *images.shape[:2], 1, 1, generator=rng)
    return images * (1 + gain).to(images.device) + offset.to(images.device)


def features_of(part: Part, crops: StandardizedCrops, cells: np.ndarray) -> np.ndarray:
    """What a part of the network (``trunk`` or ``layers``) makes of these cells (n,): (n, V) float32."""
    blocks = np.split(cells, range(_CROPS_AT_ONCE, len(cells), _CROPS_AT_ONCE))
    with torch.inference_mode():
        return np.concatenate([part(crops(block)).float().cpu().numpy() for block in blocks])


def _loader(crops: StandardizedCrops, settings: ClassifierSettings, seed: int, cells: np.ndarray) -> BatchLoader:
    store = crops.store
    sampler = Sampler(store.labels, len(store.perturbations), settings.batch_size, seed, cells=cells)
    return BatchLoader(crops, sampler, augment=settings.augment)
