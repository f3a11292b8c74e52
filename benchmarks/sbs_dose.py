"""Real pixels end to end: 96 raw fields of a reporter that moves into the nucleus with the dose.

The fields are written as tiles, nuclei are found by Otsu's threshold and a watershed, and everything else goes
through the command line: preprocess, train, embed. Dose stands for the perturbation, rows A-D and E-H for two
batches, dose 0 for the control. A second training takes each (row block, dose) for a perturbation of its own;
there the dose-0 wells of column 2 are a perturbation too, so that every block has doses 0 to 6, and the other
dose-0 wells, at the plate's rim, stay controls. Its figures are Spearman's correlations of dose with the first
principal component of all those vectors, with one common sign.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import yaml
from scipy import ndimage, stats
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import regionprops
from skimage.segmentation import watershed

from grape_ops.cells.store import CropStore
from grape_ops.preprocess.flat_field import read_fields
from real_data import real_data
from record import write_record

CHANNELS = ("GFP", "DNA")
BLOCKS = {"AD": "ABCD", "EH": "EFGH"}
HIGHEST_DOSE = 6  # the reporter's response is flat from there on
SMOOTHING = 60  # pixels: nuclei vanish, the light's fall-off over the field stays
STEPS = {"full": 600, "quick": 60}


def main() -> None:
    """Run both trainings and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps: shows that it runs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    images, wells = read_fields_and_wells(real_data("sbs_fields"))
    cells = find_cells(images, wells)
    steps = STEPS["quick" if arguments.quick else "full"]
    with tempfile.TemporaryDirectory() as folder:
        pooled = run_command_line(Path(folder) / "pooled", images, with_doses(cells), steps)
        split = run_command_line(Path(folder) / "split", images, with_blocks(cells), steps)
        store = CropStore.open(pooled / "store")
        figures: dict[str, Any] = {"crops": len(store), "nuclei_found": len(cells)}
        figures |= flatness(images, pooled / "store")
        figures |= dose_response(split / "genes.h5ad") | {"training_steps": steps}
    write_record(arguments.out, "sbs_dose", figures)


