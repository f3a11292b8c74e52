"""Self-supervision across batches: the classifier's network learns that cells of a guide agree in two batches.

The mean hidden layer of a few cells of a guide in one batch is to be nearer to that of the same guide in another batch
than to those of other genes' guides there. No cell is ever classified, and the network has no output per gene. What
comes out is averaged exactly as the classifier's hidden layer is.
Letters: G groups of a place, K cells of a group, C channels, H height = width, V length of the hidden layer.
"""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from grape_ops.cells.batches import BatchLoader, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, ConsistencySettings
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.classifier import classifier_means
from grape_ops.methods.method import Method, Task, no_files
from grape_ops.methods.paired_groups import PairedGroups
from grape_ops.nn.classifier import CellClassifier
from grape_ops.progress import progress
from grape_ops.train.fit_classifier import ClassifierFit

if TYPE_CHECKING:
    from anndata import AnnData


def consistency_loss(hidden: Tensor, cells: int, temperature: float) -> Tensor:
    """InfoNCE between the group means of two places, each centred on its place: (2 G K, V) -> ().

    Centred, because what all groups of a place share is the place itself.
    """
    means = hidden.float().unflatten(0, (2, -1, cells)).mean(dim=2)
    one, other = functional.normalize(means - means.mean(dim=1, keepdim=True), dim=2)
    cosine = one @ other.T / temperature
    same = torch.arange(len(cosine), device=cosine.device)
    return (functional.cross_entropy(cosine, same) + functional.cross_entropy(cosine.T, same)) / 2


class ConsistencyFit(ClassifierFit):
    """The same training with the loss of ``consistency_loss``; nothing reaches the classifier's last layer."""

    def __init__(self, settings: ConsistencySettings, *args: Any):
        super().__init__(*args)
        self._groups = settings

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """How far groups are from agreeing: (2 G K, C, H, H) -> (); the labels are not used."""
        return consistency_loss(self.network.trunk(images), self._groups.cells_per_group, self._groups.temperature)


def train_consistency(task: Task) -> CellClassifier:
    """Train the network on a store's cells; equal seeds give equal networks on equal threads."""
    train, settings, store = task.config.train, task.config.baselines.consistency, task.store
    on_gpu = torch.cuda.is_available() and train.accelerator != "cpu"
    device = torch.device("cuda" if on_gpu else "cpu")
    network = train.init.classifier
    fit = ConsistencyFit(settings, store, network, task.seed, device, train.precision)
    groups = PairedGroups(store, settings.groups, settings.cells_per_group, task.seed)
    loader = BatchLoader(StandardizedCrops(store, device, "auto"), groups, augment=network.augment)
    loss = torch.tensor(0.0)
    with progress("train consistency", settings.steps, "step") as advance:
        for step, batch in enumerate(loader.batches(0, settings.steps)):
            loss = fit.iterate(batch)
            advance(note=f"loss {float(loss):.3f}" if step % 20 == 0 else "")
    if not torch.isfinite(loss):
        raise GrapeOpsError("The loss of consistency is no longer finite: lower the classifier's learning_rate.")
    return cast("CellClassifier", fit.average.module.requires_grad_(False))


def consistency_vectors(task: Task) -> "AnnData":
    """Train the network and average its hidden layer over each gene's cells."""
    return classifier_means(train_consistency(task), task.store, "consistency")


def _settings(config: Config) -> list[Any]:
    network = config.train.init.classifier.model_dump(
        mode="json", exclude={"steps", "holdout", "batch_size", "label_smoothing"}
    )
    return [network, config.baselines.consistency.decisive(), config.train.precision]


def _check(store: CropStore, config: Config) -> None:
    PairedGroups(store, config.baselines.consistency.groups, config.baselines.consistency.cells_per_group, 0)


CONSISTENCY = Method("consistency", consistency_vectors, settings=_settings, inputs=no_files, check=_check)
