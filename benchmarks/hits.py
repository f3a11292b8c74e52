"""Which genes have a phenotype: false hits and power of ``grape-ops hits`` and of what others do, on real cells.

Screens are put together from untouched cells of BBBC021, measured by image statistics. A phenotype is the mean change
that planting one on the pixels makes in these features; it is added to the share of a gene's cells that show it. Guides
of genes and controls alike may differ by off-target shifts. ``rate_at_05`` is the share of genes without a phenotype
that have p < 0.05, by control cells per batch, layout and off-target shift. ``power`` is the share of genes with a
phenotype beyond the 5th percentile of the p-values of the method's own genes without one, so that all methods are
compared at equal false positives. ``seconds`` are per screen; ``large`` is a screen of 5,000 genes and 500,000 cells
with features at hand.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

from bbbc021 import write_pool
from grape_ops.cells.gene_effects import CellSums
from grape_ops.cells.store import CropStore
from grape_ops.config import load_config
from grape_ops.hits.cell_features import cell_features
from grape_ops.hits.gene_test import gene_tests
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.power.planted_store import read_source
from planted_bbbc021 import write_planted
from record import write_record

GENES, GUIDES, CELLS, CONTROL_GUIDES, BATCHES = 30, 4, 20, 16, 4
N_GUIDES = GENES * GUIDES + CONTROL_GUIDES
PERMUTATIONS, BOOTSTRAP = 200, 200


@dataclass(frozen=True)
class Design:
    """How a screen is put together.

    Attributes
    ----------
    controls : control cells per batch.
    confounded : all cells of a gene lie on one batch.
    off_target : length of the shift of each guide, in that of a phenotype of size 1.
    effect : size of the genes' phenotypes; 1 is as planted.
    penetrance : share of a working guide's cells that show it.
    working : guides that work.
    """

    controls: int = 192
    confounded: bool = False
    off_target: float = 0.0
    effect: float = 0.0
    penetrance: float = 1.0
    working: int = GUIDES

    @property
    def null(self) -> "Design":
        """The same without phenotypes."""
        return replace(self, effect=0.0, penetrance=1.0, working=GUIDES)

    @property
    def name(self) -> str:
        """For the record."""
        if not self.effect:
            layout = "confounded" if self.confounded else "even"
            return f"{self.controls} controls per batch, {layout}, off-target {self.off_target:g}"
        guides = f"{self.working} of {GUIDES} guides work, {self.penetrance:.0%} of cells"
        return f"effect {self.effect:g}, off-target {self.off_target:g}, {guides}"


@dataclass(frozen=True)
class Screen:
    """Cells (n, V) with their guides and batches; guides of genes come first, those of controls last."""

    values: np.ndarray
    guides: np.ndarray
    batches: np.ndarray

    @property
    def controls(self) -> np.ndarray:
        """Which cells are controls: (n,) bool."""
        return self.guides >= GENES * GUIDES

    def of_gene(self, gene: int) -> np.ndarray:
        """The cells of a gene: (n,) bool."""
        return self.guides // GUIDES == gene


class Cells:
    """Untouched cells (N, V) with their batches, and the changes (K, V) that phenotypes make in their features."""

    def __init__(self, values: np.ndarray, batches: np.ndarray, changes: np.ndarray):
        self.values, self.changes = values, changes
        counts = np.bincount(batches)
        self.by_batch = [np.flatnonzero(batches == batch) for batch in np.argsort(-counts)[:BATCHES]]

    def screen(self, design: Design, seed: int) -> Screen:
        """Put a screen together; no cell is used twice."""
        rng = np.random.default_rng(seed)
        free = [list(rng.permutation(own)) for own in self.by_batch]
        drawn: list[tuple[int, int, int]] = []  # cell, guide, batch

        def take(guide: int, wanted: np.ndarray) -> None:
            for batch in wanted:
                own = batch if free[batch] else int(np.argmax([len(part) for part in free]))
                drawn.append((free[own].pop(), guide, own))

        for number in range(design.controls * BATCHES):
            take(GENES * GUIDES + int(rng.integers(CONTROL_GUIDES)), np.array([number % BATCHES]))
        for guide in range(GENES * GUIDES):
            home = guide // GUIDES % BATCHES
            take(guide, np.full(CELLS, home) if design.confounded else rng.integers(0, BATCHES, CELLS))
        rows, guides, batches = np.array(drawn).T
        values, genes = self.values[rows].copy(), guides // GUIDES
        kinds = self.changes[rng.integers(0, len(self.changes), GENES)]
        shows = (genes < GENES) & (guides % GUIDES < design.working) & (rng.random(len(guides)) < design.penetrance)
        values[shows] += design.effect * kinds[genes[shows]]
        shifts = rng.normal(size=(N_GUIDES, len(self.changes))) / np.sqrt(len(self.changes))
        values += design.off_target * (shifts @ self.changes)[guides]
        return Screen(values, guides, batches)


def ours(screen: Screen, seed: int) -> np.ndarray:
    """The test of ``grape-ops hits``: (GENES,) p-values."""
    sums = CellSums.zeros(N_GUIDES, BATCHES, screen.values.shape[1])
    sums.add(screen.values, screen.guides, screen.batches)
    profiles = GuideProfiles.of(sums, np.arange(N_GUIDES) >= GENES * GUIDES)
    return np.array([test.p_value for test in gene_tests(profiles, rows_of(GENES), seed).genes.values()])


def rows_of(genes: int) -> dict[str, list[int]]:
    """Rows of each gene's guides."""
    return {str(gene): list(range(gene * GUIDES, (gene + 1) * GUIDES)) for gene in range(genes)}


