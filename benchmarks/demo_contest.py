"""Tables 1 and 2 on the demo screen, by the commands that make them on any screen.

    grape-ops simulate   --out DIR/screen --set simulate.seed=SEED
    grape-ops preprocess DIR/screen --out DIR/store --config small.yaml
    grape-ops benchmark  DIR/store --truth DIR/screen/truth.tsv --out DIR/benchmark --config small.yaml --work DIR/work
    grape-ops ablate     DIR/store --truth DIR/screen/truth.tsv --out DIR/ablations --config small.yaml --work DIR/work

What lies in DIR already is not done again, so that the benchmark may be stopped and gone on with.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from grape_ops.schema import STORE_FILE, TRUTH_FILE
from record import write_record


def grape_ops(*arguments: object) -> None:
    """Run the command line; what it prints is part of the benchmark's output."""
    command = [sys.executable, "-m", "grape_ops", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


def figures_of(folder: Path) -> dict[str, Any]:
    """Take the numbers of the printed table, and the differences in mAP from the first entry."""
    scores = json.loads((folder / "scores.json").read_text())
    first = scores[0]["method"]
    lines = []
    for entry in scores:
        gap = next((d for d in entry["differences"] if d["other"] == first and d["score"] == "map"), None)
        mean_ap = {key: entry["map"][key] for key in ("value", "low", "high", "seed_sd", "per_run", "p_value")}
        kmeans = {name: entry["kmeans"][name] for name in ("purity", "nmi", "ari")}
        clusters = {name: {"mean": part["mean"], "seed_sd": part["seed_sd"]} for name, part in kmeans.items()}
        own = {"method": entry["method"], "runs": entry["n_runs"], "map": mean_ap, **clusters, "cost": entry["cost"]}
        if gap is not None:
            own[f"map_minus_{first.replace(' ', '_')}"] = {k: gap[k] for k in ("value", "low", "high", "p_value")}
        lines.append(own)
    random = scores[0]["kmeans"]["random"]
    chance = {"map": scores[0]["map"]["chance"], **{name: random[name]["mean"] for name in ("purity", "nmi", "ari")}}
    genes = {key: scores[0][key] for key in ("n_genes", "n_complexes")}
    return {**genes, "chance": chance, "methods": lines, "table": (folder / "table.txt").read_text().splitlines()}


def main() -> None:
    """Make the screen, run both commands, and record their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--screen-seed", type=int, default=0, help="simulate.seed")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method")
    parser.add_argument("--ablation-seeds", type=int, default=3, help="runs of the reference and of each ablation")
    parser.add_argument("--ablations", default="", help="names, with commas; all that ship if empty")
    parser.add_argument("--jobs", type=int, default=0, help="jobs beside each other")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 steps, two ablations: shows that it runs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    screen, store, truth = options.dir / "screen", options.dir / "store", options.dir / "screen" / TRUTH_FILE
    if not truth.is_file():
        grape_ops("simulate", "--out", screen, "--set", f"simulate.seed={options.screen_seed}")
    if not (store / STORE_FILE).is_file():
        grape_ops("preprocess", screen, "--out", store, "--config", "small.yaml")
    quick = ["--set", "train.steps=20", "--set", "baselines.classifier.steps=20"] if options.quick else []
    names = "no_cycle,position_2" if options.quick else options.ablations
    few = [word for name in names.split(",") if name for word in ("--ablation", name)]
    seeds, ablated = (1, 1) if options.quick else (options.seeds, options.ablation_seeds)
    shared = [
        "--truth",
        truth,
        "--config",
        "small.yaml",
        "--work",
        options.dir / "work",
        "--jobs",
        options.jobs,
        *quick,
    ]
    grape_ops("benchmark", store, "--out", options.dir / "benchmark", "--seeds", seeds, *shared)
    grape_ops("ablate", store, "--out", options.dir / "ablations", "--seeds", ablated, *shared, *few)
    figures = {name: figures_of(options.dir / name) for name in ("benchmark", "ablations")}
    write_record(options.out, "demo_contest", figures)


if __name__ == "__main__":
    main()
