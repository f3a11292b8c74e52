"""How single cells of a gene lie beside control cells, along the profile of the gene's other guides.

Letters: U guides, V features, n cells of a block, c control cells drawn.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from grape_ops.cells.averages import blocks
from grape_ops.hits.cell_features import CellFeatures
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.hits.guides import Guides
from grape_ops.randomness import HitsStream, generator

_BEYOND = 0.95  # of control cells
_AT_ONCE = 1024  # guides


def cell_scores(
    features: CellFeatures,
    guides: Guides,
    profiles: GuideProfiles,
    genes: Mapping[str, Sequence[int]],
    metric: np.ndarray,
    drawn: int,
    seed: int,
) -> pd.DataFrame:
    """``auc`` and ``share_of_cells`` of each gene; empty for a gene of one guide.

    Parameters
    ----------
    features, guides, profiles : of single cells and of guides.
    genes : rows of each gene's guides.
    metric : (V, V) weights of directions.
    drawn : control cells to compare with.
    seed : draws them.
    """
    directions = np.zeros_like(profiles.profiles)
    for members in genes.values():
        if len(members) > 1:
            own = profiles.profiles[list(members)]
            directions[list(members)] = (own.sum(axis=0) - own) / (len(members) - 1)
    # From whitened profiles back to what multiplies a cell's standardised features.
    directions = directions @ metric @ profiles.whitening.T
    offsets = profiles.batch @ directions.T  # (B, U): what batches add
    cells = features.cells
    controls = cells[guides.controls[guides.codes[cells]]]
    rng = generator(seed, HitsStream.CONTROL_CELLS)
    controls = np.sort(rng.permutation(controls)[:drawn])
    chosen = np.flatnonzero(directions.any(axis=1))
    at_control = np.empty((len(controls), len(chosen)), np.float32)
    for first, rows in zip(range(0, len(controls), 4096), blocks(controls), strict=True):
        values, batches = features.read(rows) @ directions[chosen].T, features.batches[rows]
        for start in range(0, len(chosen), _AT_ONCE):  # thousands of controls by tens of thousands of guides
            part = slice(start, start + _AT_ONCE)
            at_control[first : first + len(rows), part] = values[:, part] - offsets[np.ix_(batches, chosen[part])]
    at_control.sort(axis=0)
    column = np.full(len(guides.names), -1)
    column[chosen] = np.arange(len(chosen))
    above, beyond, counted = (np.zeros(len(guides.names)) for _ in range(3))
    threshold = at_control[int(_BEYOND * (len(controls) - 1))] if len(controls) else np.zeros(len(chosen))
    for rows in blocks(cells[column[guides.codes[cells]] >= 0]):
        guide = guides.codes[rows]
        score = np.einsum("nv,nv->n", features.read(rows), directions[guide]) - offsets[features.batches[rows], guide]
        rank = np.array([np.searchsorted(at_control[:, column[g]], s) for g, s in zip(guide, score, strict=True)])
        np.add.at(above, guide, rank / max(len(controls), 1))
        np.add.at(beyond, guide, score > threshold[column[guide]])
        np.add.at(counted, guide, 1)
    found = {}
    for name, members in genes.items():
        guide = np.array(members)
        total = counted[guide].sum()
        if len(guide) < 2 or not total:
            found[name] = {"auc": np.nan, "share_of_cells": np.nan}
            continue
        share = (beyond[guide].sum() / total - (1 - _BEYOND)) / _BEYOND
        found[name] = {"auc": above[guide].sum() / total, "share_of_cells": max(share, 0.0)}
    return pd.DataFrame.from_dict(found, orient="index", columns=["auc", "share_of_cells"])
