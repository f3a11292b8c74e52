"""How quickly balanced batches come from a crop store, warm and cold, beside a bare memory map.

Cold means that the operating system has dropped the shards' pages before each batch, as for a store larger than
memory. The paper's networks train a few crops a second on a CPU; `train_step.py` says how many.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, TILE, WELL, X, Y
from record import write_record

CHANNELS, SIZE, BATCH_SIZE = 4, 96, 256


def make_store(path: Path, cells: int, genes: int, wells: int) -> None:
    """Write a store of random crops."""
    rng = np.random.default_rng(0)
    each = cells // wells
    names = np.array([f"GENE{i:04}" for i in range(genes)] + [CONTROL_LABEL])
    shards, tables = {}, []
    for well in range(wells):
        shards[f"P1_{well}"] = rng.integers(0, 65536, (each, CHANNELS, SIZE, SIZE), dtype=np.uint16)
        gene = names[np.arange(each) % len(names)]
        tables.append(
            pd.DataFrame(
                {
                    GENE: gene,
                    GUIDE: gene,
                    PLATE: "P1",
                    WELL: str(well),
                    TILE: "1",
                    Y: 0.0,
                    X: 0.0,
                    IS_CONTROL: gene == CONTROL_LABEL,
                    BATCH: f"P1|{well}",
                    SHARD: f"P1_{well}",
                    ROW: np.arange(each),
                }
            )
        )
    write_store(path, shards, pd.concat(tables, ignore_index=True), [f"c{i}" for i in range(CHANNELS)])


def drop_pages(store: Path) -> None:
    """Ask the operating system to forget the shards' pages."""
    for file in store.glob("shards/*.npy"):
        with file.open("rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds_of(act: Callable[[int], object], repeats: int, before: Callable[[], object] | None = None) -> list[float]:
    """Time repeated calls of ``act(i)``."""
    times = []
    for i in range(repeats + 1):
        if before is not None:
            before()
        start = time.perf_counter()
        act(i)
        times.append(time.perf_counter() - start)
    return times[1:]


def main() -> None:
    """Make the store, time the ways, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=24_000, help="crops; 24,000 are 1.8 GB")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="2,000 crops, 5 repeats")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    if options.quick:
        options.cells, options.repeats = 2_000, 5
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        make_store(path, options.cells, genes=106, wells=4)
        store = CropStore.open(path)
        sampler = Sampler(store.labels, len(store.perturbations), BATCH_SIZE, seed=0)
        loader = BatchLoader(StandardizedCrops(store, torch.device("cpu")), sampler)
        shard = np.load(next(path.glob("shards/*.npy")), mmap_mode="r")
        rng = np.random.default_rng(0)
        draws = [rng.integers(len(shard), size=BATCH_SIZE) for _ in range(options.repeats + 1)]
        rows = {
            "bare memory map": seconds_of(lambda i: shard[draws[i]], options.repeats),
            "store, read": seconds_of(lambda i: store.read(sampler.draw(i)[0]), options.repeats),
            "batch, standardised": seconds_of(loader.fetch, options.repeats),
            "batch, cold": seconds_of(loader.fetch, options.repeats, lambda: drop_pages(path)),
        }
    print(f"{BATCH_SIZE} crops of {CHANNELS} x {SIZE} x {SIZE}: median ms (min..max), crops/s")
    for name, times in rows.items():
        median = statistics.median(times)
        spread = f"({min(times) * 1e3:.1f}..{max(times) * 1e3:.1f})"
        print(f"  {name:20} {median * 1e3:8.1f} {spread:18} {BATCH_SIZE / median:10.0f}")
    keys = ("memmap_ms", "read_ms", "batch_ms", "cold_batch_ms")
    figures = {key: statistics.median(times) * 1e3 for key, times in zip(keys, rows.values(), strict=True)}
    figures |= {f"{key[:-3]}_crops_per_s": BATCH_SIZE / (value / 1e3) for key, value in dict(figures).items()}
    write_record(options.out, "loader", figures)


if __name__ == "__main__":
    main()
