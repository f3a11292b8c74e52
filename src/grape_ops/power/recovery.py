"""How well a map recovers the planted complexes, and how methods compare over several planted screens.

Legend: G genes, K complexes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.cells.genes import BATCH_COMPOSITION
from grape_ops.config import EvaluateSettings
from grape_ops.evaluate.clustering import kmeans_scores
from grape_ops.evaluate.maps import Task, gene_map, make_task
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision, decoy_scores
from grape_ops.groundtruth import GroundTruth

if TYPE_CHECKING:
    from anndata import AnnData

METRICS = ("map", "purity", "nmi", "ari")
DRAWS = 2000
_DECOY_DRAWS = 500
_KMEANS, _DECOYS, _BOOTSTRAP = range(3)


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
    rng = np.random.default_rng([seed, _KMEANS])
    clusters = kmeans_scores(table[task.single], task.single_complex, k, settings.kmeans_runs, rng)
    scores: dict[str, Any] = {"map": float(np.nanmean(precision))}
    scores |= {name: float(clusters[name].mean()) for name in METRICS[1:]}
    scores["chance"] = float(np.nanmean(chance_average_precision(task.membership)))
    scores["complex_ap"] = [float(np.nanmean(precision[members])) for members in task.membership.T]
    if decoys:
        shares = vectors[[*task.labelled_genes]].obsm[BATCH_COMPOSITION]
        draw = np.random.default_rng([seed, _DECOYS])
        scores |= decoy_scores(table, task.membership, shares, _DECOY_DRAWS, draw)
    return scores


def mean_precision(vectors: "AnnData", truth: GroundTruth) -> float:
    """Mean average precision alone, as ``recovery`` has it under ``map``."""
    task, table = _labelled(vectors, truth)
    return float(np.nanmean(average_precision(table, task.membership)))


def _labelled(vectors: "AnnData", truth: GroundTruth) -> tuple[Task, np.ndarray]:
    """What a map is evaluated on, and its vectors (G, d) of the genes of the truth."""
    own = gene_map(vectors, "map")
    task = make_task({"map": [own]}, truth)
    return task, own.vectors[own.rows(task.genes)][task.labelled]


def over_screens(scores: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Mean of every score over planted screens, with its spread: method -> one dict a screen -> method -> figures.

    Means stand under the scores' own names; ``sd`` holds their standard deviations, ``per_seed`` the mAP of each
    screen. A score that a screen lacks (None) is left out of the mean.
    """
    figures: dict[str, dict[str, Any]] = {}
    for method, runs in scores.items():
        own: dict[str, Any] = {}
        spread: dict[str, float | None] = {}
        for name in dict.fromkeys(name for run in runs for name, value in run.items() if isinstance(value, float)):
            values = [run[name] for run in runs if run.get(name) is not None]
            own[name] = round(float(np.mean(values)), 4)
            spread[name] = round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None
        figures[method] = own | {"sd": spread, "per_seed": [round(run["map"], 4) for run in runs]}
    return figures


def paired_differences(scores: Mapping[str, Sequence[dict[str, Any]]], seed: int = 0) -> list[dict[str, Any]]:
    """mAP of every method against every other on the same planted screens.

    Screens are drawn with replacement, and complexes within each: genes of a complex stand or fall together, and so do
    the complexes of a screen that share its training seed.

    Returns
    -------
    ``{"first", "second", "map", "low", "high", "share_above"}`` for each pair: the mean difference first - second, its
    95 % interval, and the share of draws above 0.
    """
    methods = list(scores)
    table = {method: [np.array(run["complex_ap"]) for run in runs] for method, runs in scores.items()}
    n_screens = len(next(iter(table.values())))
    rng = np.random.default_rng([seed, _BOOTSTRAP])
    draws: dict[str, list[float]] = {method: [] for method in methods}
    for _ in range(DRAWS):
        screens = rng.integers(n_screens, size=n_screens)
        chosen = [rng.integers(len(table[methods[0]][s]), size=len(table[methods[0]][s])) for s in screens]
        for method in methods:
            parts = [table[method][s][c].mean() for s, c in zip(screens, chosen, strict=True)]
            draws[method].append(float(np.mean(parts)))
    rows = []
    for i, first in enumerate(methods):
        for second in methods[i + 1 :]:
            gap = np.array(draws[first]) - np.array(draws[second])
            own = float(np.mean([a["map"] - b["map"] for a, b in zip(scores[first], scores[second], strict=True)]))
            low, high = np.quantile(gap, [0.025, 0.975])
            row = {"first": first, "second": second, "map": own, "low": float(low), "high": float(high)}
            row["share_above"] = float((gap > 0).mean())
            rows.append({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})
    return rows
