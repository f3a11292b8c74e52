"""Does a gene have a phenotype? The evidence is what its guides share.

The statistic is the mean product of the profiles of two different guides, each less the mean of the control guides: an
unbiased estimate of the squared distance of the gene from the controls, free of the chance of each guide's cells and of
what is one guide's own. Directions in which other genes' guides agree count for more. Its null is that of guides which
differ from control guides by the chance of their cells, by the error of the fitted batches, and as control guides
differ from each other; three cumulants of that quadratic form are exact, and Pearson's type III distribution has them.
Letters: k guides of a gene, V features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from grape_ops.errors import NothingToTest
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.randomness import HitsStream, generator

FOLDS = 10  # of genes: the directions that count for a gene are those of other genes
SMALLEST = 1e-300  # so that a logarithm can be taken
_FORM_OF_PRODUCTS = "ij,iv,vw,jw"
FLOOR = 0.05  # weight of a direction in which no gene's guides agree; 1 is the largest


@dataclass(frozen=True)
class GeneTest:
    """The test of one gene.

    Attributes
    ----------
    distance : unbiased squared distance from the controls in standard deviations of single cells; may be negative.
    statistic : the same with weighted directions, in standard deviations of its null.
    p_value : of the null that the gene's guides are control guides.
    """

    distance: float
    statistic: float
    p_value: float


@dataclass(frozen=True)
class Tests:
    """Tests of genes by name, and of single guides by their rows."""

    genes: dict[str, GeneTest]
    guides: dict[int, GeneTest]


def gene_tests(profiles: GuideProfiles, genes: Mapping[str, Sequence[int]], seed: int) -> Tests:
    """Test genes, each given by the rows of its guides that have cells, and each guide by itself.

    ``seed`` deals genes into folds.

    Raises
    ------
    NothingToTest : there are no genes.
    """
    if not genes:
        raise NothingToTest("No gene has a guide with two cells or more: there is nothing to test.")
    found: dict[str | int, tuple[float, float, float]] = {}
    for names, metric in fold_metrics(profiles, genes, seed):
        traces = _Traces.of(profiles, metric)
        for name in names:
            found[name] = _statistics(profiles, np.array(genes[name]), metric, traces)
            found |= {int(row): _statistics(profiles, np.array([row]), metric, traces) for row in genes[name]}
    tests = dict(zip(found, _tests(list(found.values())), strict=True))
    guides = {row: tests[row] for row in tests if isinstance(row, int)}
    return Tests({name: tests[name] for name in genes}, guides)


def fold_metrics(
    profiles: GuideProfiles, genes: Mapping[str, Sequence[int]], seed: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Folds of genes, each with the weights of directions (V, V) that the genes of all other folds give."""
    names = list(genes)
    fold = generator(seed, HitsStream.FOLDS).permutation(len(names)) % FOLDS
    apart = _apart(profiles, genes)
    agreed = {name: _agreed(apart[list(genes[name])]) for name in names}
    total = sum(agreed.values(), np.zeros_like(profiles.scatter))
    for number in range(min(FOLDS, len(names))):
        own = [name for name, part in zip(names, fold, strict=True) if part == number]
        signal = total - sum((agreed[name] for name in own), np.zeros_like(total))
        yield own, _direction_weights(signal / max(len(names) - len(own), 1), profiles, genes)


