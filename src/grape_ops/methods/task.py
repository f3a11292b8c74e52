"""What a baseline is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grape_ops.cells.store import CropStore
from grape_ops.config import Config

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Task:
    """What a baseline is given.

    Attributes
    ----------
    store : the cells.
    config : all settings; a baseline's own are in ``config.baselines``.
    seed : of whatever it draws.
    folder : for what an interrupted call can go on from; it need not exist yet.
    """

    store: CropStore
    config: Config
    seed: int
    folder: Path


NOTES = "notes"  # of uns: sentences for whoever reads the scores

Baseline = Callable[[Task], "AnnData"]
