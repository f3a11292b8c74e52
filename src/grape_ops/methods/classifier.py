"""The weakly supervised classifier's last hidden layer: what a practitioner would try first.

Standardised by the controls of each batch and averaged over a gene's cells, it is the gene's vector. The same network
before training says what its architecture alone gives.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from grape_ops.cells.averages import standardized_means
from grape_ops.cells.batches import StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.methods.method import Method, Task, no_files
from grape_ops.nn.classifier import CellClassifier
from grape_ops.progress import progress
from grape_ops.train.fit_classifier import features_of, new_classifier, train_classifier

if TYPE_CHECKING:
    from anndata import AnnData


def classifier_vectors(task: Task) -> "AnnData":
    """Train the classifier on a store's cells and average its last hidden layer over each gene's cells."""
    return classifier_means(trained_classifier(task), task.store)


def untrained_vectors(task: Task) -> "AnnData":
    """The same of a network with random weights, its batch norms at rest."""
    network = new_classifier(task.store, task.config.train.init.classifier, task.seed).eval().requires_grad_(False)
    on_gpu = torch.cuda.is_available() and task.config.train.accelerator != "cpu"
    return classifier_means(network.to("cuda" if on_gpu else "cpu"), task.store, "untrained")


def trained_classifier(task: Task) -> CellClassifier:
    """Train the network of the initialisation (``train.init.classifier``), on its device and with its precision.

    So the two compare.
    """
    train = task.config.train
    device = torch.device("cpu") if train.accelerator == "cpu" else None
    return train_classifier(task.store, train.init.classifier, task.seed, device=device, precision=train.precision)


def classifier_means(network: CellClassifier, store: CropStore, method: str = "classifier") -> "AnnData":
    """Hidden layer of every gene: standardised by each batch's controls, averaged over the gene's cells."""
    crops = StandardizedCrops(store, next(network.parameters()).device, "auto")
    n_controls = int((store.labels == store.control_label).sum())
    with progress("Classifier's features", n_controls + len(store), "crop") as advance:

        def read(cells: np.ndarray) -> np.ndarray:
            advance(len(cells))
            return features_of(network.trunk, crops, cells)

        return standardized_means(read, store, method)


CLASSIFIER = Method(
    "classifier",
    classifier_vectors,
    settings=lambda config: [config.train.init.classifier.decisive(), config.train.precision],
    inputs=no_files,
)
UNTRAINED = Method(
    "untrained",
    untrained_vectors,
    settings=lambda config: config.train.init.classifier.decisive(),
    inputs=no_files,
)
