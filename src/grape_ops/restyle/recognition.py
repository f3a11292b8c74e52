"""Are restyled cells taken for what they are restyled to, and is a gene's restyling significant?

Both are measured on real cells alone, without a counterfactual. Real knock-out and control cells are halved once. One
half says what each gene looks like; the other half is the ceiling: what real cells of the gene reach. Beside it stand
what needs no generator, the floor: the control cells as they are, and the same moved by the mean effect of all others.

Two tests must be passed to be significant. A generator may move cells towards a knock-out because it moves all cells
so, whatever the gene; and it may move each gene's cells firmly somewhere else. The first test asks the knock-out cells
whether they lie at all where restyling goes, the second asks the genes whether this one's restyling points to its own
knock-outs rather than any other's does. The knock-out cells are those that training has not seen: a generator that was
taught the chance of its cells would find it again in them.

Letters: n restyled cells, m knock-out cells, k control cells, G genes, F features, d components.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from grape_ops.cosine import cosines
from grape_ops.randomness import RestylingStream, generator
from grape_ops.restyle.distances import energy_distance
from grape_ops.restyle.phenotype import FEWEST_CELLS

# What stands beside the restyled cells, and is no generator's work: (column's ending, what it is)
REFERENCES = {
    "_unrestyled": "unrestyled cells",
    "_mean_knockout": "mean knock-out",
    "_held_out": "held-out real cells",
}
MEASURES = ("rank", "energy", "classified")
_CONTROL = -1  # label of the control cells


@dataclass(frozen=True)
class Halves:
    """The knock-out cells of a gene: the half from which is learnt, and the half that is held out, (m, F) each."""

    learnt: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, rng: np.random.Generator) -> "Halves":
        """Halve cells (m, F) at random."""
        order = rng.permutation(len(cells))
        return cls(cells[order[: len(cells) // 2]], cells[order[len(cells) // 2 :]])

    @property
    def whole(self) -> np.ndarray:
        """All of them."""
        return np.concatenate([self.learnt, self.held_out])


@dataclass(frozen=True)
class Unseen:
    """Real cells that training has not seen, on which the significance of restyling is tested.

    Attributes
    ----------
    knockouts : of each gene, by its row of M: (m, F).
    controls : (k, F).
    """

    knockouts: Mapping[int, np.ndarray]
    controls: np.ndarray


class Recognition:
    """Real cells of all genes, on which the restyled ones of each are evaluated.

    Parameters
    ----------
    knockouts : for each gene with enough cells, by its row of M, its knock-out cells (m, F).
    control : (n, F) the control cells that are restyled; not a number where none could be measured.
    components : (k, F) -> (k, d), in which energy distances are taken.
    seed : draws the halves.
    unseen : cells for the tests against chance.

    Attributes
    ----------
    rows : of the G genes.
    learnt : (n,) bool, the half of the control cells from which is learnt; restyled copies of the others are evaluated.
    """

    def __init__(
        self,
        knockouts: Mapping[int, np.ndarray],
        control: np.ndarray,
        components: Callable[[np.ndarray], np.ndarray],
        seed: int,
        unseen: Unseen,
    ):
        self.unseen = unseen
        self.rows = [row for row, cells in knockouts.items() if len(cells) >= FEWEST_CELLS]
        self.control, self.components = control, components
        rng = generator(seed, RestylingStream.CONTROL_HALVES)
        self.learnt = np.zeros(len(control), bool)
        self.learnt[rng.permutation(len(control))[: len(control) // 2]] = True
        self.halves = {
            row: Halves.of(knockouts[row], generator(seed, RestylingStream.GENE_HALVES, row)) for row in self.rows
        }
        measured = np.isfinite(control).all(axis=1)
        self._origin = control[measured & self.learnt]
        self.changes = np.array([self.halves[row].learnt.mean(axis=0) for row in self.rows]).reshape(
            len(self.rows), control.shape[1]
        ) - (self._origin.mean(axis=0) if len(self._origin) else 0)
        self._made: dict[int, np.ndarray] = {}
        self._names = _classifier(self.halves, self._origin) if self.possible else None

    @property
    def possible(self) -> bool:
        """True if there are at least two genes, and controls, to classify."""
        return len(self.rows) > 1 and len(self._origin) >= FEWEST_CELLS // 2

    def gene(self, row: int, unchanged: np.ndarray, restyled: np.ndarray) -> dict[str, Any]:
        """Columns of one gene, beside those of the references.

        Parameters
        ----------
        row : of the gene in M.
        unchanged, restyled : (n, F) the control cells restyled to control and to the gene, in their order; not a
            number in cells that could not be measured.
        """
        pairs = np.isfinite(self.control) & np.isfinite(unchanged) & np.isfinite(restyled)
        measured = pairs.all(axis=1)
        evaluated = measured & ~self.learnt
        if not self.possible or row not in self.halves or evaluated.sum() < FEWEST_CELLS // 2:
            return {}
        own, halves = self.rows.index(row), self.halves[row]
        mean = np.delete(self.changes, own, axis=0).mean(axis=0)
        start = self.control[evaluated]
        change = (restyled - unchanged)[measured].mean(axis=0)
        sets = {
            "": (change, restyled[evaluated]),
            "_unrestyled": (np.zeros_like(mean), start),
            "_mean_knockout": (mean, start + mean),
            "_held_out": (halves.held_out.mean(axis=0) - self._origin.mean(axis=0), halves.held_out),
        }
        found: dict[str, Any] = {"ranked": len(self.rows)}
        goal = self.components(halves.held_out)
        for ending, (moved, cells) in sets.items():
            found["rank" + ending] = own_rank(cosines(moved[None], self.changes)[0], own)
            near = halves.learnt if ending == "_held_out" else cells  # the floor: one half from the other
            found["energy" + ending] = energy_distance(self.components(near), goal)
            found["classified" + ending] = self._named(cells, row)
        fresh = self.unseen.knockouts[row]
        if min(len(fresh), len(self.unseen.controls)) >= FEWEST_UNSEEN:
            found["p_along"] = lie_along(fresh, self.unseen.controls, change)
            self._made[row] = change
        return found

    def own_p_values(self) -> dict[int, float]:
        """For each gene seen by ``gene``, by its row: that its restyling points to its own no more than others do."""
        rows = list(self._made)
        if not rows:
            return {}
        real = np.stack([self.unseen.knockouts[row].mean(axis=0) for row in rows])
        known = np.stack([self.halves[row].whole.mean(axis=0) for row in rows])
        p_values = points_to_its_own(np.stack(list(self._made.values())), real, known)
        return dict(zip(rows, p_values.tolist(), strict=True))

    def _named(self, cells: np.ndarray, row: int) -> float:
        """Share of cells (k, F) that the classifier takes for the gene."""
        assert self._names is not None, "asked only where there are genes to classify"
        return float((self._names(cells) == row).mean())


def own_rank(nearness: np.ndarray, own: int) -> float:
    """Rank of one among all, the largest first; those that are equal share the mean of their ranks: (G,) -> 1 to G."""
    above, equal = (nearness > nearness[own]).sum(), (nearness == nearness[own]).sum()
    return float(above + (equal + 1) / 2)


def _classifier(halves: Mapping[int, Halves], control: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Linear discriminant analysis of all genes and control, all of them taken as equally frequent."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    parts = [control, *(half.learnt for half in halves.values())]
    labels = np.repeat([_CONTROL, *halves], [len(part) for part in parts])
    priors = np.full(len(parts), 1 / len(parts))
    # Shrunken as Ledoit and Wolf do: there may be fewer cells of a gene than features.
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
    return model.fit(np.concatenate(parts), labels).predict


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
