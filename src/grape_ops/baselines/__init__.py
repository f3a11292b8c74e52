"""Gene vectors to hold GRAPE against, made from the same cells.

A baseline is one function in one file and one line in ``BASELINES``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from grape_ops.baselines.random import random_vectors
from grape_ops.baselines.statistics import image_statistics
from grape_ops.cells.genes import write_gene_vectors
from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError

if TYPE_CHECKING:
    from anndata import AnnData

BASELINES: dict[str, Callable[[CropStore, int], "AnnData"]] = {
    "random": random_vectors,
    "statistics": image_statistics,
}


def write_baseline(method: str, store: str | Path, out: str | Path, seed: int = 0) -> None:
    """Make the gene vectors of a baseline on a store's cells and write them as ``.h5ad``.

    Parameters
    ----------
    method : a name in ``BASELINES``.
    store : folder of a crop store.
    out : file to write.
    seed : of whatever the baseline draws.
    """
    if method not in BASELINES:
        raise GrapeOpsError(f"There is no baseline {method!r}; there are: {', '.join(BASELINES)}.")
    if seed < 0:
        raise GrapeOpsError(f"The seed must be 0 or more; got {seed}.")
    write_gene_vectors(BASELINES[method](CropStore.open(store), seed), Path(out))
