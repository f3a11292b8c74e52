"""Example crops of the OPS Data Standard: ``examples.zarr/{channels}/{perturbation_id}/{barcode}/{0..}``.

Each crop is an OME-Zarr image (NGFF 0.5, zarr v3) that names its own channels. Letters: C channels, S crop size.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from grape_ops.cells.store import CropStore
from grape_ops.config import ExportSettings
from grape_ops.export.standard_library import BARCODE, PERTURBATION
from grape_ops.progress import progress

_COLOURS = ("0000FF", "00FF00", "FF0000", "FFFF00", "FF00FF", "00FFFF", "FFFFFF")


def write_examples(store: CropStore, cells: pd.DataFrame, settings: ExportSettings, seed: int, folder: Path) -> None:
    """Draw a few guides of each perturbation and a few cells of each guide, and write their crops.

    Parameters
    ----------
    cells : what ``describe_cells`` made of the store's cells.
    folder : ``examples.zarr``, new.
    """
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    panel = root.create_group("_".join(store.channels))
    levels = contrast(store)
    drawn = draw_examples(cells, settings, np.random.default_rng(seed))
    with progress("Example crops", len(drawn), "crop") as advance:
        for (perturbation, barcode), rows in drawn.groupby([PERTURBATION, BARCODE], sort=True):
            of_gene = panel.require_group(str(perturbation))
            of_guide = of_gene.require_group(str(barcode))
            for place, crop in enumerate(store.read(rows["cell"].to_numpy())):
                _write_crop(of_guide, str(place), crop, store, levels, str(perturbation))
            advance(len(rows))


def draw_examples(cells: pd.DataFrame, settings: ExportSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Draw cells to show: perturbation_id, barcode, cell (its row in the store)."""
    order = rng.permutation(len(cells))
    table = pd.DataFrame({PERTURBATION: cells[PERTURBATION], BARCODE: cells[BARCODE], "cell": np.arange(len(cells))})
    table = table.iloc[order]
    # The guides with most cells stand for a perturbation.
    counts = table.groupby([PERTURBATION, BARCODE]).size().rename("n").reset_index()
    counts = counts.sort_values([PERTURBATION, "n", BARCODE], ascending=[True, False, True])
    chosen = counts.groupby(PERTURBATION).head(settings.barcodes)[[PERTURBATION, BARCODE]]
    table = table.merge(chosen, on=[PERTURBATION, BARCODE])
    return table.groupby([PERTURBATION, BARCODE]).head(settings.crops).reset_index(drop=True)


def contrast(store: CropStore) -> list[tuple[int, int]]:
    """Grey levels that each channel is shown between: the batch controls' mean, less one and plus four deviations."""
    mean, spread = store.control_mean.mean(axis=0), store.control_sd.mean(axis=0)
    low = np.clip((mean - spread) * store.pixel_max, 0, store.pixel_max)
    high = np.clip((mean + 4 * spread) * store.pixel_max, 1, store.pixel_max)
    return [(round(float(a)), round(float(b))) for a, b in zip(low, high, strict=True)]


def channel_list(store: CropStore, levels: list[tuple[int, int]]) -> list[dict[str, object]]:
    """Describe the channels for a viewer (``omero.channels``)."""
    return [
        {
            "label": name,
            "color": _COLOURS[place % len(_COLOURS)],
            "active": True,
            "window": {"min": 0, "max": store.pixel_max, "start": low, "end": high},
        }
        for place, (name, (low, high)) in enumerate(zip(store.channels, levels, strict=True))
    ]


def axes() -> list[dict[str, str]]:
    """Name the five axes; crops know neither time nor the size of a pixel, so that none has a unit."""
    kinds = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
    return [{"name": name, "type": kind} for name, kind in kinds.items()]


def _write_crop(
    guide: zarr.Group, name: str, crop: np.ndarray, store: CropStore, levels: list[tuple[int, int]], perturbation: str
) -> None:
    image = guide.create_group(name)
    scale = {"type": "scale", "scale": [1.0] * 5}
    described: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {"name": name, "axes": axes(), "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
        ],
        "omero": {"channels": channel_list(store, levels)},
    }
    image.attrs.update({"ome": described, PERTURBATION: perturbation})
    pixels = crop[None, :, None]  # (1, C, 1, S, S)
    array = image.create_array(
        "0", shape=pixels.shape, dtype=pixels.dtype, chunks=pixels.shape, dimension_names=list("TCZYX")
    )
    array[...] = pixels
