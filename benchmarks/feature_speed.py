"""How fast are single-cell features measured, and where does the time go? One process, one thread.

Crops are those of a store, or of untreated MCF-7 cells (BBBC021, 64 px) if none is given; the default set of features
is compared with the full one.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bbbc021 import write_pool
from grape_ops.cells.store import CropStore
from grape_ops.config import FeatureSettings
from grape_ops.features import crop_features, find_all_regions, nucleus_channel
from record import write_record


def main() -> None:
    """Find the cells and time both sets of features and the search for nuclei."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="crop store")
    parser.add_argument("--cells", type=int, default=512, help="cells measured with the default set")
    parser.add_argument("--quick", action="store_true", help="32 cells: shows that it runs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.store is None:
            write_pool(Path(scratch) / "pool")
        time_features(CropStore.open(options.store or Path(scratch) / "pool"), options)


def time_features(store: CropStore, options: argparse.Namespace) -> None:
    """Time both sets on cells of a store, and write the record."""
    n = min(32 if options.quick else options.cells, len(store))
    crops = store.read(np.sort(np.random.default_rng(0).choice(len(store), n, replace=False)))
    nucleus = nucleus_channel(store.channels)
    crop_features(crops[:2], store.channels, nucleus, settings=FeatureSettings(full=True))  # imports
    began = time.perf_counter()
    masks = find_all_regions(crops, nucleus)
    rows = [("nuclei and cells alone", n, 0, n / (time.perf_counter() - began))]
    for name, settings, share in (("default", FeatureSettings(), 1), ("full", FeatureSettings(full=True), 4)):
        part = max(n // share, 1)
        began = time.perf_counter()
        names, values = crop_features(crops[:part], store.channels, nucleus, settings=settings)
        rows.append((name, part, len(names), part / (time.perf_counter() - began)))
        assert not np.isnan(values[masks[:part].any(axis=(1, 2, 3))]).all(axis=1).any()
    print(f"{store.crop_size} px, {len(store.channels)} channels")
    for name, part, features, speed in rows:
        print(f"{name:24} {part:6} cells {features:5} features {speed:8.1f} cells/s")
    sets = [{"set": r[0], "cells": r[1], "features": r[2], "cells_per_s": round(r[3], 1)} for r in rows]
    write_record(
        options.out, "feature_speed", {"crop_size": store.crop_size, "channels": len(store.channels), "sets": sets}
    )


if __name__ == "__main__":
    main()
