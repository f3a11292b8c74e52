"""Time the evaluation against plain library loops, both in one run and on one thread.

The loops are what one writes first: scikit-learn's KMeans run by run with its scores, and scikit-learn's
average_precision_score query by query. Each side is timed equally often and its best time counts. Both sides
must agree: mAP to 1e-12, the sweep within sampling error.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, average_precision_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.metrics.pairwise import cosine_similarity
from threadpoolctl import threadpool_limits

from grape_ops.evaluate.clustering import sweep
from grape_ops.evaluate.recall import known_pairs, recall_scores
from grape_ops.evaluate.retrieval import average_precision
from grape_ops.evaluate.significance import permute_labels
from grape_ops.groundtruth import load_truth, membership
from record import write_record

DIMENSIONS, GROUP = 500, 8

# Run in a process of its own: the peak of this one would hold everything that came before.
PEAK = """
import numpy as np
from grape_ops.evaluate.retrieval import average_precision
genes, group = {genes}, {group}
vectors = np.random.default_rng(0).random((genes, {dimensions}), dtype=np.float32)
average_precision(vectors, np.eye(-(-genes // group), dtype=bool)[np.arange(genes) // group])
lines = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def best_time(act: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Shortest of several times, in seconds, and the last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = act()
        times.append(time.perf_counter() - start)
    return min(times), result


def library_sweep(vectors: np.ndarray, truth: np.ndarray, ks: range, runs: int) -> np.ndarray:
    """Purity, NMI and ARI of each k, mean over runs: (len(ks), 3)."""
    lines = []
    for k in ks:
        scores = []
        for seed in range(runs):
            labels = KMeans(k, init="random", n_init=1, random_state=seed).fit_predict(vectors)
            purity = contingency_matrix(truth, labels).max(axis=0).sum() / len(truth)
            nmi = normalized_mutual_info_score(truth, labels)
            scores.append((purity, nmi, adjusted_rand_score(truth, labels)))
        lines.append(np.mean(scores, axis=0))
    return np.array(lines)


def library_map(vectors: np.ndarray, labels: np.ndarray) -> float:
    """mAP query by query."""
    similarity = cosine_similarity(vectors.astype(np.float64))
    same = labels[:, None] == labels
    others = ~np.eye(len(labels), dtype=bool)
    return float(
        np.mean([average_precision_score(same[i, others[i]], similarity[i, others[i]]) for i in range(len(labels))])
    )


def peak_megabytes(genes: int) -> float | None:
    """Peak memory of a process that computes mAP and nothing else; None where the system does not tell."""
    code = PEAK.format(genes=genes, group=GROUP, dimensions=DIMENSIONS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return int(done.stdout) / 1024 if done.returncode == 0 else None


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes: ratios are then only a hint")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    runs, genes, ks, repeats = (20, 1500, range(5, 31, 5), 1) if arguments.quick else (100, 5000, range(5, 31), 3)

    rng = np.random.default_rng(0)
    truth = load_truth("complexes-14x106")
    table = membership(truth, truth.genes)
    classes = table.argmax(axis=1)
    small = rng.random((len(table), DIMENSIONS))
    large = rng.random((genes, DIMENSIONS), dtype=np.float32)
    groups = np.arange(genes) // GROUP
    large_table = np.eye(groups.max() + 1, dtype=bool)[groups]
    with threadpool_limits(1):
        sweep_library, expected = best_time(lambda: library_sweep(small, classes, ks, runs), repeats)
        sweep_ours, found = best_time(lambda: sweep(small, classes, ks, runs, np.random.default_rng(0)), repeats)
        map_library, map_expected = best_time(lambda: library_map(large, groups), repeats)
        map_ours, precision = best_time(lambda: average_precision(large, large_table), repeats)
        permutations, _ = best_time(lambda: permute_labels([small], table, 1000, np.random.default_rng(0)), repeats)
        pairs = known_pairs(large_table)
        recall, _ = best_time(lambda: recall_scores(large, pairs, (0.05, 0.1)), repeats)

    ours = np.array([[line[name]["mean"] for name in ("purity", "nmi", "ari")] for line in found])
    figures = {
        "quick": arguments.quick,
        "sweep_speedup": sweep_library / sweep_ours,
        "sweep_library_s": sweep_library,
        "sweep_ours_s": sweep_ours,
        "sweep_largest_gap": float(np.abs(ours - expected).max()),
        "map5000_speedup": map_library / map_ours,
        "map5000_genes": genes,
        "map5000_library_s": map_library,
        "map5000_ours_s": map_ours,
        "map5000_gap": abs(float(np.mean(precision)) - map_expected),
        "map5000_peak_mb": peak_megabytes(genes),
        "permutations_s": permutations,
        "recall5000_s": recall,
    }
    shown = Table("job", "library loop, s", "here, s", "times faster", "wanted")
    name = f"sweep k = {ks.start}..30, {len(ks)} values x {runs} runs"
    shown.add_row(name, f"{sweep_library:.2f}", f"{sweep_ours:.3f}", f"{sweep_library / sweep_ours:.1f}", "15")
    name = f"mAP of {genes} x {DIMENSIONS}"
    shown.add_row(name, f"{map_library:.2f}", f"{map_ours:.3f}", f"{map_library / map_ours:.1f}", "12")
    shown.add_row("1,000 label permutations, 106 genes", "", f"{permutations:.3f}", "", "at most 1 s")
    shown.add_row(f"recall of known pairs, {genes} genes", "", f"{recall:.2f}", "", "")
    shown.add_row("peak memory of that mAP", "", f"{figures['map5000_peak_mb']} MB", "", "under 600 MB")
    Console(width=110).print(shown)
    write_record(arguments.out, "evaluation_speed", figures)


if __name__ == "__main__":
    main()
