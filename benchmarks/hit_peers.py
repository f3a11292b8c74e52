"""Tests of genes that others use, to hold beside ``grape-ops hits``; each takes a screen and a seed."""

from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

from hit_screens import BATCHES, CELLS, GENES, GUIDES, N_GUIDES, Screen

PERMUTATIONS, BOOTSTRAP = 200, 200


def adjusted(screen: Screen) -> np.ndarray:
    """Features in standard deviations of each batch's controls, as the peers take them: (n, V)."""
    found = np.empty_like(screen.values)
    for batch in range(BATCHES):
        own = screen.batches == batch
        control = screen.values[own & screen.controls]
        found[own] = (screen.values[own] - control.mean(axis=0)) / np.maximum(control.std(axis=0), 1e-6)
    return found


def guide_means(screen: Screen) -> np.ndarray:
    """Mean adjusted features of each guide's first cells, as many as guides of genes have: (U, V).

    For tests that take guides to have equally many cells.
    """
    values, found = adjusted(screen), np.zeros((N_GUIDES, screen.values.shape[1]))
    for guide in range(N_GUIDES):
        cells = np.flatnonzero(screen.guides == guide)[:CELLS]
        found[guide] = values[cells].mean(axis=0) if len(cells) else 0
    return found


def energy(screen: Screen, seed: int) -> np.ndarray:
    """Energy distance of a gene's cells to control cells on 20 principal components, cells permuted (EFAAR)."""
    rng, values = np.random.default_rng(seed), adjusted(screen)
    centre = values[screen.controls].mean(axis=0)
    _, _, axes = np.linalg.svd(values[screen.controls] - centre, full_matrices=False)
    values = (values - centre) @ axes[:20].T
    values = values.astype(np.float32)
    found = []
    for gene in range(GENES):
        chosen = np.flatnonzero(screen.of_gene(gene) | screen.controls)
        apart = cdist(values[chosen], values[chosen]).astype(np.float32)
        own = screen.of_gene(gene)[chosen]
        labels = np.stack([own, *(rng.permutation(own) for _ in range(PERMUTATIONS))]).astype(np.float32)
        m, n = own.sum(), (~own).sum()
        to_own = labels @ apart
        to_rest = apart.sum(axis=0) - to_own
        cross, within = (to_own * (1 - labels)).sum(axis=1) / (m * n), (to_own * labels).sum(axis=1) / m**2
        distance = 2 * cross - within - (to_rest * (1 - labels)).sum(axis=1) / n**2
        found.append((1 + (distance[1:] >= distance[0]).sum()) / (1 + PERMUTATIONS))
    return np.array(found)


def mann_whitney(screen: Screen, seed: int) -> np.ndarray:
    """Mann-Whitney of cells feature by feature; the gene has the smallest p-value, corrected over features."""
    values = adjusted(screen)
    found = []
    for gene in range(GENES):
        p = stats.mannwhitneyu(values[screen.of_gene(gene)], values[screen.controls], method="asymptotic").pvalue
        found.append(stats.false_discovery_control(np.nan_to_num(p, nan=1.0)).min())
    return np.array(found)


def bootstrap(screen: Screen, seed: int) -> np.ndarray:
    """Each guide's median profile beside medians of as many cells of one control guide; a gene's median (brieflow)."""
    rng, values = np.random.default_rng(seed), adjusted(screen)
    controls = [np.flatnonzero(screen.guides == guide) for guide in range(GENES * GUIDES, N_GUIDES)]
    controls = [own for own in controls if len(own) > 1]
    centre = np.median(values[screen.controls], axis=0)
    null: dict[int, np.ndarray] = {}
    found = []
    for gene in range(GENES):
        own = []
        for guide in range(gene * GUIDES, (gene + 1) * GUIDES):
            cells = np.flatnonzero(screen.guides == guide)
            if len(cells) not in null:
                drawn = [rng.choice(controls[rng.integers(len(controls))], len(cells)) for _ in range(BOOTSTRAP)]
                null[len(cells)] = np.array([np.linalg.norm(np.median(values[d], axis=0) - centre) for d in drawn])
            size = np.linalg.norm(np.median(values[cells], axis=0) - centre)
            own.append((1 + (null[len(cells)] >= size).sum()) / (1 + BOOTSTRAP))
        found.append(np.median(own))
    return np.array(found)


PEERS: dict[str, Callable[[Screen, int], np.ndarray]] = {
    "energy distance, cells permuted": energy,
    "Mann-Whitney on cells, BH": mann_whitney,
    "bootstrap of guides, median": bootstrap,
}