def read_fields_and_wells(folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Read the fields (96, 2, 640, 640) and, in their order, row, column, well and dose."""
    plan = pd.read_csv(folder / "plate_map.csv", dtype={"Column": str}).sort_values("ImageNumber")
    wells = pd.DataFrame({"row": plan["Row"], "column": plan["Column"], "dose": plan["SBS_Doses"]})
    wells["well"] = wells["row"] + wells["column"]
    wells["row_block"] = [next(name for name, rows in BLOCKS.items() if row in rows) for row in wells["row"]]
    return np.load(folder / "fields.npz")["images"], wells.reset_index(drop=True)


def find_cells(images: np.ndarray, wells: pd.DataFrame) -> pd.DataFrame:
    """Find nuclei in every field, and give each its well's row, block and dose."""
    tables = []
    for field, well in zip(images, wells.to_dict("records"), strict=True):
        centres = find_nuclei(field[CHANNELS.index("DNA")])
        place = {"plate": "SBS", "tile": "1", **well}
        tables.append(pd.DataFrame(centres, columns=["y", "x"]).assign(**place))
    return pd.concat(tables, ignore_index=True)


def find_nuclei(dna: np.ndarray, least_area: int = 30) -> np.ndarray:
    """Find centres of nuclei: (H, W) -> (n, 2)."""
    smooth = ndimage.gaussian_filter(dna.astype(float), 1)
    mask = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1)
    peaks = peak_local_max(depth, min_distance=4, labels=ndimage.label(mask)[0], exclude_border=False)
    seeds = np.zeros(dna.shape, dtype=int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    nuclei = regionprops(watershed(-depth, seeds, mask=mask))
    return np.array([nucleus.centroid for nucleus in nuclei if nucleus.area >= least_area]).reshape(-1, 2)


def with_doses(cells: pd.DataFrame) -> pd.DataFrame:
    """Take each dose for a perturbation; its wells are its guides."""
    return _labelled(cells, "dose" + cells["dose"].astype(str), cells["dose"] == 0)


def with_blocks(cells: pd.DataFrame) -> pd.DataFrame:
    """Take each (row block, dose) for a perturbation; dose 0 outside column 2 is the control."""
    label = cells["row_block"] + "_dose" + cells["dose"].astype(str)
    return _labelled(cells, label, (cells["dose"] == 0) & (cells["column"] != "02"))


def _labelled(cells: pd.DataFrame, label: pd.Series, control: pd.Series) -> pd.DataFrame:
    gene = label.where(~control, "nontargeting")
    return cells.assign(gene_symbol=gene, sgRNA=gene + "_" + cells["well"])


def run_command_line(folder: Path, images: np.ndarray, cells: pd.DataFrame, steps: int) -> Path:
    """Write the screen and run preprocess, train and embed on it."""
    screen = folder / "screen"
    (screen / "tiles").mkdir(parents=True)
    for field, well in zip(images, cells["well"].unique(), strict=True):
        tifffile.imwrite(screen / "tiles" / f"{well}.tif", field, photometric="minisblack")
    cells.to_parquet(screen / "cells.parquet")
    layout = {"cells": "cells.parquet", "tiles": "tiles/{well}.tif", "channels": list(CHANNELS)}
    (screen / "screen.yaml").write_text(yaml.safe_dump(layout))
    settings = {
        "preprocess.batch_columns": ["row_block"],
        # One field a well: illumination is that of the plate, intensities those of the block.
        "preprocess.flat_field.columns": ["plate"],
        "preprocess.intensity.columns": ["row_block"],
        "train.steps": steps,
    }
    chosen = ["--config", "small.yaml"]
    for key, value in settings.items():
        chosen += ["--set", f"{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"]
    store, run = folder / "store", folder / "run"
    grape_ops("preprocess", screen, "--layout", "table", "--out", store, *chosen)
    grape_ops("train", store, "--out", run, *chosen)
    grape_ops("embed", run, "--position", 1, "--out", folder / "genes.h5ad")
    return folder


def grape_ops(*words: object) -> None:
    """Run a command of the package as a user would."""
    subprocess.run([sys.executable, "-m", "grape_ops", *map(str, words)], check=True)


def flatness(images: np.ndarray, store: Path) -> dict[str, float]:
    """Min/max of the smoothed mean field, worst channel, before and after the division by the store's field."""
    mean = images.mean(axis=0, dtype=float)
    (field,) = read_fields(store).values()
    corrected = mean / field.at(*(np.arange(n) for n in mean.shape[1:]))
    worst = {}
    for name, fields in (("flatness_before", mean), ("flatness_after", corrected)):
        smooth = [ndimage.gaussian_filter(channel, SMOOTHING) for channel in fields]
        worst[name] = round(min(float(channel.min() / channel.max()) for channel in smooth), 4)
    return worst


def dose_response(genes: Path) -> dict[str, float]:
    """Spearman's correlation of dose with the first principal component, for each row block."""
    from anndata import read_h5ad

    vectors = read_h5ad(genes)
    named = [name.split("_dose") for name in vectors.obs_names]
    table = pd.DataFrame([(n[0], int(n[1])) if len(n) == 2 else ("", -1) for n in named], columns=["block", "dose"])
    chosen = (table["dose"] >= 0) & (table["dose"] <= HIGHEST_DOSE)
    table, vectors = table[chosen].reset_index(drop=True), vectors[chosen.to_numpy()]
    centred = np.asarray(vectors.X, dtype=float) - np.asarray(vectors.X, dtype=float).mean(axis=0)
    component = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
    component *= np.sign(np.corrcoef(component, table["dose"])[0, 1])
    figures = {}
    for block in BLOCKS:
        own = (table["block"] == block).to_numpy()
        correlation = stats.spearmanr(table["dose"][own], component[own]).statistic
        figures[f"spearman_rows_{block}"] = round(float(correlation), 4)
    return figures


if __name__ == "__main__":
    main()
