"""Does any read-out of a trained run hold more than M's initialisation? On the planted screens of real cells.

Runs are those of ``counterfactual_bbbc021.py``: with its ``--work``, what it trained is taken. Rows of M, F(M), the
style codes of real cells, and the mean effects that ``train.loss.match`` asks for are evaluated with the planted
complexes, alone and joined to the initialisation. Joined read-outs are centred over genes, brought to length 1 per
gene, and weighted. ``against_initialisation`` holds the mean difference in mAP over screens, with a bootstrap over
screens and complexes.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from anndata import read_h5ad

from compare import QUICK, over_screens, paired_differences
from counterfactual_bbbc021 import Pool, read_recipe, recipe_folder, trained
from grape_ops.cells.genes import gene_anndata
from grape_ops.groundtruth import load_truth
from grape_ops.power.recovery import METRICS, recovery
from grape_ops.power.restyling_scores import codes_of_cells
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import INIT_FILE, TRUTH_FILE
from record import write_record

INITIALISATION = "initialisation"


def read_outs(restyler: Restyler, seed: int) -> dict[str, np.ndarray]:
    """Vectors by the name of their read-out, one row per perturbation, the controls last."""
    with torch.inference_mode():
        rows, styles = restyler.nets.embedding().numpy(), restyler.nets.styles().numpy()
    init = read_h5ad(restyler.run.path / INIT_FILE).X
    codes = codes_of_cells(restyler, seed).X
    found = {INITIALISATION: init, "M": rows, "F(M)": styles, "F(M) centred": centred(styles)}
    found |= {"codes of cells": codes, "codes centred": centred(codes)}
    found["M + F(M)"] = joined(rows, (styles, 0.5))
    found["M + codes"] = joined(rows, (codes, 0.5))
    found["M + F(M) + codes"] = joined(rows, (styles, 0.5), (codes, 0.5))
    if restyler.nets.effects is not None:
        effects = restyler.nets.effects.targets.numpy()
        found |= {"effects": effects, "M + effects": joined(rows, (effects, 0.5))}
    return found


def centred(vectors: np.ndarray) -> np.ndarray:
    """Vectors less the mean over genes: (P, V) -> the same."""
    return vectors - vectors[:-1].mean(axis=0)


def joined(first: np.ndarray, *others: tuple[np.ndarray, float]) -> np.ndarray:
    """Read-outs side by side, centred, of length 1 per gene, weighted: (P, V), ((P, W), weight) -> (P, V + W)."""

    def unit(vectors: np.ndarray) -> np.ndarray:
        own = centred(vectors)
        return own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)

    return np.hstack([unit(first), *(weight * unit(vectors) for vectors, weight in others)])


def main() -> None:
    """Train where nothing is trained yet, evaluate, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2, 3, 4])
    parser.add_argument("--recipe", default="recommended", help="a preset without its ending, or an ablation")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; repeatable")
    parser.add_argument("--quick", action="store_true", help="one seed, a few steps: shows that it runs")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep stores and runs; what is there is kept")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    overrides = [*options.set, *(QUICK if options.quick else [])]
    scores: dict[str, list] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        pool = Pool(work)
        for seed in seeds:
            store = pool.store(seed, work / f"seed{seed}" / "store")
            config = read_recipe(options.recipe, overrides, seed)
            run, _ = trained(store, recipe_folder(work, seed, options.recipe, config, store), config)
            restyler = Restyler.open(run, store.path, ema=config.generate.ema)
            truth = load_truth(str(store.path / TRUTH_FILE))
            for name, vectors in read_outs(restyler, seed).items():
                found = gene_anndata(vectors.astype(np.float32), restyler.run.genes, name)
                scores.setdefault(name, []).append(recovery(found, truth, config.evaluate, seed))
    figures = over_screens(scores)
    against = {}
    for row in paired_differences(scores):
        if row["first"] == INITIALISATION:  # it is the first of all
            against[row["second"]] = {"map": -row["map"], "low": -row["high"], "high": -row["low"]}
    print(f"{'':18}" + "".join(f"{name:>10}" for name in METRICS) + f"{'mAP - initialisation':>32}")
    for name, row in figures.items():
        gap = against.get(name)
        text = f"{gap['map']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})" if gap else ""
        print(f"{name:18}" + "".join(f"{row[metric]:10.3f}" for metric in METRICS) + f"{text:>32}")
    chosen = {"seeds": seeds, "recipe": options.recipe, "settings": overrides}
    write_record(options.out, "read_outs", figures | {"against_initialisation": against} | chosen)


if __name__ == "__main__":
    main()
