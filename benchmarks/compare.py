"""Run methods on one store per seed, score each map, and collect the figures: what the benchmarks of maps share."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config, load_config
from grape_ops.groundtruth import load_truth
from grape_ops.methods import find_methods, method_names
from grape_ops.power.recovery import recovery
from grape_ops.runner.jobs import Job
from grape_ops.runner.processes import do_jobs
from grape_ops.schema import TRUTH_FILE

# Steps of everything that is trained, to show that it runs.
QUICK = ("train.steps=30", "train.init.classifier.steps=30")
DRAWS = 2000
BOOTSTRAP = 2  # its stream of a seed; ``recovery`` draws from 0 and 1
Score = Callable[[Any, Path, Config, int], dict[str, Any]]


def options_of_methods(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose seeds, methods and settings."""
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2, 3, 4], metavar="A,B")
    parser.add_argument("--methods", default="random,engineered,classifier,impa,grape", metavar="A,B")
    parser.add_argument(
        "--config",
        default="recommended.yaml",
        help="settings of grape, and of impa: a file or a preset; recommended.yaml, the default, starts M from a "
        "classifier, small.yaml from noise, as the paper does",
    )
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; repeatable")
    parser.add_argument("--quick", action="store_true", help="one seed, a few steps: shows that it runs")
    parser.add_argument("--store-only", type=Path, metavar="DIR", help="write DIR/seedN for each seed, and stop")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep stores and maps there; what is there is kept")
    parser.add_argument("--out", help="JSON file to write")


def compare(
    options: argparse.Namespace,
    work: Path,
    write: Callable[[int, Path], None],
    score: Score | None = None,
    decoys: bool = False,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score every method on the store of every seed: -> figures a method, paired differences."""
    if not options.out:
        raise SystemExit("Give --out FILE, or --store-only DIR.")
    methods = options.methods.split(",")
    known = [name for name in methods if name in method_names()]
    find_methods(methods)
    seeds = options.seeds[:1] if options.quick else options.seeds
    overrides = [*options.set, *(QUICK if options.quick else [])]
    scores: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        store = work / f"seed{seed}" / "store"
        if not store.exists():
            write(seed, store)
        config = load_config(options.config, [*overrides, f"seed={seed}"])
        for job in jobs_on(store, work / f"seed{seed}" / "jobs", known, config):
            seconds = round(job.cost()["wall_s"], 1)
            for name, vectors in job.maps_asked_for().items():
                if score is None:
                    truth = load_truth(str(store / TRUTH_FILE))
                    result = recovery(vectors, truth, config.evaluate, seed, decoys)
                else:
                    result = score(vectors, store, config, seed)
                scores.setdefault(name, []).append(result | {"seconds": seconds})
                print(f"seed {seed}  {name:20}  mAP {result['map']:.3f}  {seconds:.0f} s", flush=True)
    return over_screens(scores), paired_differences(scores)


def jobs_on(store: Path, work: Path, methods: Sequence[str], config: Config) -> list[Job]:
    """Do methods on a store, one after the other, with the seed of the settings; what is done is not done again."""
    cells = store_fingerprint(CropStore.open(store))
    jobs = [Job.of(method, config.seed, config, store, cells, work) for method in methods]
    do_jobs(jobs, store.parent.name, at_a_time=1)
    return jobs


def print_figures(figures: dict[str, Any], differences: Sequence[dict[str, Any]]) -> None:
    """Print a table of methods and one of differences."""
    names = list(dict.fromkeys(name for row in figures.values() for name in row["sd"]))
    width = max(16, *(len(method) + 2 for method in figures))
    print(f"{'method':{width}}" + "".join(f"{name:>20}" for name in names))
    for method, row in figures.items():
        cells = []
        for name in names:
            spread = row["sd"].get(name)
            cells.append(f"{row[name]:.3f}" + (f" ± {spread:.3f}" if spread is not None else "") if name in row else "")
        print(f"{method:{width}}" + "".join(f"{cell:>20}" for cell in cells))
    for row in differences:
        print(f"{row['first']} - {row['second']}: mAP {row['map']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]")


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def over_screens(scores: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Mean of every score over planted screens, with its spread: method -> one dict a screen -> method -> figures.

    Means stand under the scores' own names; ``sd`` holds their standard deviations, ``per_seed`` the mAP of each
    screen. A score that a screen lacks (None) is left out of the mean.
    """
    figures: dict[str, dict[str, Any]] = {}
    for method, runs in scores.items():
        own: dict[str, Any] = {}
        spread: dict[str, float | None] = {}
        for name in dict.fromkeys(name for run in runs for name, value in run.items() if isinstance(value, float)):
            values = [run[name] for run in runs if run.get(name) is not None]
            own[name] = round(float(np.mean(values)), 4)
            spread[name] = round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None
        figures[method] = own | {"sd": spread, "per_seed": [round(run["map"], 4) for run in runs]}
    return figures


def paired_differences(scores: Mapping[str, Sequence[dict[str, Any]]], seed: int = 0) -> list[dict[str, Any]]:
    """mAP of every method against every other on the same planted screens.

    Screens are drawn with replacement, and complexes within each: genes of a complex stand or fall together, and so do
    the complexes of a screen that share its training seed.

    Returns
    -------
    ``{"first", "second", "map", "low", "high", "share_above"}`` for each pair: the mean difference first - second, its
    95 % interval, and the share of draws above 0.
    """
    methods = list(scores)
    table = {method: [np.array(run["complex_ap"]) for run in runs] for method, runs in scores.items()}
    n_screens = len(next(iter(table.values())))
    rng = np.random.default_rng([seed, BOOTSTRAP])
    draws: dict[str, list[float]] = {method: [] for method in methods}
    for _ in range(DRAWS):
        screens = rng.integers(n_screens, size=n_screens)
        chosen = [rng.integers(len(table[methods[0]][s]), size=len(table[methods[0]][s])) for s in screens]
        for method in methods:
            parts = [table[method][s][c].mean() for s, c in zip(screens, chosen, strict=True)]
            draws[method].append(float(np.mean(parts)))
    rows = []
    for i, first in enumerate(methods):
        for second in methods[i + 1 :]:
            gap = np.array(draws[first]) - np.array(draws[second])
            own = float(np.mean([a["map"] - b["map"] for a, b in zip(scores[first], scores[second], strict=True)]))
            low, high = np.quantile(gap, [0.025, 0.975])
            row = {"first": first, "second": second, "map": own, "low": float(low), "high": float(high)}
            row["share_above"] = float((gap > 0).mean())
            rows.append({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})
    return rows
