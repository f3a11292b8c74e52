"""How fast cells are restyled, beside the forward pass of the generator as training computes it.

`python benchmarks/restyle_rate.py [--quick] --out benchmarks/results/restyle_rate.json`

One crop through the generator is the unit: a training step computes it on a batch (without what it keeps for the way
back), and `transfer` reads cells, encodes each once, decodes it for every gene, turns it into a store's pixels and
writes them.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import load_config
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.transfer import _write_store
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, WELL
from grape_ops.train.loop import train
from record import write_record

GENES = 8


def make_store(folder: Path, cells: int, size: int) -> None:
    """Write a store of noise; pixels decide nothing about time."""
    rng = np.random.default_rng(0)
    genes = [CONTROL_LABEL] * cells + [f"G{i}" for i in range(GENES)] * 2
    crops = rng.integers(0, 65535, (len(genes), 4, size, size), dtype=np.uint16)
    table = pd.DataFrame({GENE: genes, GUIDE: genes, PLATE: "P", WELL: "A1", BATCH: "P|A1", SHARD: "s"})
    table[IS_CONTROL], table[ROW] = table[GENE] == CONTROL_LABEL, range(len(table))
    write_store(folder, {"s": crops}, table, ["DNA", "a", "b", "c"])


def forward_rate(restyler: Restyler, batch: int, repeats: int) -> float:
    """Crops a second of G(x, s) on cells that lie ready: the median of several passes."""
    cells = np.arange(batch)
    images, styles = restyler.crops(cells), restyler.styles([0]).expand(batch, -1)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        restyler.nets.generator(images, styles)
        if restyler.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return batch / float(np.median(seconds[1:]))


def measure(preset: str, batch: int, cells: int, repeats: int, overrides: list[str]) -> dict[str, object]:
    """Rates with the networks of a preset."""
    config = load_config(preset, overrides)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(folder / "store", cells, config.preprocess.crop_size)
        train(folder / "store", folder / "run", config)
        restyler = Restyler.open(folder / "run", batch_size=batch)
        rate = forward_rate(restyler, batch, repeats)
        drawn, rows = np.arange(cells), list(range(GENES))
        seconds, _ = _write_store(restyler, drawn, rows, folder / "made")
        written = len(CropStore.open(folder / "made")) - cells
    return {
        "crop_size": config.preprocess.crop_size,
        "batch": batch,
        "device": str(restyler.device),
        "threads": torch.get_num_threads(),
        "generator_forward_crops_per_second": round(rate, 1),
        "transfer_crops_per_second": round(written / seconds, 1),
        "transfer_to_forward": round(written / seconds / rate, 3),
        "genes": GENES,
        "cells_per_gene": cells,
    }


def main() -> None:
    """Measure both presets' networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small networks only, few cells")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    short = ["train.steps=1", "train.batch_size=8", "train.holdout=0", "train.ema.enabled=false"]
    figures = {
        "small.yaml": measure("small.yaml", 64 if arguments.quick else 256, 64 if arguments.quick else 512, 5, short)
    }
    if not arguments.quick:
        figures["paper.yaml"] = measure("paper.yaml", 4, 8, 3, [*short, "train.batch_size=2"])
    for name, part in figures.items():
        print(f"{name}: {part['generator_forward_crops_per_second']} crops/s forward, ", end="")
        print(f"{part['transfer_crops_per_second']} crops/s in transfer ({part['transfer_to_forward']:.2f} times)")
    write_record(arguments.out, "restyle_rate", figures)


if __name__ == "__main__":
    main()