def adjusted(screen: Screen) -> np.ndarray:
    """Features in standard deviations of each batch's controls, as the peers take them: (n, V)."""
    found = np.empty_like(screen.values)
    for batch in range(BATCHES):
        own = screen.batches == batch
        control = screen.values[own & screen.controls]
        found[own] = (screen.values[own] - control.mean(axis=0)) / np.maximum(control.std(axis=0), 1e-6)
    return found


def energy(screen: Screen, seed: int) -> np.ndarray:
    """Energy distance of a gene's cells to control cells on 20 principal components, cells permuted (EFAAR)."""
    rng, values = np.random.default_rng(seed), adjusted(screen)
    centre = values[screen.controls].mean(axis=0)
    _, _, axes = np.linalg.svd(values[screen.controls] - centre, full_matrices=False)
    values = (values - centre) @ axes[:20].T
    found = []
    for gene in range(GENES):
        chosen = np.flatnonzero(screen.of_gene(gene) | screen.controls)
        apart = cdist(values[chosen], values[chosen])
        own = screen.of_gene(gene)[chosen]
        labels = np.stack([own, *(rng.permutation(own) for _ in range(PERMUTATIONS))]).astype(float)
        m, n = own.sum(), (~own).sum()
        to_own, to_rest = labels @ apart, (1 - labels) @ apart
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


OURS = "grape-ops hits"
METHODS: dict[str, Callable[[Screen, int], np.ndarray]] = {
    OURS: ours,
    "energy distance, cells permuted": energy,
    "Mann-Whitney on cells, BH": mann_whitney,
    "bootstrap of guides, median": bootstrap,
}


def measured(store: CropStore, folder: Path, seed: int) -> Cells:
    """Statistics of a store's control cells, and the changes that planting phenotypes on them makes."""
    (features,) = cell_features(store, load_config())
    values = features.read(features.cells)
    if not (folder / "planted").exists():
        write_planted(read_source(store), seed, 32, None, folder / "planted")
    planted = CropStore.open(folder / "planted")
    (own,) = cell_features(planted, load_config())
    at = {name: column for column, name in enumerate(own.names)}
    kept = [column for column, name in enumerate(features.names) if name in at]
    cells = own.read(own.cells)[:, [at[features.names[column]] for column in kept]]
    control = cells[planted.labels == planted.control_label].mean(axis=0)
    genes = range(planted.control_label)
    changes = np.array([cells[planted.labels == gene].mean(axis=0) - control for gene in genes])
    controls = store.labels == store.control_label
    return Cells(values[controls][:, kept], store.batch_codes[controls], changes)


def large(genes: int, cells: int, width: int) -> dict[str, float]:
    """Seconds and peak memory of a screen whose features are at hand, read in blocks."""
    rng, begun = np.random.default_rng(0), time.perf_counter()
    n_guides, batches = genes * GUIDES + 200, 50
    sums = CellSums.zeros(n_guides, batches, width)
    block = rng.normal(size=(4096, width))
    for first in range(0, cells, len(block)):
        n = min(len(block), cells - first)
        sums.add(block[:n], rng.integers(0, n_guides, n), rng.integers(0, batches, n))
    gene_tests(GuideProfiles.of(sums, np.arange(n_guides) >= genes * GUIDES), rows_of(genes), 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = round(time.perf_counter() - begun, 1)
    return {"genes": genes, "cells": cells, "seconds": took, "peak_gib": round(peak, 2)}


def main() -> None:
    """Measure, test, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], default=list(range(5)))
    parser.add_argument("--quick", action="store_true", help="one seed and few settings: shows that it runs")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the pool; what is there is kept")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    first = {} if options.quick else {"large": large(5000, 500_000, 95)}  # before anything else takes memory
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "pool").exists():
            write_pool(work / "pool")
        cells = measured(CropStore.open(work / "pool"), work, 0)
    counts = (24, 192) if options.quick else (24, 48, 192)
    nulls = [Design(controls=n, confounded=c, off_target=o) for n in counts for c in (False, True) for o in (0.0, 0.3)]
    plain, shifted = Design(), Design(off_target=0.3)
    effects = [replace(base, effect=e) for base in (plain, shifted) for e in (0.25, 0.5, 1.0)]
    effects += [replace(shifted, effect=1.0, working=n) for n in (1, 2, 3)]
    effects += [replace(shifted, effect=1.0, penetrance=share) for share in (0.2, 0.5)]
    found: dict[str, dict[str, Any]] = {}
    for name, method in METHODS.items():
        begun = time.perf_counter()
        null = {design: np.array([method(cells.screen(design, seed), seed) for seed in seeds]) for design in nulls}
        beyond = {}
        for design in effects:
            p_values = np.array([method(cells.screen(design, 100 + seed), seed) for seed in seeds])
            beyond[design.name] = round(float((p_values <= np.quantile(null[design.null], 0.05)).mean()), 4)
        found[name] = {
            "rate_at_05": {design.name: round(float((p < 0.05).mean()), 4) for design, p in null.items()},
            "power": beyond,
            "seconds": round((time.perf_counter() - begun) / len(seeds) / (len(nulls) + len(effects)), 2),
        }
    for figure in ("rate_at_05", "power"):
        print(f"\n{figure}: {'; '.join(METHODS)}")
        for key in found[OURS][figure]:
            print(f"  {key:62}" + "".join(f"{found[name][figure][key]:10.3f}" for name in METHODS))
    rates = list(found[OURS]["rate_at_05"].values())
    print(f"rate at 0.05 of {OURS}: {np.mean(rates):.3f} ({min(rates):.3f} to {max(rates):.3f})")
    write_record(options.out, "hits", found | first | {"seeds": seeds})


if __name__ == "__main__":
    main()
