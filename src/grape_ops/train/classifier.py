"""A weakly supervised network: which gene was knocked out in this cell?

The network never learns that well, since most knock-outs leave most cells as they were; but its last hidden layer is
where it has to tell phenotypes apart. Every gene is drawn equally often. The rate rises and falls once over the
training, so that it ends on weights that have settled. It is a baseline of its own, and can give M its start.
Letters: n cells, B crops of an iteration, P perturbations, V length of the hidden layer.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import ClassifierSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.classifier import CellClassifier
from grape_ops.progress import progress

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
    """Train a network that tells the perturbations of a store apart, the controls being one of them.

    Parameters
    ----------
    store : the cells.
    settings : size and training.
    seed : of weights, draws and turns; equal seeds give equal networks on equal threads.
    cells : (n,) those to learn from; all of them if None.
    device : where to train; a GPU if None and there is one.
    precision : arithmetic, as in ``train.precision``.

    Returns
    -------
    The network: crops -> logits (B, P); its ``trunk``: crops -> hidden (B, V).
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_classifier(store, settings, seed).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = _loader(store, settings, seed, device, cells)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = affordable_steps(settings, len(store) if cells is None else len(cells))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    rng = torch.Generator().manual_seed(seed)
    recent = float("nan")
    with progress("train classifier", steps, "step") as advance:
        for step, batch in enumerate(loader.batches(0, steps)):
            images = jittered(batch.images, settings.jitter, rng)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                logits = network(images)
                loss = functional.cross_entropy(logits, batch.labels, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            if step % 20 == 0:
                recent = float(loss.detach())
            advance(note=f"loss {recent:.3f}")
    if not math.isfinite(recent):
        raise GrapeOpsError("The classifier's loss is no longer finite: lower the classifier's learning_rate.")
    return network.eval().requires_grad_(False)


def build_classifier(store: CropStore, settings: ClassifierSettings, seed: int) -> CellClassifier:
    """Make the network, initialised from the seed."""
    size = store.crop_size
    halvings = settings.blocks or max(int(math.log2(size / 4)), 1)
    if size >> halvings < 1:
        raise GrapeOpsError(
            f"The classifier's blocks={halvings} halvings leave nothing of a crop of {size} px; lower them."
        )
    return CellClassifier(
        len(store.channels),
        len(store.perturbations),
        width=settings.width,
        max_width=settings.max_width,
        halvings=halvings,
        rng=torch.Generator().manual_seed(seed),
    )


def affordable_steps(settings: ClassifierSettings, n_cells: int) -> int:
    """Iterations that so many cells are good for."""
    if settings.passes is None:
        return settings.steps
    return max(min(settings.steps, round(settings.passes * n_cells / settings.batch_size)), 1)


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


def _loader(
    store: CropStore, settings: ClassifierSettings, seed: int, device: torch.device, cells: np.ndarray | None
) -> BatchLoader:
    sampler = Sampler(store.labels, len(store.perturbations), settings.batch_size, seed, cells=cells)
    return BatchLoader(StandardizedCrops(store, device, "auto"), sampler, augment=settings.augment)
