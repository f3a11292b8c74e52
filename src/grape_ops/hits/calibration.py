"""Is the test calibrated on this screen? Non-targeting guides are dealt into pseudo-genes and tested as genes are."""

from collections.abc import Sequence

import numpy as np

from grape_ops.hits.gene_test import gene_test
from grape_ops.hits.guide_profiles import FEWEST_GUIDES, GuideProfiles
from grape_ops.randomness import HitsStream, generator

_MOST_DEALS = 50
_FEWEST_TO_CALL_STRICT = 60  # a calibrated test leaves none of fewer below 0.05 in more than 1 of 20 cases


def dealt_pseudo_genes(controls: np.ndarray, guides_per_gene: int, wanted: int, seed: int) -> list[np.ndarray]:
    """Deal control guides (u,) into pseudo-genes: about ``wanted`` of them, none where there are too few guides.

    Parameters
    ----------
    controls : rows of the control guides that have cells.
    guides_per_gene : control guides dealt to a pseudo-gene.
    wanted : no more pseudo-genes than these.
    seed : deals the guides.
    """
    if len(controls) < guides_per_gene + FEWEST_GUIDES:
        return []
    rng = generator(seed, HitsStream.PSEUDO_GENES)
    found: list[np.ndarray] = []
    for _ in range(_MOST_DEALS):
        order = rng.permutation(controls)
        for first in range(0, len(order) - guides_per_gene + 1, guides_per_gene):
            found.append(order[first : first + guides_per_gene])
            if len(found) == wanted:
                return found
    return found


def pseudo_gene_p_values(profiles: GuideProfiles, dealt: Sequence[np.ndarray], metric: np.ndarray) -> np.ndarray:
    """P-values of pseudo-genes, each compared with the control guides that are not its own.

    Parameters
    ----------
    profiles : of all guides.
    dealt : rows of the control guides of each pseudo-gene.
    metric : (V, V) weights of directions, those of the genes.
    """
    return np.array([gene_test(profiles.without(own), own, metric).p_value for own in dealt])


def in_words(p_values: np.ndarray) -> str:
    """Say whether p-values of pseudo-genes are those of a calibrated test."""
    if not len(p_values):
        return (
            "There are too few non-targeting guides to form pseudo-genes (a gene's number of guides and at least "
            f"{FEWEST_GUIDES} more are needed): calibration was not checked."
        )
    rate = float((p_values < 0.05).mean())
    if rate > 0.08:
        verdict = "p-values are too small; take fewer genes for hits than the table marks"
    elif rate >= 0.02:
        verdict = "as it should be"
    else:
        few = len(p_values) < _FEWEST_TO_CALL_STRICT
        verdict = "too few to call the test strict" if few else "the test is strict, and may miss genes"
    return f"{rate:.1%} of {len(p_values)} pseudo-genes of non-targeting guides have p < 0.05: {verdict}."
