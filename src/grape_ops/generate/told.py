"""Is a gene's restyling told from chance? Two tests that no counterfactual is needed for; both must be passed.

A generator may move cells towards a knock-out because it moves all cells so, whatever the gene; and it may move each
gene's cells firmly somewhere else. The first test asks the cells whether they go towards the gene's knock-outs at all,
the second asks the genes whether this one's restyling points to its own knock-outs rather than any other's does.
Letters: n cells, G genes, F features.
"""

import numpy as np
from scipy import stats

ALIKE = 0.5  # cosine from which on two knock-outs count as alike, and restyling to one may look like the other
FEWEST_OTHERS = 5  # restylings of other genes, of which chance can be told
ROUNDING = 1e-9  # what is smaller is no difference


def moves_along(change: np.ndarray, direction: np.ndarray) -> float:
    """P-value that restyled cells lie no further along a direction than the same cells restyled to control.

    A paired, one-sided t-test.

    Parameters
    ----------
    change : (n, F) what restyling changes of each cell, less what restyling it to control does.
    direction : (F,) change by the real knock-out, from cells other than these.
    """
    along = change @ direction
    if np.ptp(along) <= ROUNDING * np.abs(along).max():  # all cells move alike, as where nothing moves at all
        return 0.0 if len(along) > 1 and along[0] > 0 else 1.0
    return float(stats.ttest_1samp(along, 0, alternative="greater").pvalue)


def points_to_its_own(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """P-value for each gene that its restyling points to its knock-outs no more than other genes' restylings do.

    What all genes share is taken off both sides. Then each gene's restyling is compared, by its cosine with the
    gene's real change, with the restylings of those genes whose knock-outs are not like this one's. If restyling knows
    nothing of the gene, these cosines are draws of one distribution; how far a gene's own lies above the others is
    judged by Student's t for one more draw.

    Parameters
    ----------
    made : (G, F) mean change by restyling to each gene.
    real : (G, F) mean of the features of each gene's knock-out cells; an offset common to all genes does not count.

    Returns
    -------
    (G,), not a number where fewer than ``FEWEST_OTHERS`` genes are unlike.
    """
    own, alike = cosines(centred(made), centred(real)), cosines(centred(real), centred(real))
    found = np.full(len(made), np.nan)
    for gene in range(len(made)):
        others = own[alike[:, gene] < ALIKE, gene]
        n = len(others)
        if n < FEWEST_OTHERS:
            continue
        spread = others.std(ddof=1) * np.sqrt(1 + 1 / n)
        above = own[gene, gene] - others.mean()
        exact = spread <= ROUNDING  # where none of the others points anywhere
        found[gene] = float(above <= ROUNDING) if exact else stats.t.sf(above / spread, n - 1)
    return found


def centred(changes: np.ndarray) -> np.ndarray:
    """Changes less what most genes share: (G, F) -> (G, F). The median, which one strong gene does not move."""
    return changes - np.median(changes, axis=0) if len(changes) else changes


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each row with each: (N, F), (M, F) -> (N, M); 0 for a row of zeros."""
    sizes = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    return np.divide(first @ second.T, sizes, out=np.zeros_like(sizes), where=sizes > 0)
