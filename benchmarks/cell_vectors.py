"""Vectors of a million cells: how long ``embed --level cell`` takes, and how much memory.

A simulated store of random crops of 16 px is written; ``seconds`` and memory are those of one process for each call.
``peak_mib`` is the largest resident memory, in which the mapped pages of store and vectors count, although the system
takes them back as it likes; ``own_mib`` is what the process itself asked for. Nothing is extrapolated: all cells are
read, measured and written.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from grape_ops.cells.writer import write_store
from record import write_record

SIZE, CHANNELS, SHARDS, GENES, GUIDES, CONTROL_GUIDES = 16, ("DNA", "actin"), 50, 2000, 4, 100


def main() -> None:
    """Write the store, measure each call, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cell_vectors.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        write_random_store(store, arguments.cells)
        figures = {"cells": arguments.cells, "features": len(CHANNELS) * 19 + 1, "crop_size": SIZE}
        for name, level, suffix, features in (
            ("statistics to parquet", "cell", ".parquet", "statistics"),
            ("own features to h5ad", "cell", ".h5ad", "statistics to parquet.parquet"),
            ("own features of guides", "guide", ".h5ad", "statistics to parquet.parquet"),
        ):
            source = features if features == "statistics" else str(Path(folder) / features)
            call = ["embed", str(store), "--level", level, "--features", source]
            figures[name] = measured([*call, "--out", str(Path(folder) / f"{name}{suffix}")])
            print(name, figures[name], flush=True)
    write_record(arguments.out, "vectors of a million cells", figures)


def write_random_store(path: Path, n: int, genes: int = GENES) -> None:
    """A store of random crops, whose guides are drawn at random."""
    rng = np.random.default_rng(0)
    shard = np.sort(np.arange(n) % SHARDS)
    code = rng.integers(-CONTROL_GUIDES, genes * GUIDES, n)
    control = code < 0
    gene = np.where(control, "nontargeting", np.char.add("G", (code // GUIDES).astype(str)))
    cells = pd.DataFrame({"gene_symbol": gene, "sgRNA": np.char.add("guide", code.astype(str)), "plate": "P1"})
    cells["shard"] = np.char.add("well", shard.astype(str))
    cells["well"], cells["tile"], cells["is_control"] = cells["shard"], (np.arange(n) % 97).astype(str), control
    cells["batch"] = "P1|" + cells["well"]
    cells["row"] = cells.groupby("shard").cumcount()
    cells["y"], cells["x"] = rng.uniform(0, 2000, (2, n))
    sizes = np.bincount(shard, minlength=SHARDS)
    shape = (len(CHANNELS), SIZE, SIZE)
    crops = {f"well{number}": rng.integers(0, 65535, (size, *shape), np.uint16) for number, size in enumerate(sizes)}
    write_store(path, crops, cells, CHANNELS)


def measured(call: list[str]) -> dict[str, float]:
    """Seconds and memory of one command in a process of its own."""
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "grape_ops", *call])
    watched, own, peak = psutil.Process(child.pid), 0, 0
    while child.poll() is None:
        try:
            memory = watched.memory_info()
        except psutil.NoSuchProcess:
            break
        own, peak = max(own, memory.rss - memory.shared), max(peak, memory.rss)
        time.sleep(0.1)
    if child.wait():
        raise SystemExit(f"{' '.join(call)} failed")
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "own_mib": round(own / 2**20),
        "peak_mib": round(peak / 2**20),
    }


if __name__ == "__main__":
    main()
