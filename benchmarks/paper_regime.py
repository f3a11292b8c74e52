"""The paper's regime at small scale: 1,600 cells per gene, and about 50 passes over them, as many as the paper made.

A recipe is trained on planted screens and evaluated with all that the paper prints: Table 1 beside the baselines, Table
2's read-outs, Fig. 5's mAP along training, and the restyled cells, compared with true counterfactuals
(``calibrate/restyled.py``). The cells are simulated controls; pseudo-genes are planted in them, since only planting
says what one and the same cell would look like with a knock-out. A seed draws complexes, effects, cells and training.

``paper_recipe`` is small.yaml without augmentation: M is initialised with noise, sizes and rates are the preset's.
``paper_rates`` has the paper's rates too: one learning rate for all modules, M of spread 1, the filter 40 times in a
training. Other recipes are presets without their ending, or ablations of ``paper_recipe``, such as ``no_cycle`` and
``style_not_detached``. Read-outs need no further training: every recipe has them all.

It is a run of hours. Everything done is kept in ``--work``, one folder per package and screen; the same call goes on.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData, read_h5ad

from compare import QUICK, jobs_on, over_screens, paired_differences, print_figures
from counterfactual_bbbc021 import QUICK_CELLS, over_seeds, read_recipe, recipe_folder, trained
from counterfactual_bbbc021 import print_figures as print_restyled
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_json
from grape_ops.config import CalibrateSettings, Config, EmaSettings, EmbedSettings, load_config
from grape_ops.embed import INITIALISATION, POSITIONS, embed, map_name
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth import load_truth
from grape_ops.methods import find_methods
from grape_ops.power.recovery import recovery
from grape_ops.power.restyling_scores import RESTYLED_CELLS, map_scores, reference_scores, restyled_scores
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import INIT_FILE, METRICS_FILE, TRUTH_FILE
from grape_ops.train.log import read_metrics
from planted_simulated import Screens, cells_of
from record import write_record

PAPER = ("train.augment=false",)
RATES = (
    "model.embedding_scale=1.0",
    "train.optimizer.learning_rate=1.0e-4",
    "train.optimizer.embedding_learning_rate=1.0e-4",
)
LOOKS = 100  # points of the curve along training
UPDATES = 40  # of the paper's filter: every 2,500 of 100,000 steps
QUICK_SIZES = {"complexes": 3, "genes_per_complex": 2, "cells_per_gene": 48, "passes": 5}


def regime(name: str, overrides: list[str], seed: int, passes: float, cells: int) -> Config:
    """Settings of a recipe, trained for so many passes over the cells."""
    reference = load_config("small.yaml", PAPER)
    if name in ("paper_recipe", "paper_rates"):
        own = PAPER if name == "paper_recipe" else PAPER + RATES
        config = load_config("small.yaml", [*own, *overrides, f"seed={seed}"])
    else:
        config = read_recipe(name, overrides, seed, reference)
    steps = max(1, round(passes * cells / config.train.batch_size))
    changes: dict[str, Any] = {"steps": steps, "checkpoint_every": min(500, steps)}
    changes |= dict.fromkeys(("log_every", "evaluate_every"), max(1, steps // LOOKS))
    if name == "paper_rates":
        changes["ema"] = EmaSettings(every=max(1, steps // UPDATES), decay=0.5)
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def evaluated(recipe: str, config: Config, screens: Screens, store: CropStore, seed: int) -> dict[str, Any]:
    """Train a recipe and evaluate it, or read what an earlier call wrote."""
    folder = recipe_folder(screens.folder, seed, recipe, config, store)
    file = folder / "scores.json"
    if not file.exists():
        truth = str(store.path / TRUTH_FILE)
        run, seconds = trained(store, folder, config, truth)
        reference = screens.reference(seed, store, config)
        restyler = Restyler.open(run, store.path, ema=config.generate.ema)
        scores: dict[str, Any] = {
            "maps": {name: scored(vectors, store, config, seed) for name, vectors in read_outs(run, config, seed)},
            "restyled": restyled_scores(restyler, reference, config, seed) | map_scores(restyler, seed),
            "curve": curve_of(run, config.train.batch_size / len(store)),
            "seconds": seconds,
        }
        write_json(file, scores)
    return json.loads(file.read_text())


def read_outs(run: Path, config: Config, seed: int) -> list[tuple[str, AnnData]]:
    """Every map of a run by its name: all positions, with the filter and without, and the initialisation of M."""
    found = [(INITIALISATION, read_h5ad(run / INIT_FILE))] if (run / INIT_FILE).exists() else []
    for ema in (True, False) if config.train.ema.enabled else (False,):
        for position in POSITIONS:
            settings = EmbedSettings.model_validate(config.embed.model_dump() | {"position": position, "ema": ema})
            found.append((map_name(config, position, ema), embed(run, settings, seed=seed)))
    return found


def scored(vectors: AnnData, store: CropStore, config: Config, seed: int) -> dict[str, Any]:
    """MAP, purity, NMI and ARI of one map."""
    return recovery(vectors, load_truth(str(store.path / TRUTH_FILE)), config.evaluate, seed)


def curve_of(run: Path, passes_per_step: float) -> dict[str, list[float | None]]:
    """MAP of M along training, with the filter and without, by passes over the cells (Fig. 5)."""
    lines = [line for line in read_metrics(run / METRICS_FILE) if "map" in line]
    curve: dict[str, list[float | None]] = {"passes": [round(line["step"] * passes_per_step, 3) for line in lines]}
    return curve | {name: [line.get(name) for line in lines] for name in ("map", "map_ema")}


def mean_curve(curves: list[dict[str, list[float | None]]]) -> dict[str, list[float]]:
    """Mean over seeds, point by point."""
    there = {name: [curve[name] for curve in curves] for name in curves[0] if None not in curves[0][name]}
    return {name: np.mean(np.array(values), axis=0).round(4).tolist() for name, values in there.items()}


def print_curves(curves: dict[str, dict[str, list[float]]], passes: float) -> None:
    """Print mAP along training, recipes side by side."""
    columns = [(recipe, name) for recipe, curve in curves.items() for name in curve if name != "passes"]
    heads = (f"{recipe}{', EMA' if name == 'map_ema' else ''}" for recipe, name in columns)
    print(f"{'passes':>8}" + "".join(f"{head:>22}" for head in heads))
    for at in np.linspace(0, passes, 11)[1:]:
        row = (np.interp(at, curves[recipe]["passes"], curves[recipe][name]) for recipe, name in columns)
        print(f"{at:8.1f}" + "".join(f"{value:22.3f}" for value in row))


def options_of_regime() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=["paper_recipe", "recommended"])
    parser.add_argument(
        "--methods", type=lambda text: text.split(","), default=["random", "statistics", "engineered"], metavar="A,B"
    )
    parser.add_argument("--cells-per-gene", type=int, default=1600, help="as many controls are there")
    parser.add_argument("--passes", type=float, default=50, help="passes over the cells")
    parser.add_argument("--complexes", type=int, default=6)
    parser.add_argument("--genes-per-complex", type=int, default=4)
    parser.add_argument("--effect-size", type=float, default=2.0, help="length of a gene's change, in natural sd")
    parser.add_argument("--restyled-cells", type=int, default=RESTYLED_CELLS)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; repeatable")
    parser.add_argument("--quick", action="store_true", help="one seed, few cells and steps: shows that it runs")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep everything there; what is there is kept")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    if options.quick:
        small = QUICK_SIZES | {"seeds": options.seeds[:1], "restyled_cells": QUICK_CELLS}
        vars(options).update(small, methods=["random", "statistics"], set=[*QUICK, *options.set])
    return options


def run_all(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Do what is not done yet: -> the figures, which are printed too."""
    planted = CalibrateSettings(
        complexes=options.complexes,
        genes_per_complex=options.genes_per_complex,
        cells_per_gene=options.cells_per_gene,
        control_cells=options.cells_per_gene,
        effect_size=options.effect_size,
    )
    if find_methods(options.methods).keys() & {"grape"}:
        raise GrapeOpsError("GRAPE is compared by --recipes; --methods takes baselines.")
    judging = load_config("recommended.yaml", options.set)
    cells, screens = cells_of(planted), Screens.of(work, planted, options.restyled_cells, judging)
    recipes = [(name, seed) for seed in options.seeds for name in options.recipes]
    configs = {(name, seed): regime(name, options.set, seed, options.passes, cells) for name, seed in recipes}
    maps: dict[str, list[dict[str, Any]]] = {}
    restyled: dict[str, dict[int, dict[str, Any]]] = {}
    curves: dict[str, list[dict[str, list[float | None]]]] = {}
    seconds: dict[str, list[float | None]] = {}
    for seed in options.seeds:
        store, folder = screens.store(seed), screens.folder / f"seed{seed}"
        measuring = judging.model_copy(update={"seed": seed})
        for job in jobs_on(store.path, folder / "jobs", options.methods, measuring):
            for name, vectors in job.maps_asked_for().items():
                maps.setdefault(name, []).append(scored(vectors, store, measuring, seed))
                print(f"seed {seed}  {name:20}  mAP {maps[name][-1]['map']:.3f}", flush=True)
        reference = screens.reference(seed, store, measuring)
        for name, scores in reference_scores(reference, store, measuring, folder).items():
            restyled.setdefault(name, {})[seed] = scores
        for recipe in options.recipes:
            found = evaluated(recipe, configs[recipe, seed], screens, store, seed)
            for name, scores in found["maps"].items():
                maps.setdefault(f"{recipe} {name}", []).append(scores)
            restyled.setdefault(recipe, {})[seed] = found["restyled"]
            curves.setdefault(recipe, []).append(found["curve"])
            seconds.setdefault(recipe, []).append(found["seconds"])
            reached = f"mAP {found['restyled']['map_M']:.3f}  direction {found['restyled']['direction']:.3f}"
            print(f"seed {seed}  {recipe:20}  {reached}", flush=True)
    return report(options, planted, maps, restyled, curves) | {
        "steps": {recipe: configs[recipe, options.seeds[0]].train.steps for recipe in options.recipes},
        "seconds": seconds,
    }


