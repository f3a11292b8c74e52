"""The classifier's shrunken contrasts: where M begins under ``train.start.kind=classifier``, without what follows.

Held against GRAPE from the same start, it says what adversarial training adds.
"""

from typing import TYPE_CHECKING

from grape_ops.baselines.task import Task
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.train.start import classifier_contrasts

if TYPE_CHECKING:
    from anndata import AnnData


def contrast_vectors(task: Task) -> "AnnData":
    """Train the start's classifier and read its contrasts out (cells/contrasts.py)."""
    config = task.config.model_copy(update={"seed": task.seed})
    return gene_anndata(classifier_contrasts(task.store, config), gene_table(task.store), "contrasts")
