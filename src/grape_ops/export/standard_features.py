"""The OPS Data Standard's own features of each perturbation, out of those that are measured on a store's crops.

Each cell is put on the scale of its batch's controls: a perturbation's effect is the median over its cells, and
p-values compare them with control cells by Mann-Whitney's test.
Letters: N cells, P perturbations, K features.
"""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from grape_ops import __version__
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.features import store_features
from grape_ops.restyle.phenotype import robust_scale

COMPARTMENTS = ("nucleus", "cell")
_SHAPE = {"area": "Area", "eccentricity": "Eccentricity", "form_factor": "FormFactor", "solidity": "Solidity"}
_INTENSITY = {
    "mean": "Intensity_MeanIntensity",
    "integrated": "Intensity_IntegratedIntensity",
    "mass_displacement": "Intensity_MassDisplacement",
    "mean_edge": "Intensity_MeanIntensityEdge",
    "std_edge": "Intensity_StdIntensityEdge",
    "mean_frac_0": "RadialDistribution_MeanFrac_1of4",
    "mean_frac_3": "RadialDistribution_MeanFrac_4of4",
}


def feature_table(channels: Sequence[str]) -> pd.DataFrame:
    """List the standard's features of some channels: index feature_id; feature_name, feature_type, compartment, source.

    ``source`` is the name the measurement has in our own table of features.
    """
    rows = []
    for part in COMPARTMENTS:
        for name, source in _SHAPE.items():
            rows.append((f"{part}_{name}", f"{part} {name}", "shape", part, f"{part}_AreaShape_{source}"))
        for channel, (name, source) in itertools.product(channels, _INTENSITY.items()):
            words = f"{part} {channel} {name}"
            rows.append((f"{part}_{channel}_{name}", words, "intensity", part, f"{part}_{source}_{channel}"))
        for a, b in itertools.combinations(channels, 2):  # measured in the order of the channels
            first, second = sorted((a, b))
            words = f"{part} correlation {first} {second}"
            source = f"{part}_Correlation_Pearson_{a}_{b}"
            rows.append((f"{part}_correlation_{first}_{second}", words, "correlation", part, source))
    columns = ["feature_id", "feature_name", "feature_type", "compartment", "source"]
    table = pd.DataFrame(rows, columns=columns).set_index("feature_id")
    table["feature_name"] = table["feature_name"].str.replace("_", " ")
    return table


@dataclass(frozen=True)
class Measured:
    """The standard's features of the cells and perturbations of a store.

    Attributes
    ----------
    features : ``feature_table`` without source.
    values : (N, K) float32, of single cells; NaN where a feature is undefined.
    effect : (P, K) float32, median over a perturbation's cells in robust deviations of their batch's controls.
    mean : (P, K) float32, mean over a perturbation's cells.
    p_values : (P, K) float32.
    levels : (P, K) float32, -log10 of false discovery rates, over genes and over controls apart.
    """

    features: pd.DataFrame
    values: np.ndarray
    effect: np.ndarray
    mean: np.ndarray
    p_values: np.ndarray
    levels: np.ndarray


def measure_perturbations(store: CropStore, labels: np.ndarray, genes: int, settings: Config, seed: int) -> Measured:
    """Measure all cells of a store and take those of each perturbation together.

    Parameters
    ----------
    labels : (N,) int, the perturbation of each cell, in [0, P).
    genes : number of perturbations, from the first, that are no controls.
    seed : of the control cells that features are tested against.
    """
    features = feature_table(store.channels)
    measured = store_features(store, settings.features)
    columns = [measured.names.index(source) for source in features["source"]]
    values = np.asarray(measured.values[:, columns], np.float64)  # (N, K)
    n = int(labels.max()) + 1
    mean, effect, p_values = np.zeros((n, len(columns))), np.zeros((n, len(columns))), np.ones((n, len(columns)))
    scaled = _on_scale_of_controls(values, store)
    reference = np.flatnonzero(labels >= genes)
    if len(reference) > settings.export.reference_cells:
        reference = np.random.default_rng(seed).choice(reference, settings.export.reference_cells, replace=False)
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(n + 1))
    for label in range(n):
        rows = order[ends[label] : ends[label + 1]]
        filled = ~np.isnan(values[rows])
        mean[label] = np.where(filled, values[rows], 0).sum(axis=0) / np.maximum(filled.sum(axis=0), 1)
        known = filled.any(axis=0)
        effect[label, known] = np.nanmedian(scaled[rows][:, known], axis=0)
        others = reference[labels[reference] != label]  # a control guide is compared with the other control guides
        p_values[label] = _mann_whitney(scaled[rows], scaled[others])
    levels = np.zeros_like(p_values)
    for part in (slice(0, genes), slice(genes, n)):
        if len(p_values[part]):
            rates = stats.false_discovery_control(p_values[part], axis=0)
            levels[part] = -np.log10(np.maximum(rates, np.finfo(np.float64).tiny)) + 0.0  # no -0
    arrays = (array.astype(np.float32) for array in (values, effect, mean, p_values, levels))
    return Measured(features.drop(columns="source"), *arrays)


def feature_definitions(features: pd.DataFrame, channels: Sequence[str]) -> pd.DataFrame:
    """List features as feature_definitions.csv has them."""
    rows = features.reset_index()
    of_intensity = rows["feature_type"] == "intensity"
    names = {
        f"{part}_{channel}_{name}": channel for part in COMPARTMENTS for channel in channels for name in _INTENSITY
    }
    rows["channel"] = rows["feature_id"].map(names).where(of_intensity, "").fillna("")
    rows["unit"] = np.where(
        rows["feature_id"].str.fullmatch("|".join(f"{part}_area" for part in COMPARTMENTS)), "pixels", ""
    )
    return rows.assign(software="grape-ops", version=__version__)


def _mann_whitney(cells: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """P-value of each feature, 1 where there is nothing to compare: (n, K), (m, K) -> (K,)."""
    found = np.ones(cells.shape[1])
    for column in range(cells.shape[1]):
        own, other = (part[:, column][~np.isnan(part[:, column])] for part in (cells, reference))
        if len(own) and len(other) and np.ptp(np.concatenate([own, other])) > 0:
            found[column] = stats.mannwhitneyu(own, other, method="asymptotic").pvalue
    return found


def _on_scale_of_controls(values: np.ndarray, store: CropStore) -> np.ndarray:
    """Median and spread of each batch's controls become 0 and 1: (N, K) -> (N, K).

    A feature that no control of a batch has a value of is put on the scale of all controls.
    """
    scaled = np.empty_like(values)
    control = store.labels == store.control_label
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of features without any value
        overall = robust_scale(values[control])
        for batch in range(len(store.batches)):
            own = store.batch_codes == batch
            middle, spread = (
                np.where(np.isfinite(part), part, whole)
                for part, whole in zip(robust_scale(values[own & control]), overall, strict=True)
            )
            scaled[own] = (values[own] - middle) / np.where(spread > 0, spread, 1)
    return scaled
