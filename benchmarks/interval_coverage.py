"""Do intervals over complexes hold the true score as often as they say, and equal methods differ as rarely?

Maps are drawn with complexes of random strength, the sizes those of the built-in truth. The true mAP is the mean over
many maps. Two maps drawn alike are two methods of equal merit: a difference called at p < 0.05 is a false one. Plain
percentiles of the same draws stand beside ours.
"""

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from grape_ops.evaluate.agreement import agreement
from grape_ops.evaluate.bootstrap import (
    CLUSTER_SCORES,
    bootstrap_clustering,
    bootstrap_map,
    complex_draws,
    difference,
    interval,
)
from grape_ops.evaluate.clustering import kmeans
from grape_ops.evaluate.retrieval import average_precision
from grape_ops.groundtruth import load_truth, membership
from record import write_record

DIMENSIONS, RUNS, DRAWS = 30, 20, 1000
PLAIN = 10**9  # of so many complexes expanded percentiles are plain ones


def draw_map(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vectors around centres whose strength differs by complex, from none to strong: (N,) -> (N, d)."""
    complexes = labels.max() + 1
    centres = rng.gamma(1, 0.5, (complexes, 1)) * rng.normal(size=(complexes, DIMENSIONS))
    return centres[labels] + rng.normal(size=(len(labels), DIMENSIONS))


def judge(
    vectors: np.ndarray, table: np.ndarray, draws: np.ndarray, rng: np.random.Generator
) -> dict[str, tuple[float, np.ndarray]]:
    """Each score of a map and its bootstrap: name -> value, (B,)."""
    labels, complexes = table.argmax(axis=1), table.shape[1]
    precision, found = average_precision(vectors, table), kmeans(vectors, complexes, RUNS, rng)
    scores, resampled = agreement(found, labels), bootstrap_clustering(found, labels, draws)
    partitions = {name: (scores[name].mean(), resampled[name]) for name in CLUSTER_SCORES}
    return {"map": (precision.mean(), bootstrap_map(precision, table, draws)), **partitions}


def trial(table: np.ndarray, maps: int, rng: np.random.Generator) -> dict[str, float]:
    """Coverage of mAP and share of false differences, ours and with plain percentiles."""
    labels, complexes = table.argmax(axis=1), table.shape[1]
    true = np.mean([average_precision(draw_map(labels, rng), table).mean() for _ in range(5 * maps)])
    hits: dict[str, list[bool]] = {}
    for _ in range(maps):
        draws = complex_draws(complexes, DRAWS, rng)
        one, other = (judge(draw_map(labels, rng), table, draws, rng) for _ in range(2))
        for name, count in (("", complexes), ("plain_", PLAIN)):
            bounds = interval(*one["map"], 0.95, count)
            hits.setdefault(f"{name}map_coverage", []).append(bounds["low"] <= true <= bounds["high"])
            for score, (value, values) in one.items():
                gap = difference(value - other[score][0], values - other[score][1], 0.95, count)
                hits.setdefault(f"{name}{score}_false_differences", []).append(gap["p_value"] < 0.05)
    return {name: float(np.mean(values)) for name, values in hits.items()}


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer maps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    maps = 50 if arguments.quick else 500
    truth = load_truth("complexes-14x106")
    whole = membership(truth, truth.genes)
    rng = np.random.default_rng(arguments.seed)
    figures: dict[str, object] = {"maps": maps, "wanted_coverage": 0.95, "wanted_false_differences": 0.05}
    shown = Table("complexes", "what", "ours", "plain percentiles")
    with threadpool_limits(1):
        for complexes in (14, 6):
            part = whole[whole[:, :complexes].any(axis=1), :complexes]
            rates = trial(part, maps, rng)
            figures[f"complexes_{complexes}"] = rates
            for name in (name for name in rates if not name.startswith("plain_")):
                shown.add_row(str(complexes), name, f"{rates[name]:.3f}", f"{rates['plain_' + name]:.3f}")
    Console(width=110).print(shown)
    write_record(arguments.out, "interval_coverage", figures)


if __name__ == "__main__":
    main()
