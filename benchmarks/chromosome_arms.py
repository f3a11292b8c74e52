"""Chromosome arms on planted maps: is an arm effect found and corrected, and are complexes on one arm left alone?

600 genes on 40 arms, 120 of them in 20 complexes; some complexes lie on one arm as a whole. Every gene gets its
complex's vector, its arm's, and noise. Asked of ``grape-ops evaluate --arms --correct-arms``: how often the test is
significant, with the effect and without; the same if neighbours were counted whether or not they share a complex
("naive"); what the correction leaves, and what it costs in mAP.
"""

import argparse
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from grape_ops.config import EvaluateSettings
from grape_ops.evaluate.chromosome_arms import CORRECTED, corrected_maps
from grape_ops.evaluate.confounding import nuisance_score
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.evaluate.retrieval import nearest
from grape_ops.groundtruth import GroundTruth
from record import write_record

GENES, COMPLEXES, SIZE, ARMS, DIMENSIONS = 600, 20, 6, 40, 32
COMPLEX_EFFECT = 1.2  # standard deviations of the noise
SETTINGS = EvaluateSettings(
    permutations=20, kmeans_runs=1, sweep_max=0, bootstrap=50, leiden_runs=1, leiden_resolutions=(1.0,), shuffles=199
)
CASES = [(effect, on_one_arm) for on_one_arm in (0, 2, 8) for effect in (0.0, 0.2, 0.4, 0.8)]


def planted_map(effect: float, on_one_arm: int, seed: int) -> tuple[AnnData, GroundTruth, dict[str, str]]:
    """Draw a map, its complexes and its arms."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(COMPLEXES), SIZE)
    arms = rng.choice(ARMS, GENES, p=rng.dirichlet(np.full(ARMS, 3.0)))
    for number in range(on_one_arm):
        arms[np.flatnonzero(labels == number)] = rng.integers(ARMS)
    vectors = rng.normal(size=(GENES, DIMENSIONS))
    vectors[: len(labels)] += COMPLEX_EFFECT * rng.normal(size=(COMPLEXES, DIMENSIONS))[labels]
    vectors += effect * rng.normal(size=(ARMS, DIMENSIONS))[arms]
    names = [f"G{gene:03d}" for gene in range(GENES)]
    members = {f"C{k}": [names[row] for row in np.flatnonzero(labels == k)] for k in range(COMPLEXES)}
    adata = AnnData(vectors.astype(np.float32), obs=pd.DataFrame(index=names))
    return (
        adata,
        GroundTruth.of("planted", members),
        {name: f"arm {arm}" for name, arm in zip(names, arms, strict=True)},
    )


def scored(effect: float, on_one_arm: int, seed: int) -> dict[str, float]:
    """Evaluate one map, before and after the correction."""
    adata, truth, arms = planted_map(effect, on_one_arm, seed)
    maps: dict[str, Any] = {"map": adata, **corrected_maps({"map": adata}, arms)}
    before, after = evaluate_maps(maps, truth, SETTINGS, seed, arms=arms)
    assert after.method == CORRECTED.format("map")
    arm, left = before.nuisance.arm, after.nuisance.arm
    assert arm is not None and left is not None
    table = pd.get_dummies(pd.Series(arms)).to_numpy(float)
    vectors, rng = np.asarray(adata.X, np.float64), np.random.default_rng(seed)
    naive = nuisance_score([nearest(vectors, 10)], table, SETTINGS.shuffles, rng)
    assert naive is not None
    return {
        "r2": arm.value,
        "chance": arm.chance,
        "significant": arm.p_value < 0.05,
        "naive_significant": naive["p_value"] < 0.05,
        "variance": arm.variance,
        "r2_corrected": left.value,
        "significant_corrected": left.p_value < 0.05,
        "map": before.map.value,
        "map_corrected": after.map.value,
    }


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer maps")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    maps, rows = 3 if arguments.quick else 40, []
    with threadpool_limits(1):
        for effect, on_one_arm in CASES:
            means = pd.DataFrame([scored(effect, on_one_arm, seed) for seed in range(maps)]).mean()
            cost = {"map_cost": means["map"] - means["map_corrected"]}
            rows.append({"effect": effect, "complexes_on_one_arm": on_one_arm, **means.to_dict(), **cost})
    shown = Table(*rows[0])
    for row in rows:
        shown.add_row(*(f"{value:.3g}" for value in row.values()))
    Console(width=200).print(shown)
    write_record(arguments.out, "chromosome_arms", {"maps": maps, "cases": rows})


if __name__ == "__main__":
    main()
