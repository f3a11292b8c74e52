"""What could a map of the planted screens reach at best?

The screens of ``planted_bbbc021.py``, seen by someone who was told what is planted. ``truth``: the planted changes
themselves, without a cell. ``traits``: the seventeen traits that effects are made of, measured in every planted cell
at 64 px, before it is shrunk, clipped at six deviations, and the gene's effect fitted beside the batch's.
``shrunken``: the same, whitened and shrunken as the initialisation of M is.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from compare import over_screens, paired_differences, print_figures
from grape_ops.cells.gene_effects import CellSums, shrunken_gene_effects
from grape_ops.config import EvaluateSettings, InitSettings
from grape_ops.groundtruth import load_truth
from grape_ops.power.design import Design, draw_design
from grape_ops.power.planted_store import Source, planted_crop
from grape_ops.power.recovery import recovery
from grape_ops.power.traits import find_anatomy, measure
from grape_ops.schema import CONTROL_LABEL
from planted_bbbc021 import read_pool, settings
from record import write_record

MOST = 6.0  # deviations: a crop in a hundred shows debris


def measured_traits(source: Source, design: Design) -> np.ndarray:
    """Traits of every cell of a planted screen, in robust standard deviations: -> (N, T)."""
    rows = []
    for cell, place in enumerate(design.source):
        crop = planted_crop(source, design, cell)
        floor = source.background[source.batch_codes[place]][:, None, None]
        anatomy = find_anatomy(crop[source.nuclear]) or source.anatomy(int(place))
        rows.append(measure(crop.astype(np.float32) - floor, anatomy, source.traits, source.nuclear))
    centred = np.array(rows) - np.median(rows, axis=0)
    return np.clip(centred / (1.4826 * np.median(np.abs(centred), axis=0)), -MOST, MOST)


def maps_of(source: Source, design: Design) -> dict[str, np.ndarray]:
    """Gene vectors, the controls last: name -> (P, V)."""
    labels, batches = design.labels % (len(design.genes) + 1), source.batch_codes[design.source]
    sums = CellSums.zeros(len(design.genes) + 1, len(source.store.batches), len(source.traits))
    sums.add(measured_traits(source, design), labels, batches)
    effects = sums.effects().gene
    return {
        "truth": np.vstack([design.shifts, np.zeros(len(source.traits))]),
        "traits": effects - effects[:-1].mean(axis=0),
        "shrunken": shrunken_gene_effects(sums, InitSettings().gene_specific_fraction),
    }


def main() -> None:
    """Measure, score and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2, 3, 4])
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    scores: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = read_pool(Path(scratch))
        for seed in seeds:
            design = draw_design(source.batch_codes, len(source.traits), settings(None), seed)
            file = Path(scratch) / "truth.tsv"
            design.truth().to_csv(file, sep="\t", index=False)
            for name, rows in maps_of(source, design).items():
                result = recovery(as_map(rows, design), load_truth(str(file)), EvaluateSettings(), seed)
                scores.setdefault(name, []).append(result)
                print(f"seed {seed}  {name:9}  mAP {result['map']:.3f}  ARI {result['ari']:.3f}", flush=True)
    figures, differences = over_screens(scores), paired_differences(scores)
    print_figures(figures, differences)
    write_record(options.out, "planted_ceiling", figures | {"seeds": seeds})


def as_map(rows: np.ndarray, design: Design) -> AnnData:
    """Gene vectors (P, V) as other code takes them."""
    return AnnData(rows.astype(np.float32), obs=pd.DataFrame(index=[*design.genes, CONTROL_LABEL]))


if __name__ == "__main__":
    main()
