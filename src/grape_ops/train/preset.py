"""Settings for a training that names none: the preset that suits the number of cells, their crops and the machine."""

from collections.abc import Iterable
from pathlib import Path

import torch

from grape_ops.cells.store import CropStore
from grape_ops.cells.store_record import read_meta
from grape_ops.config import Config, load_config
from grape_ops.progress import note
from grape_ops.schema import RUN_CONFIG_FILE

# large.yaml is for half a million cells of 96 px and one GPU; below, recommended.yaml takes minutes and was tried.
MANY_CELLS, LARGE_CROP = 100_000, 64


def training_settings(
    store_path: Path, config: str | Path | None, overrides: Iterable[str] = (), resumed: Path | None = None
) -> Config:
    """Read the settings of a training; a preset is chosen, and named in a note, where no file is.

    Parameters
    ----------
    store_path : the crop store to train on.
    config : a file or the name of a preset, which is always taken as it is; None to choose.
    overrides : strings ``a.b=c`` over those of the file or preset.
    resumed : folder of a run that goes on: where no file is named, with its own settings.

    Raises
    ------
    GrapeOpsError : there is no such store or file, or a setting does not fit.
    """
    if config is None and resumed is not None and (resumed / RUN_CONFIG_FILE).is_file():
        config = resumed / RUN_CONFIG_FILE
    elif config is None:
        where = load_config(None, overrides).where
        meta = CropStore.open(store_path, where=where).meta if where else read_meta(store_path)
        config, why = choose_preset(meta["n_cells"], meta["crop_size"], torch.cuda.is_available())
        note(f"No configuration was named. Taken: {config}, {why}. Another one: --config paper.yaml, or your own file.")
    return load_config(config, overrides)


def choose_preset(n_cells: int, crop_size: int, gpu: bool) -> tuple[str, str]:
    """Choose a preset: its name, and why, as the end of a sentence."""
    cells = f"{n_cells:,} cells of {crop_size} px"
    if gpu and n_cells >= MANY_CELLS and crop_size >= LARGE_CROP:
        return "large.yaml", f"for {cells} and a GPU"
    reason = "a GPU" if gpu else "no GPU"
    return "recommended.yaml", f"for {cells} and {reason}"
