"""The classifier's shrunken gene effects: the initial M of ``train.init.kind=classifier``.

Compared with GRAPE from the same initialisation, it says what adversarial training adds.
"""

from typing import TYPE_CHECKING

from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.methods.method import Method, Task, no_files
from grape_ops.train.initialize import classifier_gene_effects

if TYPE_CHECKING:
    from anndata import AnnData


def gene_effect_vectors(task: Task) -> "AnnData":
    """Train the initialisation's classifier and read gene effects from it (cells/gene_effects.py)."""
    config = task.config.model_copy(update={"seed": task.seed})
    return gene_anndata(classifier_gene_effects(task.store, config), gene_table(task.store), "gene_effects")


GENE_EFFECTS = Method(
    "gene_effects",
    gene_effect_vectors,
    settings=lambda config: config.train.model_dump(mode="json", include={"init", "holdout", "precision"}),
    inputs=no_files,
)
