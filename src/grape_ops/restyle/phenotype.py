"""Is a knock-out's phenotype there, and do restyled cells have it? (section 4.3, Fig. 2)

Features are standardised by the control cells of each cell's batch, and of correlated features only one is
kept. A random forest then separates real control from real knock-out cells; only where it can, on cells it has not
seen, is the way that restyling covers a number with a meaning. Letters: N cells, n cells of a set, K features as
measured, F features kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import mannwhitneyu, rankdata

from grape_ops.cells.averages import robust_sd
from grape_ops.config import GenerateSettings
from grape_ops.cosine import cosine
from grape_ops.errors import GrapeOpsError
from grape_ops.randomness import RestylingStream, generator

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

FEWEST_CELLS = 20  # of a gene; fewer leave nothing to evaluate a forest on
MOST_MISSING = 0.05  # share of control cells in which a feature may be undefined
_ROWS_AT_ONCE = 25_000  # cells sent through a forest together
FURTHEST = 10.0  # standard deviations; one dying cell must not rule a distance


@dataclass(frozen=True)
class FeatureSpace:
    """The features in which cells are compared.

    Attributes
    ----------
    names : of the F features kept.
    columns : (F,) their places among the K measured.
    centre, spread : (batches, F), of each batch's control cells.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(
        cls, names: Sequence[str], controls: np.ndarray, batches: np.ndarray, n_batches: int, redundant: float
    ) -> "FeatureSpace":
        """Choose features and their scale from the control cells.

        Parameters
        ----------
        names : of the K features.
        controls : (N, K) features of control cells, NaN where undefined.
        batches, n_batches : (N,) batch of each, in [0, n_batches); some may have none here.
        redundant : rank correlation from which on one feature stands for several.

        Raises
        ------
        GrapeOpsError : no feature varies among the control cells.
        """
        whole = np.isfinite(controls).any(axis=1)
        controls, batches = controls[whole].astype(np.float64), batches[whole]
        usable = np.isfinite(controls).mean(axis=0) >= 1 - MOST_MISSING
        usable &= np.array([len(np.unique(column[np.isfinite(column)])) > 2 for column in controls.T])
        if not usable.any():
            raise GrapeOpsError("No feature varies among the control cells; are the store's crops all alike?")
        columns = np.flatnonzero(usable)
        found = [batches == batch for batch in range(n_batches)]
        overall = robust_scale(controls[:, columns])
        # A batch with a handful of controls, or none drawn, is scaled as all of them together.
        scales = [robust_scale(controls[own][:, columns]) if own.sum() >= FEWEST_CELLS else overall for own in found]
        centre = np.stack([scale[0] for scale in scales])
        spread = np.stack([np.where(scale[1] > 0, scale[1], overall[1]) for scale in scales])
        kept = np.flatnonzero((spread > 0).all(axis=0))
        values = _filled((controls[:, columns] - centre[batches]) / np.where(spread > 0, spread, 1)[batches])[:, kept]
        kept = kept[distinct_features(values, redundant)]
        return cls(tuple(names[column] for column in columns[kept]), columns[kept], centre[:, kept], spread[:, kept])

    def __call__(self, measured: np.ndarray, batches: np.ndarray) -> np.ndarray:
        """Features of cells in standard deviations of their batch's controls: (n, K), (n,) -> (n, F).

        What is not defined for a cell is taken as a control's median.
        """
        scaled = (measured[:, self.columns] - self.centre[batches]) / self.spread[batches]
        return _filled(scaled)


def distinct_features(values: np.ndarray, redundant: float) -> np.ndarray:
    """Choose one feature, the most typical, of each group of correlated ones: (N, K) -> (F,) sorted columns."""
    if values.shape[1] < 2:
        return np.arange(values.shape[1])
    alike = np.abs(np.corrcoef(rankdata(values, axis=0), rowvar=False))
    apart = 1 - np.nan_to_num(alike)
    np.fill_diagonal(apart, 0)
    groups = fcluster(linkage(squareform((apart + apart.T) / 2, checks=False), "average"), 1 - redundant, "distance")
    chosen = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        chosen.append(members[apart[np.ix_(members, members)].sum(axis=1).argmin()])
    return np.sort(np.array(chosen))


