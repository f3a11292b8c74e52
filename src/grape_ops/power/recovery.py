"""How well a map recovers the planted complexes, over which planted screens, and from which effect on.

Legend: G genes, K complexes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.cells.genes import BATCH_COMPOSITION
from grape_ops.config import CalibrateSettings, EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.clustering import kmeans_scores
from grape_ops.evaluate.maps import EvaluationTask, gene_map, make_task
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision, decoy_scores
from grape_ops.groundtruth import GroundTruth
from grape_ops.randomness import RecoveryStream, generator

if TYPE_CHECKING:
    from anndata import AnnData

# What is varied, one at a time around the settings, and on which axis it is interpolated.
VARIED = {"effect_size": "linear", "cells_per_gene": "log", "penetrance": "linear"}
METRICS = ("map", "purity", "nmi", "ari")
_DECOY_DRAWS = 500


def recovery(
    vectors: "AnnData", truth: GroundTruth, settings: EvaluateSettings, seed: int, decoys: bool = False
) -> dict[str, Any]:
    """Score one map against its planted complexes.

    Returns
    -------
    ``map``, ``purity``, ``nmi``, ``ari``, ``chance`` (of mAP), ``complex_ap`` (mean AP of each complex); with
    ``decoys`` also ``decoy_map``, ``decoy_null``, ``decoy_null_sd``.
    """
    task, table = _labelled(vectors, truth)
    precision = average_precision(table, task.membership)
    k = settings.k or len(task.complexes)
    rng = generator(seed, RecoveryStream.KMEANS)
    clusters = kmeans_scores(table[task.single], task.single_complex, k, settings.kmeans_runs, rng)
    scores: dict[str, Any] = {"map": float(np.nanmean(precision))}
    scores |= {name: float(clusters[name].mean()) for name in METRICS[1:]}
    scores["chance"] = float(np.nanmean(chance_average_precision(task.membership)))
    scores["complex_ap"] = [float(np.nanmean(precision[members])) for members in task.membership.T]
    if decoys:
        shares = vectors[[*task.labelled_genes]].obsm[BATCH_COMPOSITION]
        draw = generator(seed, RecoveryStream.DECOYS)
        scores |= decoy_scores(table, task.membership, shares, _DECOY_DRAWS, draw)
    return scores


def mean_precision(vectors: "AnnData", truth: GroundTruth) -> float:
    """Mean average precision alone, as ``recovery`` has it under ``map``."""
    task, table = _labelled(vectors, truth)
    return float(np.nanmean(average_precision(table, task.membership)))


def map_and_chance(vectors: "AnnData", truth: GroundTruth) -> tuple[float, float] | None:
    """Mean average precision and its chance level; None where the map's genes cannot be scored by the truth."""
    try:
        task, table = _labelled(vectors, truth)
    except GrapeOpsError:
        return None
    chance = chance_average_precision(task.membership)
    return float(np.nanmean(average_precision(table, task.membership))), float(np.nanmean(chance))


def _labelled(vectors: "AnnData", truth: GroundTruth) -> tuple[EvaluationTask, np.ndarray]:
    """What a map is evaluated on, and its vectors (G, d) of the genes of the truth."""
    own = gene_map(vectors, "map")
    task = make_task({"map": [own]}, truth)
    return task, own.vectors[own.rows(task.genes)][task.labelled]


@dataclass(frozen=True, order=True)
class Point:
    """Planted screens of one kind."""

    effect_size: float
    cells_per_gene: int
    penetrance: float

    @property
    def name(self) -> str:
        """For a folder."""
        return f"effect{self.effect_size:g}_cells{self.cells_per_gene}_penetrance{self.penetrance:g}"

    def settings(self, base: CalibrateSettings) -> CalibrateSettings:
        """The settings that plant it."""
        return base.model_copy(update={name: getattr(self, name) for name in VARIED})


def curve_points(settings: CalibrateSettings) -> dict[str, list[Point]]:
    """The points of each curve, ascending: what is varied -> points; the settings' own point is on every curve."""
    base = {name: getattr(settings, name) for name in VARIED}
    grids: dict[str, Iterable[float]] = {
        "effect_size": settings.effect_sizes,
        "cells_per_gene": settings.cells_tried,
        "penetrance": settings.penetrances,
    }
    return {
        varied: [Point(**(base | {varied: value})) for value in sorted({*grid, base[varied]})]
        for varied, grid in grids.items()
    }


def crossing(values: Sequence[float], recovered: Sequence[float], detected: float, scale: str) -> tuple[float, str]:
    """Where recovery reaches a level and stays above it, interpolated between points.

    Parameters
    ----------
    values : what was varied, ascending.
    recovered : recovery at each.
    detected : the level.
    scale : "linear" or "log".

    Returns
    -------
    limit, sense : sense is "at" for a crossing, "below" if recovery is enough at the smallest value already, "above" if
    it is not at the largest.
    """
    short = np.flatnonzero(np.asarray(recovered) < detected)
    if not len(short):
        return float(values[0]), "below"
    last = int(short[-1])
    if last == len(values) - 1:
        return float(values[-1]), "above"
    share = (detected - recovered[last]) / (recovered[last + 1] - recovered[last])
    low, high = float(values[last]), float(values[last + 1])
    if scale == "log":
        return float(np.exp(np.log(low) + share * (np.log(high) - np.log(low)))), "at"
    return low + float(share) * (high - low), "at"
