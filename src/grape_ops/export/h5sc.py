"""Crops as scPortrait's ``.h5sc``: an AnnData file with ``obsm/single_cell_images``.

Letters: N cells, C channels, S crop size, M masks.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem

from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.hdf5 import new_hdf5
from grape_ops.artifacts.ownership import check_file
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.embed import run_store
from grape_ops.features import find_all_regions, nucleus_channel
from grape_ops.progress import progress
from grape_ops.schema import CELLS_FILE
from grape_ops.train.run_folder import open_run

IMAGES = "single_cell_images"
MASKS = ("seg_all_nucleus", "seg_all_cytosol")
CELL_ID = "scportrait_cell_id"
_ORIGIN = "grape-ops, "
_AT_ONCE = 256


def write_h5sc(run_path: Path, out: Path, settings: Config) -> None:
    """Write the crops of a run's store, float16 in [0, 1], masks first.

    Raises
    ------
    GrapeOpsError : masks are wanted, and no channel shows nuclei; or a file of others lies at ``out``.
    """
    check_file(out, "a file of crops", example="cells.h5sc", is_ours=_is_ours)
    run = open_run(run_path)
    store, kind = run_store(run, where=settings.where), "simulated crop store" if run.simulated else "crop store"
    nucleus = nucleus_channel(store.channels, settings.features.nucleus_channel) if settings.export.masks else None
    masks = MASKS if nucleus is not None else ()
    names = [*masks, *store.channels]
    kinds = ["mask"] * len(masks) + ["image_channel"] * len(store.channels)
    obs = store.cells.assign(**{CELL_ID: np.arange(len(store), dtype=np.int64)})
    adata = AnnData(
        obs=obs.set_index(obs.index.astype(str)),
        var=pd.DataFrame({"channels": names, "channel_mapping": kinds}, index=[str(n) for n in range(len(names))]),
    )
    adata.strings_to_categoricals()
    adata.uns[IMAGES] = {
        "single_cell_id_column": CELL_ID,
        "n_cells": len(store),
        "n_channels": len(names),
        "n_masks": len(masks),
        "n_image_channels": len(store.channels),
        "image_size_x": store.crop_size,
        "image_size_y": store.crop_size,
        "normalization": True,
        "normalization_range_lower": 0.0,
        "normalization_range_upper": 1.0,
        "channel_names": names,
        "channel_mapping": kinds,
        "compression": "lzf",
        "origin": f"{_ORIGIN}{CELLS_FILE} of the {kind} {store.path.name}",
    }
    with draft_of(out, tell=True) as draft, new_hdf5(draft) as (file, check):
        write_elem(file, "/", adata)
        shape = (len(store), len(names), store.crop_size, store.crop_size)
        images = file["obsm"].create_dataset(IMAGES, shape, "f2", chunks=(1, *shape[1:]), compression="lzf")
        images.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        _fill(images, store, nucleus, check)


def _is_ours(file: Path) -> bool:
    if not h5py.is_hdf5(file):
        return False
    with h5py.File(file) as there:
        origin = there.get(f"uns/{IMAGES}/origin")
        return origin is not None and origin.asstr()[()].startswith(_ORIGIN)


def _fill(images: h5py.Dataset, store: CropStore, nucleus: int | None, check: Callable[[], None]) -> None:
    with progress("Writing crops", len(store), "crop") as advance:
        for start in range(0, len(store), _AT_ONCE):
            rows = np.arange(start, min(start + _AT_ONCE, len(store)))
            crops = store.read(rows)
            block = crops.astype(np.float32) / store.pixel_max
            if nucleus is not None:
                block = np.concatenate([find_all_regions(crops, nucleus), block], axis=1)
            images[start : start + len(rows)] = block.astype(np.float16)
            check()
            advance(len(rows))
