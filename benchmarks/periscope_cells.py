"""185 real cells of PERISCOPE (five channels, six genes) through the generic layout, training and the report.

Too few cells to learn what the genes do; the point is that real crops of another group come in without glue code,
pixel by pixel what they were, that training moves on them, and that a person can look at them in the report.
"""

import numpy as np

from crop_screen import benchmark_crops, trimmed
from grape_ops.cells.store import CropStore
from real_data import real_data

CHANNELS = ["DNA", "Mito", "Phalloidin", "WGA", "ER"]
SIZE = 64


def main() -> None:
    """Run everything and write the record."""
    source = real_data("periscope")
    description = {
        "cells": str(source / "metadata.csv"),
        "crops": str(source / "crops.npz"),
        "crops_array": "images",
        "channels": CHANNELS,
    }

    def originals(_: CropStore) -> np.ndarray:
        with np.load(source / "crops.npz") as content:
            return trimmed(content["images"], SIZE) / 255

    benchmark_crops(
        "periscope_cells", __doc__, description, [f"preprocess.crop_size={SIZE}", "train.batch_size=16"], originals
    )


if __name__ == "__main__":
    main()