def gene_metric(profiles: GuideProfiles, genes: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Weights of directions (V, V) that all genes give: for what is none of them."""
    apart = _apart(profiles, genes)
    signal = sum((_agreed(apart[list(rows)]) for rows in genes.values()), np.zeros_like(profiles.scatter))
    return _direction_weights(signal / max(len(genes), 1), profiles, genes)


def combined(p_values: np.ndarray) -> np.ndarray:
    """Combine p-values that may depend on each other: (tests, G) -> (G,). Cauchy's combination (Liu and Xie 2020)."""
    if len(p_values) == 1:
        return p_values[0]
    return stats.cauchy.sf(stats.cauchy.isf(np.clip(p_values, 1e-300, 1 - 1e-16)).mean(axis=0))


def gene_test(profiles: GuideProfiles, guides: np.ndarray, metric: np.ndarray) -> GeneTest:
    """Test one gene: guides (k,), metric (V, V)."""
    return _tests([_statistics(profiles, guides, metric, _Traces.of(profiles, metric))])[0]


def _statistics(
    profiles: GuideProfiles, guides: np.ndarray, metric: np.ndarray, traces: "_Traces"
) -> tuple[float, float, float]:
    """Distance and statistic of a gene, as in ``GeneTest``, and the skewness of the statistic's null."""
    difference = np.vstack([profiles.profiles[guides], np.zeros(len(metric))])
    form = _form(len(guides))
    by_cells, by_guides = profiles.chance(guides)
    plain, weighted = (_product(form, difference, kernel) for kernel in (np.eye(len(metric)), metric))
    mean, variance, third = _cumulants(form, by_cells, by_guides, traces)
    centre = np.trace(form @ by_cells) * np.trace(profiles.scatter)
    centre += np.trace(form @ by_guides) * np.trace(profiles.between)
    return plain - centre, (weighted - mean) / np.sqrt(variance), third / variance**1.5


def _product(form: np.ndarray, difference: np.ndarray, kernel: np.ndarray) -> float:
    """Sum of form x (difference kernel difference'): (k, k), (k, V), (V, V) -> ()."""
    path = _path(*difference.shape)
    return float(np.einsum(_FORM_OF_PRODUCTS, form, difference, kernel, difference, optimize=path))


@cache
def _path(k: int, features: int) -> list[Any]:
    """The order of these products: to look for it takes longer than to multiply."""
    shapes = (k, k), (k, features), (features, features), (k, features)
    return np.einsum_path(_FORM_OF_PRODUCTS, *map(np.empty, shapes), optimize=True)[0]


def _tests(found: Sequence[tuple[float, float, float]]) -> list[GeneTest]:
    """P-values of all at once: SciPy takes as long for one as for thousands."""
    distances, statistics, skews = np.array(found).T
    p_values = np.maximum(stats.pearson3.sf(statistics, skews), SMALLEST)
    return [GeneTest(*map(float, row)) for row in zip(distances, statistics, p_values, strict=True)]


def _direction_weights(signal: np.ndarray, profiles: GuideProfiles, genes: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Weights of directions by how far other genes' guides agree in them, at most 1: (V, V) -> (V, V).

    ``signal`` is the mean over genes of the product of two guides' profiles.
    """
    sizes = profiles.cells[np.concatenate([list(rows) for rows in genes.values()])]
    noise = np.mean(1 / sizes) * np.trace(profiles.scatter) / len(signal) + np.trace(profiles.between) / len(signal)
    power, axes = np.linalg.eigh((signal + signal.T) / 2)
    power = np.maximum(power, 0)
    return (axes * (FLOOR + (1 - FLOOR) * power / (power + noise))) @ axes.T


def _apart(profiles: GuideProfiles, genes: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Profiles of genes' guides less what their batches explain: (U, V), 0 for all other guides.

    The error of the controls' mean and of a batch is the same for all its genes: it must not pass for a phenotype.
    """
    guides = np.array([row for rows in genes.values() for row in rows])
    shares, left = profiles.shares[guides], np.zeros_like(profiles.profiles)
    explained, *_ = np.linalg.lstsq(shares, profiles.profiles[guides], rcond=None)
    left[guides] = profiles.profiles[guides] - shares @ explained
    return left


def _agreed(profiles: np.ndarray) -> np.ndarray:
    """Mean product of two different guides' profiles: (k, V) -> (V, V); 0 for one guide."""
    k = len(profiles)
    if k < 2:
        return np.zeros((profiles.shape[1],) * 2)
    total = profiles.sum(axis=0)
    return (np.outer(total, total) - profiles.T @ profiles) / (k * (k - 1))


def _form(k: int) -> np.ndarray:
    """Coefficients of the products of k guides and the controls' mean, which comes last: (k + 1, k + 1).

    One guide alone has no pair: its own square counts, and the null takes off what chance makes of it.
    """
    form = np.empty((k + 1, k + 1))
    form[:k, :k] = 1 / (k * (k - 1)) if k > 1 else 1
    if k > 1:
        np.fill_diagonal(form, 0)
    form[:k, k] = form[k, :k] = -1 / k
    form[k, k] = 1
    return form


@dataclass(frozen=True)
class _Traces:
    """Traces of products of one, two and three of metric x scatter and metric x between: (2,), (2, 2), (2, 2, 2).

    They are the same for all genes with one metric, and take most of the time of a test.
    """

    one: np.ndarray
    two: np.ndarray
    three: np.ndarray

    @classmethod
    def of(cls, profiles: GuideProfiles, metric: np.ndarray) -> "_Traces":
        parts = (metric @ profiles.scatter, metric @ profiles.between)
        one = np.array([np.trace(b) for b in parts])
        two, three = np.empty((2, 2)), np.empty((2, 2, 2))
        for i, b in enumerate(parts):
            for j, d in enumerate(parts):
                product = b @ d
                two[i, j] = np.trace(product)
                three[i, j] = [np.trace(product @ f) for f in parts]
        return cls(one, two, three)


def _cumulants(
    form: np.ndarray, by_cells: np.ndarray, by_guides: np.ndarray, traces: _Traces
) -> tuple[float, float, float]:
    """First three cumulants of x' (form x metric) x, x ~ N(0, by_cells x scatter + by_guides x between).

    Traces of products of Kronecker products are products of traces.
    """
    parts = (form @ by_cells, form @ by_guides)
    first = sum(np.trace(a) * traces.one[i] for i, a in enumerate(parts))
    second = third = 0.0
    for i, a in enumerate(parts):
        for j, c in enumerate(parts):
            product = a @ c
            second += np.trace(product) * traces.two[i, j]
            third += sum(np.trace(product @ e) * traces.three[i, j, k] for k, e in enumerate(parts))
    return float(first), 2 * float(second), 8 * float(third)
