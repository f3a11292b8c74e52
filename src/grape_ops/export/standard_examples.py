"""Example crops of the OPS Data Standard: ``examples.zarr/{channels}/{perturbation_id}/{barcode}/{0..}``.

Each crop is an OME-Zarr image (NGFF 0.5, zarr v3) that names its own channels. Letters: C channels, S crop size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from grape_ops.cells.store import CropStore
from grape_ops.config import ExportSettings
from grape_ops.export.standard_library import BARCODE, PERTURBATION
from grape_ops.plotting.pictures import ChannelView, channel_views
from grape_ops.progress import note, progress

_LIMIT_CELLS = 400  # behind the grey levels


def write_examples(store: CropStore, cells: pd.DataFrame, settings: ExportSettings, seed: int, folder: Path) -> None:
    """Draw a few guides of each perturbation and a few cells of each guide, and write their crops.

    Parameters
    ----------
    cells : what ``describe_cells`` made of the store's cells.
    folder : ``examples.zarr``, new.
    """
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    panel = root.create_group("_".join(store.channels))
    some = np.random.default_rng(seed).permutation(len(store))[:_LIMIT_CELLS]
    views = channel_views(store.channels, store.read(np.sort(some)))
    pixel_size = (settings.pixel_size or 0) * shrink_of(store) or store.meta["provenance"].get("pixel_size")
    if not pixel_size:
        note(
            "the size of a pixel is not known, so the crops have no unit: --set export.pixel_size=0.65, in micrometres."
        )
    drawn = draw_examples(cells, settings, np.random.default_rng(seed))
    with progress("Example crops", len(drawn), "crop") as advance:
        for (perturbation, barcode), rows in drawn.groupby([PERTURBATION, BARCODE], sort=True):
            of_gene = panel.require_group(str(perturbation))
            of_guide = of_gene.require_group(str(barcode))
            for place, crop in enumerate(store.read(rows["cell"].to_numpy())):
                _write_crop(of_guide, str(place), crop, store, views, str(perturbation), pixel_size)
            advance(len(rows))


def shrink_of(store: CropStore) -> int:
    """How many pixels of the screen along an axis are one of the crops' (``preprocess.shrink``)."""
    return int(store.meta["provenance"].get("settings", {}).get("shrink", 1))


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


def channel_list(views: Sequence[ChannelView], pixel_max: int) -> list[dict[str, object]]:
    """Describe the channels for a viewer (``omero.channels``), in the grey levels that pixels are stored in."""
    return [
        {
            "label": view.name,
            "color": view.colour.removeprefix("#").upper(),
            "active": True,
            "family": "linear",
            "coefficient": 1.0,
            "inverted": False,
            "window": {
                "min": 0,
                "max": pixel_max,
                "start": round(view.low),
                "end": max(round(view.high), round(view.low) + 1),
            },
        }
        for view in views
    ]


def axes(pixel_size: float | None) -> list[dict[str, str]]:
    """Name the five axes; those in space have a unit where the size of a pixel is known."""
    kinds = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
    unit = {"unit": "micrometer"} if pixel_size else {}
    return [{"name": name, "type": kind, **(unit if kind == "space" else {})} for name, kind in kinds.items()]


def _write_crop(
    guide: zarr.Group,
    name: str,
    crop: np.ndarray,
    store: CropStore,
    views: Sequence[ChannelView],
    perturbation: str,
    pixel_size: float | None,
) -> None:
    image = guide.create_group(name)
    across = pixel_size or 1.0
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0, across, across]}
    described: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {"name": name, "axes": axes(pixel_size), "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
        ],
        "omero": {
            "channels": channel_list(views, store.pixel_max),
            "rdefs": {"defaultT": 0, "defaultZ": 0, "model": "color"},
        },
    }
    image.attrs.update({"ome": described, PERTURBATION: perturbation})
    pixels = crop[None, :, None]  # (1, C, 1, S, S)
    array = image.create_array(
        "0", shape=pixels.shape, dtype=pixels.dtype, chunks=pixels.shape, dimension_names=list("TCZYX")
    )
    array[...] = pixels
