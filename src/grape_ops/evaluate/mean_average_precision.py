"""Mean average precision as scores: of the whole map, of each complex and of each gene (section 3.7).

AP itself, its chance level and how it counts ties are in ``retrieval.py``.
"""

import numpy as np

from grape_ops.evaluate.clustering import seed_sd
from grape_ops.evaluate.context import MethodRuns
from grape_ops.evaluate.records import ComplexScores, GeneScores, MapScore
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision, chance_corrected
from grape_ops.evaluate.significance import benjamini_hochberg, complex_shares


def mean_average_precision(method: MethodRuns) -> MapScore:
    """MAP with its chance level and label permutations (section 3.7)."""
    task, result = method.context.task, method.significance
    chance = chance_average_precision(task.membership)
    means = [float(np.nanmean(average_precision(table, task.membership))) for table in method.labelled]
    return MapScore(
        value=result.mean_precision,
        chance=float(np.nanmean(chance)),
        p_value=result.mean_p,
        chance_corrected=float(np.nanmean(chance_corrected(result.precision, chance))),
        null_mean=float(result.null.mean()),
        null_sd=float(result.null.std()),
        permutations=method.context.settings.permutations,
        n_queries=int(np.sum(~np.isnan(result.precision))),
        seed_sd=seed_sd(means),
        per_run=tuple(means),
    )


def complex_precision(method: MethodRuns) -> ComplexScores:
    """Mean AP of each complex's genes; NaN with fewer than two genes."""
    task, result = method.context.task, method.significance
    chance = chance_average_precision(task.membership)
    shares = complex_shares(task.membership)
    judged = shares.any(axis=0)
    of_chance, of_corrected = (
        np.where(judged, np.nan_to_num(part) @ shares, np.nan)
        for part in (chance, chance_corrected(result.precision, chance))
    )
    return ComplexScores(
        complex=tuple(task.complexes),
        n_genes=tuple(task.membership.sum(axis=0).tolist()),
        map=tuple(result.complex_precision.tolist()),
        chance=tuple(of_chance.tolist()),
        chance_corrected=tuple(of_corrected.tolist()),
        p_value=tuple(result.complex_p.tolist()),
        q_value=tuple(benjamini_hochberg(result.complex_p).tolist()),
    )


def gene_precision(method: MethodRuns) -> GeneScores:
    """AP of each labelled gene."""
    task, result = method.context.task, method.significance
    chance = chance_average_precision(task.membership)
    return GeneScores(
        gene_symbol=tuple(task.labelled_genes),
        ap=tuple(result.precision.tolist()),
        chance=tuple(chance.tolist()),
        chance_corrected=tuple(chance_corrected(result.precision, chance).tolist()),
        p_value=tuple(result.gene_p.tolist()),
        q_value=tuple(benjamini_hochberg(result.gene_p).tolist()),
    )
