"""185 real cells of PERISCOPE (five channels, six genes) through the generic layout, training and the report.

Too few cells to learn what the genes do; the point is that real crops of another group come in without glue code,
pixel by pixel what they were, that training moves on them, and that a person can look at them in the report.
"""

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from crop_screen import data_folder, figures_of, run_crops, trimmed
from record import write_record

CHANNELS = ["DNA", "Mito", "Phalloidin", "WGA", "ER"]
SIZE = 64
STEPS = {"full": 200, "quick": 20}


def main() -> None:
    """Run everything and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps: shows that it runs")
    parser.add_argument("--keep", type=Path, help="folder to keep store, run and report in")
    parser.add_argument("--out", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    source = data_folder("periscope")
    description = {
        "cells": str(source / "metadata.csv"),
        "crops": str(source / "crops.npz"),
        "crops_array": "images",
        "channels": CHANNELS,
    }
    steps = STEPS["quick" if arguments.quick else "full"]
    settings = [f"preprocess.crop_size={SIZE}", "train.batch_size=16", f"train.steps={steps}"]
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        out = run_crops(Path(folder), description, settings)
        with np.load(source / "crops.npz") as content:
            originals = trimmed(content["images"], SIZE) / 255
        figures = figures_of(out, originals)
    write_record(arguments.out, "periscope_cells", figures)


if __name__ == "__main__":
    main()
