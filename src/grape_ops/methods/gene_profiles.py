"""From hand-made features of single cells to profiles of genes, the way such tables are treated in the field.

Undefined and unvarying features go, the rest is z-scored by the controls of each batch and cut at a few deviations,
principal components are taken, and each gene's cells are averaged. All of it after the z-scores is linear, so that
sums over cells are enough: two passes in blocks, whatever the number of cells.
Legend: N cells, n cells of a block, V features, P genes, B batches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from grape_ops.cells.averages import ControlStatistics
from grape_ops.config import EngineeredSettings
from grape_ops.errors import GrapeOpsError

Blocks = Iterator[tuple[np.ndarray, np.ndarray]]  # rows (n,) and their features (n, V), NaN where undefined


@dataclass(frozen=True)
class CellProfiles:
    """Features of single cells, to be read in blocks.

    Attributes
    ----------
    labels : (N,) int, the gene of each cell, in [0, P); -1 for none.
    codes : (N,) int, the batch of each cell, in [0, B).
    is_control : (N,) bool.
    names : of the V features.
    read : makes the blocks, of all cells or of the controls only.
    """

    labels: np.ndarray
    codes: np.ndarray
    is_control: np.ndarray
    names: tuple[str, ...]
    read: Callable[[bool], Blocks]


@dataclass
class _Sums:
    """What one pass over all cells adds up."""

    genes: np.ndarray  # (P, V), sums of z-scores
    counts: np.ndarray  # (P,) cells
    products: np.ndarray  # (V, V), sums of products of z-scores, over all cells or over the controls
    undefined: np.ndarray  # (V,) cells without a value
    total: np.ndarray  # (V,) sums of z-scores behind the products
    cells: int = 0  # behind the products
    seen: int = 0
    empty: int = 0  # cells without any feature


def gene_profiles(cells: CellProfiles, n_genes: int, settings: EngineeredSettings) -> tuple[np.ndarray, dict[str, Any]]:
    """Make the profile of each gene: (P, components) float64, and what was left out.

    Raises
    ------
    GrapeOpsError : no feature is left.
    """
    batches = int(cells.codes.max()) + 1
    statistics = ControlStatistics.of(((cells.codes[rows], part) for rows, part in cells.read(True)), batches)
    sums = _add_up(cells, statistics, n_genes, settings)
    undefined = sums.undefined > settings.most_undefined * max(sums.seen - sums.empty, 1)
    constant = (statistics.sd == 0).all(axis=0) & ~undefined
    kept = ~(constant | undefined)
    facts = {
        "features": len(cells.names),
        "kept": int(kept.sum()),
        "constant": [cells.names[i] for i in np.flatnonzero(constant)],
        "undefined": [cells.names[i] for i in np.flatnonzero(undefined)],
        "undefined_values": int(sums.undefined[kept].sum()),
        "cells": sums.seen,
        "cells_without_features": sums.empty,
    }
    if not kept.any():
        raise GrapeOpsError(
            f"None of {len(cells.names)} features is left: {int(constant.sum())} do not vary among the controls, "
            f"{int(undefined.sum())} are undefined in more than {settings.most_undefined:.0%} of the cells "
            "(baselines.engineered.most_undefined)."
        )
    means = (sums.genes / np.maximum(sums.counts, 1)[:, None])[:, kept]
    axes = _axes(sums, kept, settings)
    return means @ axes, facts | {"components": axes.shape[1]}


def _add_up(cells: CellProfiles, statistics: ControlStatistics, n_genes: int, settings: EngineeredSettings) -> _Sums:
    width = len(cells.names)
    zero = np.zeros
    sums = _Sums(zero((n_genes, width)), zero(n_genes), zero((width, width)), zero(width), zero(width))
    for rows, part in cells.read(False):
        defined = np.isfinite(part)
        some = defined.any(axis=1)
        scaled = statistics.standardize(part, cells.codes[rows]).clip(-settings.clip, settings.clip)
        labelled = some & (cells.labels[rows] >= 0)
        np.add.at(sums.genes, cells.labels[rows][labelled], scaled[labelled])
        np.add.at(sums.counts, cells.labels[rows][labelled], 1)
        spread = scaled[some & cells.is_control[rows]] if settings.typical_variation else scaled[some]
        sums.products += spread.T @ spread
        sums.total += spread.sum(axis=0)
        sums.cells += len(spread)
        sums.undefined += (~defined[some]).sum(axis=0)
        sums.seen += len(rows)
        sums.empty += int((~some).sum())
    return sums


def _axes(sums: _Sums, kept: np.ndarray, settings: EngineeredSettings) -> np.ndarray:
    """Principal axes of the features that are kept: (V', components), whitened if they are those of the controls."""
    mean = sums.total[kept] / max(sums.cells, 1)
    covariance = sums.products[np.ix_(kept, kept)] / max(sums.cells, 1) - np.outer(mean, mean)
    variance, axes = np.linalg.eigh(covariance)
    variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
    wanted = np.searchsorted(np.cumsum(variance), settings.variance * variance.sum() * (1 - 1e-12)) + 1
    axes, variance = axes[:, :wanted], variance[:wanted]
    return axes / np.sqrt(np.maximum(variance, 1e-12)) if settings.typical_variation else axes


def in_words(facts: dict[str, Any]) -> str:
    """One line on what was left out."""
    words = [f"{facts['kept']} of {facts['features']} features in {facts['components']} components"]
    if facts["constant"]:
        words.append(f"{len(facts['constant'])} do not vary among controls")
    if facts["undefined"]:
        words.append(f"{len(facts['undefined'])} are too often undefined")
    if facts["undefined_values"]:
        words.append(f"{facts['undefined_values']} undefined values count as the controls' mean")
    if facts["cells_without_features"]:
        words.append(f"{facts['cells_without_features']} of {facts['cells']} cells could not be measured")
    return "; ".join(words)
