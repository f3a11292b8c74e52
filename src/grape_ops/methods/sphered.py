"""Features of single cells sphered on the controls, then averaged per gene: a usual step of image-based profiling.

After the z-scores of each batch come the principal components of the control cells, each divided by its deviation
among them ("typical variation normalisation"), so that what varies among unperturbed cells counts no more than what
does not. The read-out is that of ``engineered`` with ``typical_variation=true``.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.cells.averages import Reader, blocks
from grape_ops.cells.batches import StandardizedCrops
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.config import Config
from grape_ops.methods.classifier import CLASSIFIER, trained_classifier
from grape_ops.methods.engineered import ENGINEERED, engineered_vectors
from grape_ops.methods.gene_profiles import Blocks, CellProfiles, gene_profiles, in_words
from grape_ops.methods.method import NOTES, Method, Task
from grape_ops.methods.statistics import STATISTICS, read_statistics
from grape_ops.progress import progress
from grape_ops.schema import UNS_METHOD
from grape_ops.train.fit_classifier import features_of

if TYPE_CHECKING:
    from anndata import AnnData


def statistics_sphered(task: Task) -> "AnnData":
    """Image statistics, sphered on controls; nothing is drawn, the seed is not used."""
    names, read = read_statistics(task.store, task.config.features.channels)
    return _sphered(task, names, read, "statistics_sphered")


def engineered_sphered(task: Task) -> "AnnData":
    """CellProfiler's features, sphered on controls; nothing is drawn, the seed is not used."""
    adata = engineered_vectors(replace(task, config=_sphering(task.config)))
    adata.uns[UNS_METHOD] = "engineered_sphered"
    return adata


def classifier_sphered(task: Task) -> "AnnData":
    """The classifier's last hidden layer, sphered on controls."""
    network = trained_classifier(task)
    crops = StandardizedCrops(task.store, next(network.parameters()).device, "auto")

    def read(rows: np.ndarray) -> np.ndarray:
        return features_of(network.trunk, crops, rows)

    names = tuple(f"learned_{number}" for number in range(read(np.arange(1)).shape[1]))
    return _sphered(task, names, read, "classifier_sphered")


def _sphered(task: Task, names: tuple[str, ...], read: Reader, method: str) -> "AnnData":
    store = task.store
    is_control = store.labels == store.control_label

    def in_blocks(controls_only: bool) -> Blocks:
        cells = np.flatnonzero(is_control) if controls_only else np.arange(len(store))
        with progress(method, len(cells), "cell") as advance:
            for rows in blocks(cells):
                yield rows, read(rows)
                advance(len(rows))

    cells = CellProfiles(store.labels, store.batch_codes, is_control, names, in_blocks)
    vectors, facts = gene_profiles(cells, len(store.perturbations), _sphering(task.config).baselines.engineered)
    adata = gene_anndata(vectors, gene_table(store), method)
    adata.uns[NOTES] = [in_words(facts)]
    return adata


def _sphering(config: Config) -> Config:
    """The same settings with the components of the controls, whitened."""
    engineered = config.baselines.engineered.model_copy(update={"typical_variation": True})
    return config.model_copy(update={"baselines": config.baselines.model_copy(update={"engineered": engineered})})


def _after(method: Method, run: Callable[[Task], "AnnData"]) -> Method:
    """The method whose features are sphered, as one of its own."""

    def settings(config: Config) -> Any:
        return [method.settings(config), _sphering(config).baselines.engineered.decisive()]

    return replace(method, name=run.__name__, run=run, settings=settings)


STATISTICS_SPHERED = _after(STATISTICS, statistics_sphered)
ENGINEERED_SPHERED = _after(ENGINEERED, engineered_sphered)
CLASSIFIER_SPHERED = _after(CLASSIFIER, classifier_sphered)
