"""``grape-ops calibrate --restyle``: how far can cells restyled by this configuration be trusted on this screen?

out/
  restyle.tsv                 one row per pseudo-gene
  restyle_kinds.tsv           one row per kind of trait
  restyle.json                all scores, and those of the references
  restyle.png, .pdf           the same as a figure
  restyle/{identity}/         truth, the run, counterfactuals and what was measured on them, one folder for each set
                              of cells and settings
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of, write_json
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.plotting.calibration_figures import restyling_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.power.calibrate import OURS, planted_identity
from grape_ops.power.counterfactual import choose_cells
from grape_ops.power.counterfactual_reference import read_reference
from grape_ops.power.design import draw_design
from grape_ops.power.planted_store import TRAITS_FILE, read_source, write_planted_store
from grape_ops.power.restyling_scores import counterfactuals_of, map_scores, reference_scores, restyled_scores
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import COMPLEX, GENE, RUN_FILE, TRUTH_FILE
from grape_ops.train.loop import train
from grape_ops.train.preflight import announce_trainings
from grape_ops.train.run_folder import decisive_settings

RESTYLED = "restyled"
_SCORES_FILE = "scores.json"
_SHOWN = {
    "direction": "direction of the change (1: as planted)",
    "own_direction": "the same of what sets genes apart",
    "top1": "share of genes nearest to their own change",
    "distance_left": "distance left (0: arrived, 1: as untouched cells)",
    "side_effect": "side effect (standard deviations)",
    "surroundings": "surroundings kept (1: unchanged)",
    "nuclei_lost": "share of nuclei lost",
}


def calibrate_restyling(store_path: Path, out: Path, config: Config) -> str:
    """Restyle control cells to pseudo-genes, and hold them against the same cells with the effect planted.

    Parameters
    ----------
    store_path : crop store of the screen; only its control cells are used.
    out : folder for the results; an interrupted call of the same settings is gone on with.
    config : ``calibrate`` says what is planted; the rest is as in training and in the check of phenotypes.

    Returns
    -------
    The scores beside their references, as a table to print.

    Raises
    ------
    GrapeOpsError : too few control cells.
    """
    store = CropStore.open(store_path, where=config.where)
    config = config.model_copy(update={"where": ""})  # the planted screen holds the chosen cells alone
    if config.train.unit != "gene":
        raise GrapeOpsError("Restyled cells are calibrated gene by gene: set train.unit=gene.")
    check_folder(out, "a calibration", ours=OURS)
    folder = out / "restyle" / _identity(store, config)[:10]
    if not (folder / _SCORES_FILE).is_file():
        announce_trainings([config], store)
        with locked(folder, "the calibration"):
            write_json(folder / _SCORES_FILE, _evaluate(store, folder, config))
    if not config.calibrate.keep_stores:
        shutil.rmtree(folder / "store", ignore_errors=True)
    scores = json.loads((folder / _SCORES_FILE).read_text())
    genes, kinds = _gene_table(scores, folder), _kind_table(scores)
    for name, content in (("restyle.tsv", genes), ("restyle_kinds.tsv", kinds)):
        with draft_of(out / name) as draft:
            spreadsheet_safe(content).to_csv(draft, sep="\t", index=False)
    save_figure(restyling_figure(genes, kinds, scores["mean_knockout"]), out / "restyle", simulated=store.simulated)
    facts: dict[str, Any] = {"seed": config.seed, "restyled_cells": config.calibrate.restyled_cells}
    facts |= {"where": store.where} if store.where else {}
    write_json(out / "restyle.json", facts | scores)
    return _in_words(scores, out)


def _evaluate(store: CropStore, folder: Path, config: Config) -> dict[str, Any]:
    """Plant, train and score: name -> scores, the restyled cells' first."""
    settings, seed = config.calibrate, config.seed
    source = read_source(store, config.features.nucleus_channel)
    design = draw_design(source.batch_codes, len(source.traits), settings, seed)
    choose_cells(design, len(source.cells), settings.restyled_cells)  # too few must come to light before training
    if not (folder / "store").exists():
        write_planted_store(source, settings, seed, folder / "store")
    for name in (TRUTH_FILE, TRAITS_FILE):
        shutil.copy(folder / "store" / name, folder / name)
    planted = CropStore.open(folder / "store")
    pictures = counterfactuals_of(source, design, planted, folder, settings.restyled_cells)
    reference = read_reference(pictures, planted, config, folder)
    run = folder / "run"
    train(planted.path, run, config, resume=(run / RUN_FILE).exists())
    restyler = Restyler.open(run, ema=config.generate.ema, batch_size=config.generate.batch_size)
    scores = restyled_scores(restyler, reference, config, seed) | map_scores(restyler, seed)
    return {RESTYLED: scores, **reference_scores(reference, planted, config, folder)}


def _identity(store: CropStore, config: Config) -> str:
    """Hash of what decides the scores: what is planted, the training, and how restyled cells are evaluated."""
    generate = {name: getattr(config.generate, name) for name in ("ema", "redundant", "q_value", "splits")}
    return identity_of(
        __version__,
        planted_identity(store, config.calibrate, config, config.seed),
        config.calibrate.restyled_cells,
        generate,
        [config.features.decisive(), config.baselines.decisive(), config.embed.decisive()],
        decisive_settings(config) | {"train.steps": config.train.steps},
    )


def _gene_table(scores: dict[str, Any], folder: Path) -> pd.DataFrame:
    """One row per pseudo-gene, with what its real cells reach beside."""
    table = pd.read_csv(folder / TRUTH_FILE, sep="\t")[[GENE, COMPLEX]]
    own = scores[RESTYLED]["by_gene"]
    table = table.assign(**{name: own[name] for name in ("direction", "top1", "distance_left", "side_effect")})
    real = scores["real_knockouts"]["by_gene"]
    table = table.assign(**{f"{name}_of_real_cells": real[name] for name in ("direction", "distance_left")})
    return table.astype({"side_effect": float}).round(4)


def _kind_table(scores: dict[str, Any]) -> pd.DataFrame:
    """One row per kind of trait: how strongly it is restyled, and how strongly the mean knock-out shows it."""
    own, mean = scores[RESTYLED]["by_kind"], scores["mean_knockout"]["by_kind"]
    rows = [{"kind": kind, "strength": own[kind], "strength_of_mean_knockout": mean[kind]} for kind in own]
    return pd.DataFrame(rows, columns=["kind", "strength", "strength_of_mean_knockout"]).round(4)


def _in_words(scores: dict[str, Any], out: Path) -> str:
    """The scores as a table: one row per score, one column for restyled cells and one for each reference."""
    rows = {}
    for name, words in _SHOWN.items():
        values = [own.get(name) for own in scores.values()]
        rows[words] = ["" if value is None else f"{value:.2f}" for value in values]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[name.replace("_", " ") for name in scores])
    kinds = ", ".join(f"{kind} {value:.2f}" for kind, value in scores[RESTYLED]["by_kind"].items())
    chance = scores[RESTYLED]["top1_chance"]
    return (
        "Restyled cells beside the same cells with the effect planted:\n"
        f"{table.to_string()}\n"
        f"Nearest to their own change by chance: {chance:.2f} of the genes.\n"
        f"How strongly each kind of trait is restyled (1: as planted): {kinds}.\n"
        f"Genes: {out / 'restyle.tsv'}; kinds of traits: {out / 'restyle_kinds.tsv'}; figure: {out / 'restyle.png'}"
    )
