"""Is a gene's restyling significant? Two tests that no counterfactual is needed for; both must be passed.

A generator may move cells towards a knock-out because it moves all cells so, whatever the gene; and it may move each
gene's cells firmly somewhere else. The first test asks the knock-out cells whether they lie at all where restyling
goes, the second asks the genes whether this one's restyling points to its own knock-outs rather than any other's does.
The knock-out cells are those that training has not seen: a generator that was taught the chance of its cells would
find it again in them. Letters: n cells, m knock-out cells, k control cells, G genes, F features.
"""

import numpy as np
from scipy import stats

ALIKE = 0.5  # cosine from which on two knock-outs count as alike, and restyling to one may look like the other
FEWEST_OTHERS = 5  # restylings of other genes, from which chance can be estimated
FEWEST_UNSEEN = 5  # knock-out cells that training has not seen, of which a mean can be taken
ROUNDING = 1e-9  # what is smaller is no difference


def lie_along(knockouts: np.ndarray, controls: np.ndarray, change: np.ndarray) -> float:
    """P-value that real knock-out cells lie no further where restyling goes than real control cells do.

    Welch's t-test, one-sided.

    Parameters
    ----------
    knockouts, controls : (m, F), (k, F) real cells, two of each at least.
    change : (F,) mean change by restyling to the gene, less that by restyling to control.
    """
    if not change.any():
        return 1.0  # where nothing moves, nothing lies
    return float(stats.ttest_ind(knockouts @ change, controls @ change, equal_var=False, alternative="greater").pvalue)


def points_to_its_own(made: np.ndarray, real: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """P-value for each gene that its restyling points to its knock-outs no more than other genes' restylings do.

    What all genes share is taken off both sides. Then each gene's restyling is compared, by its cosine with the
    gene's real change, with the restylings of those genes whose knock-outs are not like this one's. If restyling knows
    nothing of the gene, these cosines are draws of one distribution; how far a gene's own lies above the others is
    tested by Student's t for one more draw.

    Parameters
    ----------
    made : (G, F) mean change by restyling to each gene.
    real : (G, F) mean of the features of each gene's knock-out cells; an offset common to all genes does not count.
    known : (G, F) the same over all cells there are, by which genes are found alike; ``real`` if None.

    Returns
    -------
    (G,), not a number where fewer than ``FEWEST_OTHERS`` genes are unlike.
    """
    known = centred(real if known is None else known)
    own, alike = cosines(centred(made), centred(real)), cosines(known, known)
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
