"""A screen of a few small TIFF tiles, and readers that misbehave on purpose."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.cell_table import collect_cells
from grape_ops.screen.screen import Screen


def settings(**changes: object) -> PreprocessSettings:
    """Settings for small crops, made in this process."""
    return PreprocessSettings.model_validate({"crop_size": 32, "workers": 1} | changes)


@dataclass(frozen=True)
class TiffReader:
    """Reads a tile below a root, and writes down that it did."""

    root: Path

    def __call__(self, row: pd.Series) -> np.ndarray:
        file = self.root / row["path"]
        self.note(row)
        try:
            return tifffile.imread(file)
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            raise GrapeOpsError(f"{file.name} cannot be read: {error}") from None

    def note(self, row: pd.Series) -> int:
        """Write a read down and return which one of all it is; two processes never get the same number."""
        with (self.root / "reads.log").open("ab+") as log:
            log.write(f"{os.getpid()} {row['path']}\n".encode())
            log.flush()
            end = log.tell()
            log.seek(0)
            return log.read(end).count(b"\n")


@dataclass(frozen=True)
class SignallingReader(TiffReader):
    """Sends a signal when the tile of a certain read is asked for: to a process, or with 0 to the one that reads."""

    victim: int
    signal: int
    at_read: int

    def note(self, row: pd.Series) -> int:
        """Write a read down, and send the signal if it is the one."""
        number = super().note(row)
        if number == self.at_read:
            os.kill(self.victim or os.getpid(), self.signal)
        return number


def reads(root: Path) -> list[str]:
    """Everything that was read below a root, as "process path"."""
    log = root / "reads.log"
    return log.read_text().splitlines() if log.is_file() else []


def vignette(size: int, loss: float = 0.35) -> np.ndarray:
    """Light that falls off towards the corners: (size, size), 1 in the middle."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return 1 - loss * (y**2 + x**2) / 2


def make_screen(
    root: Path,
    wells: tuple[tuple[str, str], ...] = (("P1", "A1"), ("P1", "A2"), ("P2", "A1")),
    tiles: int = 3,
    size: int = 96,
    cells: int = 12,
    channels: int = 2,
    seed: int = 0,
) -> Screen:
    """Write tiles with blobs at the cells under a vignette, and return the screen."""
    rng = np.random.default_rng(seed)
    rows, listed = [], []
    (root / "tiles").mkdir(parents=True)
    for plate, well in wells:
        for tile in range(tiles):
            path = f"tiles/{plate}_{well}_{tile}.tif"
            listed.append({"plate": plate, "well": well, "tile": str(tile), "path": path})
            places = rng.uniform(0, size - 1, (cells, 2))
            places[0] = size / 2  # a control in the middle, so that every batch keeps one whatever the crop size
            image = np.full((channels, size, size), 400.0)
            for n, (y, x) in enumerate(places):
                distance = ((np.mgrid[:size, :size] - np.array([y, x])[:, None, None]) ** 2).sum(0)
                image += rng.uniform(500, 3000, (channels, 1, 1)) * np.exp(-distance / 30)
                gene = "nontargeting" if n % 4 == 0 else f"GENE{n % 3}"
                guide = {"gene_symbol": gene, "sgRNA": f"{gene}_{n % 2}", "is_control": n % 4 == 0}
                rows.append(guide | {"plate": plate, "well": well, "tile": str(tile), "y": y, "x": x})
            image = rng.poisson(image * vignette(size)).astype(np.uint16)
            tifffile.imwrite(root / path, image, photometric="minisblack")
    names = tuple(f"channel{c}" for c in range(channels))
    return Screen(root, names, collect_cells([pd.DataFrame(rows)]), pd.DataFrame(listed), TiffReader(root))


def signalling(screen: Screen, victim: int, signal: int, at_read: int) -> Screen:
    """Return the screen with a reader that sends a signal."""
    return replace(screen, read_tile=SignallingReader(screen.root, victim, signal, at_read))


def contents(store: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(file.relative_to(store)): file.read_bytes() for file in sorted(store.rglob("*")) if file.is_file()}
