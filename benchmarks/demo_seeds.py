"""Does GRAPE find the planted complexes of the demo screen, and nothing where there is nothing to find?

For each simulation seed the screen is simulated and cut into crops once with its own labels and once with the labels
(gene and guide) of the targeting cells shuffled among them, and both are trained, embedded and evaluated by the demo's
settings. The p-value is that of mAP under permutations of the complexes' labels.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from grape_ops.config import EvaluateSettings
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.groundtruth import load_truth
from grape_ops.schema import CELLS_FILE, CONTROL_LABEL, GENE, GUIDE, TRUTH_FILE
from record import write_record

POSITIONS = (1, 2)


def grape_ops(*arguments: object) -> None:
    """Run the command line."""
    command = [sys.executable, "-m", "grape_ops", *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{' '.join(command)}\n{answer.stderr}")


def shuffle_labels(screen: Path, seed: int) -> None:
    """Give every targeting cell the gene and guide of another one, drawn without replacement."""
    cells = pd.read_parquet(screen / CELLS_FILE)
    rows = np.flatnonzero(cells[GENE] != CONTROL_LABEL)
    drawn = np.random.default_rng([seed, 1]).permutation(rows)
    for column in (GENE, GUIDE):
        labels = cells[column].to_numpy(object, copy=True)
        labels[rows] = labels[drawn]
        cells[column] = labels
    cells.to_parquet(screen / CELLS_FILE)


def one_run(folder: Path, seed: int, shuffled: bool, extra: list[str], threads: int) -> dict[str, Any]:
    """Go from simulation to scores of positions 1 and 2."""
    screen, store, run = folder / "screen", folder / "store", folder / "run"
    simulated = [word for word in extra if word.startswith("simulate.")]
    trained = [word for word in extra if word.startswith("train.")]
    grape_ops("simulate", "--out", screen, "--set", f"simulate.seed={seed}", *_sets(simulated))
    if shuffled:
        shuffle_labels(screen, seed)
    grape_ops("preprocess", screen, "--out", store, "--config", "small.yaml")
    settings = [f"seed={seed}", f"train.threads={threads}", "train.evaluate_every=0", *trained]
    grape_ops("train", store, "--out", run, "--config", "small.yaml", *_sets(settings))
    maps = {}
    for position in POSITIONS:
        grape_ops("embed", run, "--position", position, "--out", folder / f"{position}.h5ad")
        maps[f"position {position}"] = anndata.read_h5ad(folder / f"{position}.h5ad")
    scores = evaluate_maps(maps, load_truth(str(screen / TRUTH_FILE)), EvaluateSettings(), seed)
    result: dict[str, Any] = {"seed": seed, "shuffled": shuffled}
    for position, score in zip(POSITIONS, scores, strict=True):
        result[f"position_{position}"] = {key: getattr(score.map, key) for key in ("value", "chance", "p_value")}
    return result


def _sets(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="simulation seeds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="simulate. and train. settings")
    parser.add_argument("--quick", action="store_true", help="one seed, 60 steps: shows that it runs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.quick:
        seeds, options.set = seeds[:1], [*options.set, "train.steps=60"]
    jobs = list(itertools.product(seeds, (False, True)))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:

        def run_job(job: tuple[int, bool]) -> dict[str, Any]:
            seed, shuffled = job
            return one_run(Path(folder) / f"{seed}-{shuffled}", seed, shuffled, options.set, threads=1)

        runs = list(pool.map(run_job, jobs))
    print("seed  labels     position 1: mAP (chance)      p    position 2: mAP (chance)      p")
    for run in runs:
        cells = [
            f"{run[p]['value']:17.3f} ({run[p]['chance']:.3f}) {run[p]['p_value']:9.4f}"
            for p in ("position_1", "position_2")
        ]
        print(f"{run['seed']:4}  {'shuffled' if run['shuffled'] else 'true':8} {'  '.join(cells)}")
    figures = {
        "runs": runs,
        "true_p_below_0_01": sum(r["position_1"]["p_value"] < 0.01 for r in runs if not r["shuffled"]),
        "shuffled_p_below_0_01": sum(r["position_1"]["p_value"] < 0.01 for r in runs if r["shuffled"]),
        "seeds": len(seeds),
    }
    write_record(options.out, "demo_seeds", figures)


if __name__ == "__main__":
    main()
