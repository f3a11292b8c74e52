"""Random gene vectors: what every score amounts to without any information (section 3.6)."""

from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.methods.method import Method, Task, no_files

if TYPE_CHECKING:
    from anndata import AnnData

LENGTH = 500  # as GRAPE's own vectors


def random_vectors(task: Task) -> "AnnData":
    """Draw each gene's vector uniformly from [0, 1), the setting that the paper's Random row agrees with."""
    rng = np.random.default_rng(task.seed)
    return gene_anndata(rng.random((len(task.store.perturbations), LENGTH)), gene_table(task.store), "random")


RANDOM = Method("random", random_vectors, settings=lambda _: {}, inputs=no_files, order=1)
