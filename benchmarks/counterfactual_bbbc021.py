"""Do restyled cells show the phenotype? Evaluated with true counterfactuals on the planted screens.

Screens of ``planted_bbbc021.py`` at 32 px. Control cells that are in no screen are restyled to each pseudo-gene, and
compared with the same cells with the gene's effect planted; ``calibrate/restyled.py`` defines the scores. A recipe is a
preset without its ending, or an ablation laid over ``recommended.yaml``. ``by_gene`` holds the direction of each gene,
a list a seed. ``unrestyled``, ``mean_knockout`` and ``real_knockouts`` are what to read the figures against.
"""

import argparse
import hashlib
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bbbc021 import resized, write_pool
from compare import QUICK
from grape_ops.benchmark.ablations import read_ablation
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.power.counterfactual_reference import read_reference
from grape_ops.power.design import Design, draw_design
from grape_ops.power.planted_store import Source, read_source
from grape_ops.power.restyling_scores import (
    RESTYLED_CELLS,
    counterfactuals_of,
    map_scores,
    reference_scores,
    restyled_scores,
)
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import RUN_FILE
from grape_ops.train.loop import train
from grape_ops.train.run_folder import decisive_settings
from planted_bbbc021 import settings, write_planted
from record import package_commit, write_record

SIZE = 32
QUICK_CELLS = 24
PRESETS = ("recommended", "small", "large", "paper")


class Pool:
    """The untouched cells, read when they are first wanted."""

    def __init__(self, work: Path):
        self.folder = work / "pool"
        self._source: Source | None = None

    @property
    def source(self) -> Source:
        """The usable ones."""
        if self._source is None:
            if not self.folder.exists():
                write_pool(self.folder)
            self._source = read_source(CropStore.open(self.folder))
        return self._source

    def design(self, seed: int) -> Design:
        """What is planted by a seed."""
        source = self.source
        return draw_design(source.batch_codes, len(source.traits), settings(None), seed)

    def store(self, seed: int, folder: Path) -> CropStore:
        """The planted store of a seed, written if it is not there."""
        if not folder.exists():
            write_planted(self.source, seed, SIZE, None, folder)
        return CropStore.open(folder)


def read_recipe(name: str, overrides: list[str], seed: int, reference: Config | None = None) -> Config:
    """Settings of a preset, or of an ablation of the reference; ``overrides`` are laid over either.

    The reference is the recommended preset if none is given.
    """
    more = [*overrides, f"seed={seed}"]
    if name in PRESETS:
        return load_config(f"{name}.yaml", more)
    config = read_ablation(name, reference or load_config("recommended.yaml")).config
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config.model_dump(mode="json"), file)  # JSON is YAML
        file.flush()
        return load_config(file.name, more)


def trained(store: CropStore, folder: Path, config: Config, truth: str | None = None) -> tuple[Path, float | None]:
    """Train in ``folder/run`` unless that is done: -> the run, seconds (None if it was interrupted on the way).

    With a truth, mAP along training is logged.
    """
    run, noted = folder / "run", folder / "seconds.json"
    if not noted.exists():
        begun, whole = time.perf_counter(), not (run / RUN_FILE).exists()
        train(store.path, run, config, truth=truth, resume=not whole)
        noted.write_text(json.dumps(round(time.perf_counter() - begun, 1) if whole else None))
    return run, json.loads(noted.read_text())


def evaluated(store: CropStore, folder: Path, config: Config, seed: int, pool: Pool, n: int) -> dict[str, Any]:
    """Train a recipe and score it, or read what an earlier call wrote."""
    file = folder / f"scores-{n}cells.json"
    if not file.exists():
        run, seconds = trained(store, folder, config)
        seed_folder = folder.parent
        reference = reference_of(store, seed_folder, config, pool, seed, n)
        restyler = Restyler.open(run, store.path, ema=config.generate.ema)
        scores = restyled_scores(restyler, reference, config, seed) | map_scores(restyler, seed)
        file.write_text(json.dumps(scores | {"seconds": seconds}))
    return json.loads(file.read_text())


def reference_of(store: CropStore, folder: Path, config: Config, pool: Pool, seed: int, n: int) -> Any:
    """The measured counterfactuals of a seed."""
    source, design = pool.source, pool.design(seed)
    pictures = counterfactuals_of(source, design, store, folder, n, partial(resized, size=SIZE))
    return read_reference(pictures, store, config, folder)