@dataclass(frozen=True)
class Separation:
    """How separable real control and real knock-out cells are.

    Attributes
    ----------
    auc : area under the ROC curve of the forest on held-out cells.
    p_value : of the Mann-Whitney test that held-out knock-out cells score higher.
    features : (F,) all features, the most important first.
    importance, importance_sd : (F,) fall of the AUC when a feature is permuted among held-out cells, in that order.
    """

    auc: float
    p_value: float
    features: np.ndarray
    importance: np.ndarray
    importance_sd: np.ndarray


def separate(control: np.ndarray, knockout: np.ndarray, settings: GenerateSettings, seed: int) -> Separation:
    """Separate control (n, F) from knock-out cells (m, F) by a random forest, evaluated on cells it has not seen."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    values = np.concatenate([control, knockout])
    labels = np.repeat([0, 1], [len(control), len(knockout)])
    train, test, train_labels, test_labels = train_test_split(
        values, labels, test_size=settings.held_out, stratify=labels, random_state=seed
    )
    forest = RandomForestClassifier(
        settings.trees, class_weight="balanced", min_samples_leaf=3, random_state=seed, n_jobs=1
    ).fit(train, train_labels)
    scores = forest.predict_proba(test)[:, 1]
    positive = test_labels == 1
    p_value = mannwhitneyu(scores[positive], scores[~positive], alternative="greater", method="asymptotic").pvalue
    auc = float(area_under_roc(scores[None], positive)[0])
    rng = generator(seed, RestylingStream.PERMUTED_FEATURES)
    falls = auc - _permuted_aucs(forest, test, positive, settings.repeats, rng)
    order = np.argsort(-falls.mean(axis=1), kind="stable")
    return Separation(auc, float(p_value), order, falls.mean(axis=1)[order], falls.std(axis=1)[order])


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of several sets of scores of the same cells: (S, n), (n,) bool -> (S,)."""
    n_positive = int(positive.sum())
    ranks = rankdata(scores, axis=1)[:, positive].sum(axis=1)
    return (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * (len(positive) - n_positive))


def _permuted_aucs(
    forest: "RandomForestClassifier", cells: np.ndarray, positive: np.ndarray, repeats: int, rng: np.random.Generator
) -> np.ndarray:
    """AUC when one feature is permuted among the cells (n, F), several times: (F, repeats).

    What scikit-learn's ``permutation_importance`` does, with many features in one pass through the forest: a call for
    each costs ten times as long.
    """
    whole = area_under_roc(forest.predict_proba(cells)[:, 1][None], positive)[0]
    found = np.full((cells.shape[1], repeats), whole)
    used = np.flatnonzero(forest.feature_importances_ > 0)  # what no tree asks for changes nothing
    at_once = max(1, _ROWS_AT_ONCE // (repeats * len(cells)))
    for features in np.split(used, range(at_once, len(used), at_once)):
        copies = np.tile(cells, (len(features) * repeats, 1, 1))
        for place, feature in enumerate(np.repeat(features, repeats)):
            copies[place, :, feature] = rng.permutation(cells[:, feature])
        scores = forest.predict_proba(copies.reshape(-1, cells.shape[1]))[:, 1].reshape(len(copies), -1)
        found[features] = area_under_roc(scores, positive).reshape(-1, repeats)
    return found


def direction_agreement(
    control: np.ndarray, unchanged: np.ndarray, restyled: np.ndarray, knockout: np.ndarray
) -> float:
    """Cosine between the mean change that restyling makes and the one that the knock-out makes, over features.

    ``unchanged`` are the control cells restyled to control: what the generator does to every cell is no gene's
    direction. (n, F) each -> a number in [-1, 1].
    """
    made = restyled.mean(axis=0) - unchanged.mean(axis=0)
    real = knockout.mean(axis=0) - control.mean(axis=0)
    return cosine(made, real)


def robust_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median, and the standard deviation a normal distribution of this median deviation has: (N, K) -> (K,), (K,)."""
    centre = np.nanmedian(values, axis=0)
    spread = robust_sd(values - centre)
    # More than half of the cells have the very same value: counts, flat rings.
    return centre, np.where(spread > 0, spread, np.nanstd(values, axis=0))


def _filled(scaled: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(scaled, nan=0.0), -FURTHEST, FURTHEST)
