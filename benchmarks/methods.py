"""Tables 1 and 2, and agreement of halves, by the commands that make them on any screen.

The record holds the exact command lines.

``--cells`` says on which: ``demo`` simulates a screen and cuts its crops, ``planted_bbbc021`` and ``bbbc021_moa`` take
the stores of the benchmarks of these names (which evaluate the same maps by measures of their own besides).
What lies in ``--dir`` already is not done again, so that the benchmark may be stopped and gone on with.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from grape_ops.evaluate.print_scores import CLUSTERINGS
from grape_ops.evaluate.scores import read_scores
from grape_ops.schema import STORE_FILE, TRUTH_FILE
from record import write_record

SCRIPTS = Path(__file__).resolve().parent
QUICK = ("train.steps", "train.init.classifier.steps")


class CommandLines:
    """Runs command lines, and keeps them as a reader may repeat them, DIR standing for the folder."""

    def __init__(self, folder: Path):
        self.folder, self.lines = folder, list[str]()

    def run(self, program: str, *arguments: object, made: Path | None = None) -> None:
        """Run ``grape-ops`` or a script of this folder, unless the file it makes is there; its output is ours too."""
        line = shlex.join([program, *(self._shown(str(argument)) for argument in arguments)])
        self.lines.append(line)
        if made is not None and made.is_file():
            return
        start = ["-m", "grape_ops"] if program == "grape-ops" else []
        if subprocess.run([sys.executable, *start, *map(str, arguments)], check=False).returncode:
            raise SystemExit(f"failed: {line}")

    def _shown(self, word: str) -> str:
        """Name files as a reader of the project may, wherever it was called from."""
        for place, name in ((SCRIPTS, SCRIPTS.name), (self.folder, "DIR")):
            if Path(word).is_relative_to(place):
                return (Path(name) / Path(word).relative_to(place)).as_posix()
        return word


def make_cells(cells: str, seed: int, config: str, lines: CommandLines) -> tuple[Path, Path]:
    """Make the crop store of a seed: -> store, truth."""
    folder = lines.folder
    if cells != "demo":
        store, script = folder / f"seed{seed}", SCRIPTS / f"{cells}.py"
        lines.run("python", script, "--store-only", folder, "--seeds", seed, made=store / STORE_FILE)
        return store, store / TRUTH_FILE
    store, truth = folder / "store", folder / "screen" / TRUTH_FILE
    lines.run("grape-ops", "simulate", "--out", truth.parent, "--set", f"simulate.seed={seed}", made=truth)
    lines.run("grape-ops", "preprocess", truth.parent, "--out", store, "--config", config, made=store / STORE_FILE)
    return store, truth


def figures_of(folder: Path) -> dict[str, Any]:
    """Take the numbers of the printed table, and the differences in mAP from the first entry."""
    scores = read_scores(folder / "scores.json")
    first = scores[0]
    lines = []
    for entry in scores:
        gap = next((gap for gap in entry.differences if gap.other == first.method and gap.score == "map"), None)
        mean_ap = {key: getattr(entry.map, key) for key in ("value", "low", "high", "seed_sd", "per_run", "p_value")}
        kmeans = {name: getattr(entry.kmeans, name) for name in CLUSTERINGS}
        clusters = {name: {"mean": part.mean, "seed_sd": part.seed_sd} for name, part in kmeans.items()}
        own = {"method": entry.method, "runs": entry.n_runs, "map": mean_ap, **clusters, "cost": entry.cost}
        if gap is not None:
            numbers = {key: getattr(gap, key) for key in ("value", "low", "high", "p_value")}
            own[f"map_minus_{first.method.replace(' ', '_')}"] = numbers
        lines.append(own)
    chance = {"map": first.map.chance, **{name: getattr(first.kmeans.random, name).mean for name in CLUSTERINGS}}
    genes = {"n_genes": first.n_genes, "n_complexes": first.n_complexes}
    return {**genes, "chance": chance, "methods": lines, "table": (folder / "table.txt").read_text().splitlines()}


def main() -> None:
    """Make the cells, run both commands, and record their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--cells", choices=("demo", "planted_bbbc021", "bbbc021_moa"), default="demo")
    parser.add_argument("--screen-seed", type=int, default=0, help="seed of the screen or of the planted store")
    parser.add_argument("--config", default="small.yaml", help="preset or file")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; repeatable")
    parser.add_argument("--methods", default="", help="names, with commas; all that can run if empty")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method")
    parser.add_argument("--ablations", default="", help="names, with commas; all that ship if empty")
    parser.add_argument("--ablation-seeds", type=int, default=3, help="runs of each ablation; 0: no ablations")
    parser.add_argument("--trust", default="", help="methods whose maps of both halves of the cells are compared too")
    parser.add_argument("--jobs", type=int, default=0, help="jobs beside each other")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps, two ablations: shows that it runs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    lines = CommandLines(options.dir)
    store, truth = make_cells(options.cells, options.screen_seed, options.config, lines)
    if options.quick:
        options.seeds = options.ablation_seeds = 1
        options.methods, options.ablations = options.methods or "random,statistics,grape", "no_cycle,position_2"
        options.set = [*(f"{steps}=20" for steps in QUICK), *options.set]
    settings = ["--config", options.config, *repeated("--set", options.set)]
    shared = ["--truth", truth, "--work", options.dir / "work", "--jobs", options.jobs, *settings]
    figures: dict[str, Any] = {key: vars(options)[key] for key in ("cells", "screen_seed", "config")}
    for command, folder, seeds, chosen in (
        ("benchmark", "benchmark", options.seeds, repeated("--method", options.methods.split(","))),
        ("ablate", "ablations", options.ablation_seeds, repeated("--ablation", options.ablations.split(","))),
    ):
        if seeds:
            out = options.dir / folder
            lines.run("grape-ops", command, store, "--out", out, "--seeds", seeds, *shared, *chosen)
            figures[folder] = figures_of(out)
    if options.trust:
        out = options.dir / "trust"
        lines.run("grape-ops", "trust", store, "--out", out, "--methods", options.trust, *settings)
        figures["trust"] = pd.read_csv(out / "reproducibility.tsv", sep="\t").to_dict("records")
    write_record(options.out, f"{options.cells}_methods", {"commands": lines.lines} | figures)


def repeated(option: str, values: list[str]) -> list[str]:
    """Give an option once for each value."""
    return [word for value in values if value for word in (option, value)]


if __name__ == "__main__":
    main()
