"""Is the test calibrated on this screen? Non-targeting guides are dealt into pseudo-genes and tested as genes are."""

import numpy as np

from grape_ops.hits.gene_test import gene_test
from grape_ops.hits.guide_profiles import FEWEST_GUIDES, GuideProfiles
from grape_ops.randomness import HitsStream, generator

_MOST_DEALS = 50


def pseudo_gene_p_values(
    profiles: GuideProfiles, guides_per_gene: int, metric: np.ndarray, wanted: int, seed: int
) -> np.ndarray:
    """P-values of pseudo-genes: about ``wanted`` of them, none where there are too few control guides.

    Every pseudo-gene is compared with the control guides that are not its own.

    Parameters
    ----------
    profiles : of all guides.
    guides_per_gene : control guides dealt to a pseudo-gene.
    metric : (V, V) weights of directions, those of the genes.
    seed : deals the guides.
    """
    controls = np.flatnonzero(profiles.weights > 0)
    if len(controls) < guides_per_gene + FEWEST_GUIDES:
        return np.empty(0)
    rng = generator(seed, HitsStream.PSEUDO_GENES)
    found: list[float] = []
    for _ in range(_MOST_DEALS):
        order = rng.permutation(controls)
        for first in range(0, len(order) - guides_per_gene + 1, guides_per_gene):
            own = order[first : first + guides_per_gene]
            found.append(gene_test(profiles.without(own), own, metric).p_value)
            if len(found) == wanted:
                return np.array(found)
    return np.array(found)


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
    else:
        verdict = "as it should be" if rate >= 0.02 else "the test is strict, and may miss genes"
    return f"{rate:.1%} of {len(p_values)} pseudo-genes of non-targeting guides have p < 0.05: {verdict}."
