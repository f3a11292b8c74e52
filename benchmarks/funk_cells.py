"""Ten real cells of the paper's own screen, as its authors cut them, through the generic layout and the report.

The file names alone tell gene, guide, plate, well and tile, so there is no table. None of the ten is a control: the
cells of CEBPE, PLA2G4E and RASD2 stand for them, only so that there is something to scale by, and all cells are one
batch. Nothing can be learnt from ten cells; what shows is that the authors' files come in as they are and that every
step runs on them.
"""

import numpy as np

from crop_screen import benchmark_crops, trimmed
from grape_ops.cells.store import CropStore
from real_data import real_data

KEYS = ["gene_symbol", "sgRNA", "plate", "well", "tile", "index"]  # what the file names tell
CHANNELS = ["gammaH2AX", "actin", "DNA", "tubulin"]
SIZE = 96
SETTINGS = [
    f"preprocess.crop_size={SIZE}",
    "preprocess.batch_columns=[]",
    "screen.control_pattern=^(CEBPE|PLA2G4E|RASD2)$",
    "train.batch_size=8",
    "train.holdout=0",
]


def main() -> None:
    """Run everything and write the record."""
    cells = real_data("funk2022/cells")

    def originals(store: CropStore) -> np.ndarray:
        files = [";".join(map(str, row)) + ".npy" for row in store.cells[KEYS].itertuples(index=False)]
        return trimmed(np.stack([np.load(cells / file) for file in files]), SIZE)

    name = ";".join(f"{{{key}}}" for key in KEYS)
    description = {"crops": f"cells/{name}.npy", "channels": CHANNELS}
    benchmark_crops("funk_cells", __doc__, description, SETTINGS, originals, crops=cells)


if __name__ == "__main__":
    main()
