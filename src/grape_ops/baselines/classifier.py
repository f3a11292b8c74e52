"""A weakly supervised network: which gene was knocked out in this cell? What a practitioner would try first.

The network never learns that well, since most knock-outs leave most cells as they were; but its last hidden layer is
where it has to tell phenotypes apart. That layer, standardised by the controls of each batch and averaged over a
gene's cells, is the gene's vector. Every gene of every batch is drawn equally often, so that a gene that is frequent in
a batch is no good guess for it.
Letters: N cells, B crops of an iteration, P perturbations, V length of the hidden layer.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from grape_ops.baselines.average import standardized_means
from grape_ops.baselines.task import Task
from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import ClassifierSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.blocks import he_initialize
from grape_ops.nn.discriminator import Discriminator, Trunk
from grape_ops.progress import progress

if TYPE_CHECKING:
    from anndata import AnnData

_CROPS_AT_ONCE = 256


def classifier_vectors(task: Task) -> "AnnData":
    """Train the classifier on a store's cells and average its last hidden layer over each gene's cells."""
    network = train_classifier(task.store, task.config.baselines.classifier, task.seed)
    return classifier_means(network, task.store)


def train_classifier(store: CropStore, settings: ClassifierSettings, seed: int) -> Discriminator:
    """Train a network that tells the perturbations of a store apart, the controls being one of them.

    Parameters
    ----------
    store : the cells.
    settings : size and training.
    seed : of weights, draws and turns; equal seeds give equal networks on equal threads.

    Returns
    -------
    The network, shaped as GRAPE's discriminator: crops -> logits (B, P); its ``trunk``: crops -> hidden (B, V).
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_classifier(store, settings, seed).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = _loader(store, settings, seed, device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    recent = float("nan")
    with progress("train classifier", settings.steps, "step") as advance:
        for step, batch in enumerate(loader.batches(0, settings.steps)):
            logits = network(batch.images)
            loss = functional.cross_entropy(logits, batch.labels, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 20 == 0:
                recent = float(loss.detach())
            advance(note=f"loss {recent:.3f}")
    if not math.isfinite(recent):
        raise GrapeOpsError("The classifier's loss is no longer finite: lower baselines.classifier.learning_rate.")
    return network.eval().requires_grad_(False)


def build_classifier(store: CropStore, settings: ClassifierSettings, seed: int) -> Discriminator:
    """Make the network, initialised from the seed."""
    size = store.crop_size
    blocks = settings.blocks or max(int(math.log2(size / 2)), 1)
    if size >> blocks < 1:
        raise GrapeOpsError(
            f"baselines.classifier.blocks={blocks} halvings leave nothing of a crop of {size} px; lower it."
        )
    trunk = Trunk(len(store.channels), size, width=settings.width, max_width=settings.max_width, blocks=blocks)
    network = Discriminator(trunk, len(store.perturbations))
    he_initialize(network, torch.Generator().manual_seed(seed))
    return network


def hidden_features(network: Discriminator, crops: StandardizedCrops, cells: np.ndarray) -> np.ndarray:
    """Last hidden layer of these cells (n,): (n, V) float32."""
    parts = np.split(cells, range(_CROPS_AT_ONCE, len(cells), _CROPS_AT_ONCE))
    with torch.inference_mode():
        return np.concatenate([network.trunk(crops(part)).float().cpu().numpy() for part in parts])


def classifier_means(network: Discriminator, store: CropStore) -> "AnnData":
    """Hidden layer of every gene: standardised by each batch's controls, averaged over the gene's cells."""
    crops = StandardizedCrops(store, next(network.parameters()).device, "auto")
    n_controls = int((store.labels == len(store.perturbations) - 1).sum())
    with progress("Classifier's features", n_controls + len(store), "crop") as advance:

        def read(cells: np.ndarray) -> np.ndarray:
            advance(len(cells))
            return hidden_features(network, crops, cells)

        return standardized_means(read, store, "classifier")


def _loader(store: CropStore, settings: ClassifierSettings, seed: int, device: torch.device) -> BatchLoader:
    # The classes to balance are pairs of gene and batch, numbered without gaps.
    pairs = store.labels * len(store.batches) + store.batch_codes
    strata = np.unique(pairs, return_inverse=True)[1]
    sampler = Sampler(strata, int(strata.max()) + 1, settings.batch_size, seed)
    return BatchLoader(StandardizedCrops(store, device, "auto"), sampler, augment=settings.augment)
