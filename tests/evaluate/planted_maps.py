"""Gene maps with planted complexes that several tests share."""

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData

from grape_ops.groundtruth import GroundTruth

CONTROL = "nontargeting"


def symbols(n: int) -> list[str]:
    return [f"G{i:03d}" for i in range(n)]


def planted(sizes: list[int], d: int, signal: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (N, d) of complexes of the given sizes around common centres, and their membership (N, K)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), d))
    return signal * centres[labels] + rng.normal(size=(len(labels), d)), np.eye(len(sizes), dtype=bool)[labels]


def truth_of(membership: np.ndarray, genes: list[str], name: str = "planted") -> GroundTruth:
    columns = enumerate(membership.T)
    return GroundTruth.of(name, {f"C{k}": [genes[i] for i in np.flatnonzero(column)] for k, column in columns})


def as_map(vectors: np.ndarray, genes: list[str], method: str = "m", control: bool = True) -> AnnData:
    """AnnData of gene vectors, with a row of zeros for the controls."""
    rows = np.vstack([vectors, np.zeros(vectors.shape[1])]) if control else vectors
    names = [*genes, CONTROL] if control else genes
    with warnings.catch_warnings():
        # Some tests want a gene twice, which AnnData remarks upon.
        warnings.simplefilter("ignore")
        adata = AnnData(rows.astype(np.float32), obs=pd.DataFrame(index=names))
    adata.uns["method"] = method
    return adata