def recipe_folder(work: Path, seed: int, recipe: str, config: Config, store: CropStore) -> Path:
    """A folder that another setting, of training or of measuring, or another version of the package never shares."""
    measuring = [config.features.decisive(), config.generate.model_dump(mode="json")]
    facts = [package_commit(), store_fingerprint(store), decisive_settings(config), config.train.steps, *measuring]
    mark = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    return work / f"seed{seed}" / f"{recipe}-{mark}"


def over_seeds(runs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Mean, spread and values of each score over seeds; None where a seed lacks one."""
    figures: dict[str, Any] = {}
    spread: dict[str, float | None] = {}
    for name in next(iter(runs.values())):
        values = [run[name] for run in runs.values()]
        if name in ("by_gene", "by_kind"):
            continue
        known = [value for value in values if value is not None]
        figures[name] = round(float(np.mean(known)), 4) if known else None
        spread[name] = round(float(np.std(known, ddof=1)), 4) if len(known) > 1 else None
    first = next(iter(runs.values()))
    if "by_kind" in first:
        kinds = dict.fromkeys(kind for run in runs.values() for kind in run["by_kind"])
        strengths = {kind: [run["by_kind"][kind] for run in runs.values() if kind in run["by_kind"]] for kind in kinds}
        figures["by_kind"] = {kind: round(float(np.mean(own)), 4) for kind, own in strengths.items()}
    flat = {
        seed: {name: None if value is None else round(value, 4) for name, value in run.items() if name in spread}
        for seed, run in runs.items()
    }
    genes = {seed: [round(value, 4) for value in run["by_gene"]["direction"]] for seed, run in runs.items()}
    return figures | {"sd": spread, "per_seed": flat, "by_gene": genes}


def print_figures(figures: dict[str, dict[str, Any]]) -> None:
    """Print one line per recipe or reference."""
    columns = list(dict.fromkeys(name for row in figures.values() for name in row["sd"]))
    print(f"{'':20}" + "".join(f"{name:>15}" for name in columns))
    for name, row in figures.items():
        shown = (row.get(column) for column in columns)
        print(f"{name:20}" + "".join(f"{'' if value is None else f'{value:.3f}':>15}" for value in shown))
    kinds = list(dict.fromkeys(kind for row in figures.values() for kind in row.get("by_kind", {})))
    print("\nHow strongly each kind of trait is restyled (1: as planted)")
    print(f"{'':20}" + "".join(f"{kind:>15}" for kind in kinds))
    for name, row in figures.items():
        if "by_kind" in row:
            print(f"{name:20}" + "".join(f"{row['by_kind'].get(kind, np.nan):15.3f}" for kind in kinds))


def main() -> None:
    """Train, score, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2, 3, 4])
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=["recommended", "small"])
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; repeatable")
    parser.add_argument("--quick", action="store_true", help="one seed, a few steps and cells: shows that it runs")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep stores, runs and features; what is there is kept"
    )
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    n = QUICK_CELLS if options.quick else RESTYLED_CELLS
    overrides = [*options.set, *(QUICK if options.quick else [])]
    try:
        recipes = {(name, seed): read_recipe(name, overrides, seed) for name in options.recipes for seed in seeds}
    except GrapeOpsError as error:
        raise SystemExit(str(error)) from None
    found: dict[str, dict[int, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        pool = Pool(work)
        for seed in seeds:
            folder = work / f"seed{seed}"
            store = pool.store(seed, folder / "store")
            measuring = load_config("recommended.yaml", overrides)
            reference = reference_of(store, folder, measuring, pool, seed, n)
            for name, scores in reference_scores(reference, store, measuring, folder).items():
                found.setdefault(name, {})[seed] = scores
            for recipe in options.recipes:
                config = recipes[recipe, seed]
                scores = evaluated(store, recipe_folder(work, seed, recipe, config, store), config, seed, pool, n)
                found.setdefault(recipe, {})[seed] = scores
                print(
                    f"seed {seed}  {recipe:14}  direction {scores['direction']:.3f}  top1 {scores['top1']:.2f}",
                    flush=True,
                )
    order = [*options.recipes, *(name for name in found if name not in options.recipes)]
    figures = {name: over_seeds(found[name]) for name in order}
    print_figures(figures)
    chosen = {"seeds": seeds, "restyled_cells": n, "settings": overrides}
    write_record(options.out, "counterfactual_bbbc021", figures | chosen)


if __name__ == "__main__":
    main()
