"""A screen as every layout hands it over: tiles that are read on demand, and a cell table in our columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

TileReader = Callable[[pd.Series], np.ndarray]


@dataclass(frozen=True)
class Screen:
    """One screen, ready to be cut into crops. It pickles, so that worker processes can read tiles themselves.

    Attributes
    ----------
    root : folder it was read from.
    channels : names, in the order of a tile's first axis.
    cells : one row a cell: gene_symbol, sgRNA, plate, well, tile (strings), y, x (float, tile pixels), is_control.
    tiles : one row a tile that the cell table or the folder names: plate, well, tile (strings), `path`
        (missing files are listed too, so that they can be reported).
    read_tile : a row of ``tiles`` -> (channels, height, width) array of the file's own integer type; raises
        GrapeOpsError naming the file when it cannot be read.
    """

    root: Path
    channels: tuple[str, ...]
    cells: pd.DataFrame
    tiles: pd.DataFrame
    read_tile: TileReader
