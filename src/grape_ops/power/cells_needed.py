"""How many cells per gene a score needs: a saturating curve through scores at fewer cells, and its interval.

score(n) = chance + (plateau - chance) n / (n + half), n cells per gene, as the correlation of two maps with noise that
falls as 1 / n has it (Spearman and Brown, for a plateau of 1). 90 % of the way to the plateau takes 9 half.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

PLATEAU_SHARE = 0.9
DRAWS = 400  # of the residual bootstrap
FARTHEST = 4  # times the most cells measured: beyond that a curve is not extrapolated
_NAMES = {"map": "mAP", "hits": "the share of genes with a phenotype", "agreement": "the agreement of two maps"}


@dataclass(frozen=True)
class CellsNeeded:
    """What a curve says of the cells it needs.

    Attributes
    ----------
    most : most cells per gene measured.
    fit : chance, plateau and half of the curve; None where it was refused.
    cells, low, high : cells per gene for 90 % of the plateau, and its 95 % interval.
    refused : why no number is given; empty if one is.
    """

    most: float
    fit: tuple[float, float, float] | None = None
    cells: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    refused: str = ""

    def columns(self) -> dict[str, float]:
        """Its numbers for a table."""
        plateau = self.fit[1] if self.fit else float("nan")
        return {"cells_needed": self.cells, "low": self.low, "high": self.high, "plateau": plateau}


def saturating(n: np.ndarray, chance: float, plateau: float, half: float) -> np.ndarray:
    """Score at n cells per gene."""
    return np.asarray(chance + (plateau - chance) * n / (n + half))


def cells_needed(cells: np.ndarray, scores: np.ndarray, chance: float, seed: int = 0) -> CellsNeeded:
    """Fit the curve to scores at numbers of cells, both (n,); several scores may stand at one number.

    The interval is a bootstrap of the residuals: how far draws of cells of this screen differ, and nothing else.
    """
    most = float(cells.max())
    rounded = np.round(cells)
    levels = np.unique(rounded)
    if len(levels) < 3:
        return CellsNeeded(most, refused=f"the curve is too short: {len(levels)} different numbers of cells")
    groups = [scores[rounded == level] for level in levels]
    several = [part for part in groups if len(part) > 1]
    spread = float(np.sqrt(np.mean([part.var(ddof=1) for part in several]))) if several else 0.0
    rise = float(groups[-1].mean() - groups[0].mean())
    if rise <= max(2 * spread, 0.01):
        return CellsNeeded(
            most,
            refused=f"the curve is flat: from {levels[0]:.0f} to {levels[-1]:.0f} cells it rises by {rise:.3f}, where "
            f"draws of the same number differ by {spread:.3f} (sd)",
        )
    try:
        plateau, half = _fit(cells, scores, chance)
    except RuntimeError:
        return CellsNeeded(most, refused="no saturating curve fits")
    fitted, free = saturating(cells, chance, plateau, half), len(scores) - 2
    residuals = (scores - fitted) * np.sqrt(len(scores) / free)
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        try:
            drawn.append(_fit(cells, fitted + rng.choice(residuals, len(scores)), chance)[1])
        except RuntimeError:
            drawn.append(np.inf)
    factor = PLATEAU_SHARE / (1 - PLATEAU_SHARE)
    low, high = factor * np.quantile(drawn, [0.025, 0.975], method="nearest")
    if factor * half > FARTHEST * most:
        return CellsNeeded(
            most,
            refused=f"the curve is too short: at {most:.0f} cells it still rises, and a plateau, if there is one, lies "
            f"beyond {FARTHEST} times as many",
        )
    return CellsNeeded(most, (chance, plateau, half), factor * half, float(low), float(high))


def _fit(cells: np.ndarray, scores: np.ndarray, chance: float) -> tuple[float, float]:
    start = (min(max(float(scores.max()), chance + 0.02), 0.99), float(np.median(cells)))
    bounds = ([chance + 1e-3, cells.min() / 100], [1.0, 1000 * cells.max()])
    (plateau, half), _ = curve_fit(lambda n, top, h: saturating(n, chance, top, h), cells, scores, start, bounds=bounds)
    return float(plateau), float(half)


def in_words(found: CellsNeeded, score: str) -> str:
    """Say how many cells per gene the next screen needs, or why that cannot be said."""
    if found.fit is None:
        return f"no number of cells can be extrapolated, since {found.refused}."
    name, now = _NAMES[score], saturating(np.array(found.most), *found.fit)
    farthest = FARTHEST * found.most
    high = f"{found.high:.0f}" if found.high <= farthest else f"more than {farthest:.0f}"
    needed = f"{found.cells:.0f} cells per gene ({found.low:.0f} to {high})"
    if found.cells <= found.most:
        reached = f"{name} has 90 % of its plateau ({found.fit[1]:.2f}) at {needed}"
        return f"{reached}, fewer than the {found.most:.0f} that it was measured with."
    return (
        f"{name} is {now:.2f} at {found.most:.0f} cells per gene, the most measured; 90 % of its "
        f"plateau ({found.fit[1]:.2f}) needs {needed}."
    )
