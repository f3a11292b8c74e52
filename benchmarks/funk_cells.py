"""Ten real cells of the paper's own screen, as its authors cut them, through the generic layout and the report.

The file names alone tell gene, guide, plate, well and tile, so there is no table. None of the ten is a control: the
cells of CEBPE, PLA2G4E and RASD2 stand for them, only so that there is something to scale by, and all cells are one
batch. Nothing can be learnt from ten cells; what shows is that the authors' files come in as they are and that every
step runs on them.
"""

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from crop_screen import data_folder, figures_of, run_crops, trimmed
from grape_ops.cells.store import CropStore
from record import write_record

CHANNELS = ["gammaH2AX", "actin", "DNA", "tubulin"]
SIZE = 96
STEPS = {"full": 200, "quick": 20}


def main() -> None:
    """Run everything and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps: shows that it runs")
    parser.add_argument("--keep", type=Path, help="folder to keep store, run and report in")
    parser.add_argument("--out", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    source = data_folder("funk2022") / "cells"
    name = "{gene_symbol};{sgRNA};{plate};{well};{tile};{index}.npy"
    description = {"crops": f"cells/{name}", "channels": CHANNELS}
    steps = STEPS["quick" if arguments.quick else "full"]
    settings = [
        f"preprocess.crop_size={SIZE}",
        "preprocess.batch_columns=[]",
        "screen.control_pattern=^(CEBPE|PLA2G4E|RASD2)$",
        "train.batch_size=8",
        "train.holdout=0",
        f"train.steps={steps}",
    ]
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "screen").mkdir(parents=True)
        (Path(folder) / "screen" / "cells").symlink_to(source)
        out = run_crops(Path(folder), description, settings)
        store = CropStore.open(out / "store")
        keys = ["gene_symbol", "sgRNA", "plate", "well", "tile", "index"]
        files = [";".join(map(str, row)) + ".npy" for row in store.cells[keys].itertuples(index=False)]
        originals = trimmed(np.stack([np.load(source / file) for file in files]), SIZE)
        figures = figures_of(out, originals)
    write_record(arguments.out, "funk_cells", figures)


if __name__ == "__main__":
    main()
