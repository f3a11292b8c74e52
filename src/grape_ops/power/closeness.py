"""How close restyled cells come to their counterfactuals; pure functions of arrays.

Features are in standard deviations of control cells; a cell without a nucleus has NaN in all of them. Letters: n
cells, F features, G genes, T traits.
"""

from collections.abc import Sequence

import numpy as np

from grape_ops.config import GenerateSettings
from grape_ops.cosine import cosines
from grape_ops.restyle import distances

_TINY = 1e-12
_ALIKE = 1e-9  # cosines that differ by less are tied


def mean_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean change of the same cells, over those measured on both sides: (n, F), (..., n, F) -> (..., F).

    0 where no cell is left: nothing was made that could be compared.
    """
    change = after - before
    found = np.isfinite(change).all(axis=-1, keepdims=True)
    return np.where(found, change, 0).sum(axis=-2) / np.maximum(found.sum(axis=-2), 1)


def direction(made: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Cosine of each gene's change with its own planted one: (G, F) twice -> (G,)."""
    return np.diag(cosines(made, planted, _TINY))


def own_direction(made: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """The same of what sets genes apart, their mean change taken off on both sides: (G, F) twice -> (G,).

    Where planted changes have much in common, their mean has a high cosine with each of them, and 0 here.
    """
    return direction(made - made.mean(axis=0), planted - planted.mean(axis=0))


def own_is_nearest(made: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Whether a gene's own planted change is the nearest of all by cosine: (G, F) twice -> (G,) in [0, 1].

    Where k changes are equally near, the own one among them, 1 / k.
    """
    table = cosines(made, planted, _TINY)
    nearest = table >= table.max(axis=1, keepdims=True) - _ALIKE
    return np.diag(nearest) / nearest.sum(axis=1)


def distance_left(made: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Distance from the planted mean, as a share of what it was before restyling: (G, F) twice -> (G,).

    0: restyled cells are on average the planted ones; 1: no nearer than untouched cells; above 1: further away. Both
    changes are from the untouched cells.
    """
    whole = np.linalg.norm(planted, axis=1)
    return np.asarray(np.linalg.norm(made - planted, axis=1) / np.maximum(whole, _TINY))


def side_effect(
    control: np.ndarray, restyled: np.ndarray, planted: np.ndarray, settings: GenerateSettings, rng: np.random.Generator
) -> float:
    """How far restyling moves the features that planting leaves alone, in standard deviations: (n, F) three times.

    As ``grape-ops check`` has it: the Wasserstein distance from restyled to planted cells, less that of two halves of
    the planted cells, averaged over features in which control and planted cells do not differ. NaN without such.
    """
    whole = np.isfinite(control).all(axis=1) & np.isfinite(restyled).all(axis=1)
    target = planted[np.isfinite(planted).all(axis=1)]
    if whole.sum() < 2 or len(target) < 4:
        return float("nan")
    phenotype = distances.differing_features(control[whole], target, settings.q_value)
    if phenotype.all():
        return float("nan")
    way = distances.coverage(
        control[whole],
        restyled[whole],
        target,
        phenotype,
        rng,
        splits=settings.splits,
        draws=1,  # the interval of the share is not looked at
        confidence=settings.confidence,
    )
    return float((way.restyled - way.floor)[~phenotype].mean())


def strength_by_kind(
    made: np.ndarray, planted: np.ndarray, shifts: np.ndarray, kinds: Sequence[str]
) -> dict[str, float]:
    """How strongly each kind of trait is restyled: 1 as strongly as planted, 0 not at all, below 0 the wrong way.

    Over all genes and those of their traits that are of the kind, the slope through the origin of the change made on
    the change planted, both as measured in the traits themselves.

    Parameters
    ----------
    made, planted : (G, T) mean changes of the traits, in standard deviations of untouched cells.
    shifts : (G, T) what was asked for; a trait counts for a gene where it is not 0.
    kinds : (T,) kind of each trait.
    """
    strengths = {}
    for kind in dict.fromkeys(kinds):
        asked = (shifts != 0) & (np.array(kinds) == kind)
        size = float((planted[asked] ** 2).sum())
        if size > _TINY:
            strengths[kind] = float((made[asked] * planted[asked]).sum() / size)
    return strengths