def report(
    options: argparse.Namespace,
    planted: CalibrateSettings,
    maps: dict[str, list[dict[str, Any]]],
    restyled: dict[str, dict[int, dict[str, Any]]],
    curves: dict[str, list[dict[str, list[float | None]]]],
) -> dict[str, Any]:
    """Put seeds together and print all tables."""
    of_recipes = [name for name in maps if name.partition(" ")[0] in curves]
    main = [name for name in maps if name not in of_recipes] + [f"{recipe} GRAPE M" for recipe in curves]
    scores = over_screens(maps)
    differences = paired_differences({name: maps[name] for name in main})
    print("\nTable 1: maps, GRAPE's read at position 1")
    print_figures({name: scores[name] for name in main}, differences)
    print("\nTable 2: recipes and read-outs")
    print_figures({name: scores[name] for name in of_recipes}, [])
    print("\nFig. 5: mAP along training")
    means = {recipe: mean_curve(runs) for recipe, runs in curves.items()}
    print_curves(means, options.passes)
    print("\nRestyled cells against true counterfactuals")
    order = sorted(restyled, key=lambda name: name not in curves)  # recipes first
    counterfactuals = {name: over_seeds(restyled[name]) for name in order}
    print_restyled(counterfactuals)
    return {
        "maps": scores,
        "differences": differences,
        "curves": means,
        "counterfactuals": counterfactuals,
        "planted": planted.model_dump(mode="json"),
        "passes": options.passes,
        "restyled_cells": options.restyled_cells,
        "seeds": options.seeds,
        "settings": options.set,
    }


def main() -> None:
    """Run everything, and write the record."""
    options = options_of_regime()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            figures = run_all(options, options.work or Path(scratch))
        except GrapeOpsError as error:
            raise SystemExit(str(error)) from None
    write_record(options.out, "paper_regime", figures)


if __name__ == "__main__":
    main()
