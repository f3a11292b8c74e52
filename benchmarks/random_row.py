"""Reproduce the paper's Random row (Table 1) by our definitions: uniform vectors, 106 genes, 14 complexes.

The paper scores one random map; here many are drawn, so that the expectation and its spread are seen. ± is, as in
the paper, the spread over k-means runs on one map.
"""

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from grape_ops.evaluate.clustering import kmeans_scores
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision
from grape_ops.groundtruth import load_truth, membership
from record import write_record

PAPER = {"map": 0.104, "purity": 0.257, "nmi": 0.310, "ari": 0.000}
DIMENSIONS, CLUSTERS = 500, 14


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer random maps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()

    maps, runs = (20, 100) if arguments.quick else (200, 100)
    rng = np.random.default_rng(arguments.seed)
    truth = load_truth("complexes-14x106")
    table = membership(truth, truth.genes)
    means: dict[str, list[float]] = {name: [] for name in PAPER}
    spreads: dict[str, list[float]] = {name: [] for name in PAPER if name != "map"}
    with threadpool_limits(1):
        for _ in range(maps):
            vectors = rng.random((len(table), DIMENSIONS))
            means["map"].append(average_precision(vectors, table).mean())
            scores = kmeans_scores(vectors, table.argmax(axis=1), CLUSTERS, runs, rng)
            for name, values in spreads.items():
                means[name].append(scores[name].mean())
                values.append(scores[name].std())

    figures: dict[str, object] = {"maps": maps, "kmeans_runs": runs, "truth_sha256": truth.sha256}
    figures["map_chance_exact"] = float(chance_average_precision(table).mean())
    shown = Table("score", "paper", "mean over maps", "sd over maps", "sd over k-means runs", "distance from the paper")
    for name, paper in PAPER.items():
        mean, sd = float(np.mean(means[name])), float(np.std(means[name]))
        within = float(np.mean(spreads[name])) if name in spreads else None
        figures |= {name: mean, f"{name}_sd_maps": sd, f"{name}_sd_runs": within, f"{name}_distance": abs(mean - paper)}
        shown.add_row(
            name, f"{paper:.3f}", f"{mean:.4f}", f"{sd:.4f}", "" if within is None else f"{within:.4f}",
            f"{abs(mean - paper):.4f}",
        )  # fmt: skip
    Console(width=110).print(shown)
    write_record(arguments.out, "random_row", figures)


if __name__ == "__main__":
    main()
