"""What `grape-ops inspect` found of a screen, and how it is said."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from grape_ops.screen.layouts import LAYOUTS
from grape_ops.screen.quality import Tally, is_doubt
from grape_ops.screen.screen import Screen
from grape_ops.words import counted

MANY_CELLS = 50_000  # from here on, large.yaml


@dataclass(frozen=True)
class CropFit:
    """The size of crops for a screen's cells.

    Attributes
    ----------
    crop_size, shrink : as the settings of these names.
    nucleus : median width of nuclei, in pixels of the screen; None where none were found.
    next_one : median distance of a nucleus to the next one; None where crops show a single one.
    pixel_size : of the screen, in micrometres.
    """

    crop_size: int
    shrink: int
    nucleus: float | None
    next_one: float | None
    pixel_size: float | None

    def __str__(self) -> str:
        """Say in a sentence how large crops are, and why."""
        side = self.crop_size * self.shrink
        if self.nucleus is None:
            binned = (
                f", binned by {self.shrink}, which show the networks {self.crop_size} px" if self.shrink > 1 else ""
            )
            return f"{side} px{binned}; no nuclei were measured to fit them to"
        wide = f" ({self.nucleus * self.pixel_size:.1f} µm)" if self.pixel_size else ""
        away = f", {self.next_one:.0f} px from the next one" if self.next_one else ""
        if self.shrink == 1:
            return f"nuclei are {self.nucleus:.0f} px wide{wide}{away}; crops are {side} px"
        return (
            f"nuclei are {self.nucleus:.0f} px wide{wide}{away}; crops of {side} px, binned by {self.shrink}, show the "
            f"networks {self.crop_size} px"
        )


@dataclass
class Inspection:
    """What was found.

    Attributes
    ----------
    layout : its name.
    screen : as it was opened; its table lay in a temporary folder.
    plates, wells, tiles, cells, controls : how many.
    genes, guides : cells of each; controls are not among the genes.
    quality : what reading the table met.
    size : height and width of a tile or a crop, if one could be read.
    crops : the size that crops will have; None where no cell could be looked at.
    doubts : sentences about what may be wrong, and which setting fixes it.
    """

    layout: str
    screen: Screen
    plates: int = 0
    wells: int = 0
    tiles: int = 0
    cells: int = 0
    controls: int = 0
    control_names: Counter[str] = field(default_factory=Counter)
    genes: Counter[str] = field(default_factory=Counter)
    guides: Counter[str] = field(default_factory=Counter)
    quality: tuple[Tally, ...] = ()
    size: tuple[int, int] | None = None
    crops: CropFit | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def small(self) -> bool:
        """Whether the screen is one for the networks of recommended.yaml."""
        return self.cells < MANY_CELLS

    def facts(self) -> dict[str, Any]:
        """All of it for scripts, as JSON knows it."""
        counts = ("layout", "plates", "wells", "tiles", "cells", "controls")
        return {name: getattr(self, name) for name in counts} | {
            "channels": list(self.screen.channels),
            "pixel_size_um": self.screen.pixel_size,
            "size_px": list(self.size) if self.size else None,
            "crops": asdict(self.crops) if self.crops else None,
            "control_names": dict(self.control_names),
            "cells_of_gene": dict(self.genes),
            "cells_of_guide": dict(self.guides),
            "table": [asdict(tally) for tally in self.quality],
            "doubts": list(self.doubts),
        }

    def __str__(self) -> str:
        """Write the findings as lines of text."""
        channels = ", ".join(self.screen.channels)
        images = counted(self.tiles, "tiles") if self.screen.read_crops is None else "ready crops"
        size = f" of {self.size[0]:,} x {self.size[1]:,} px" if self.size else ""
        own = self.screen.pixel_size
        pixel = f"{own:.4g} µm" if own else "of unknown size (screen.pixel_size gives it in µm, for scale bars)"
        lines = [
            f"Layout: {self.layout} ({LAYOUTS[self.layout].sentence})",
            f"Images: {counted(self.plates, 'plates')}, {counted(self.wells, 'wells')}, {images}{size}",
            f"Channels: {channels}",
            f"Pixel: {pixel}",
            *([f"Crops: {self.crops}"] if self.crops else []),
            f"Cells: {self.cells:,}, of them {self.controls:,} controls ({_names(self.control_names)})",
            f"Genes: {len(self.genes):,} with {counted(len(self.guides), 'guides')}, those of controls included",
        ]
        if self.genes:
            counts = np.array(list(self.genes.values()))
            low, middle, high = np.percentile(counts, [5, 50, 95]).round().astype(int)
            lines.append(
                f"Cells of a gene: {counts.min():,} at least, {low:,} (5 %), {middle:,} (median), {high:,} (95 %), "
                f"{counts.max():,} at most"
            )
        told = [tally for tally in self.quality if not is_doubt(tally)]
        if told:
            lines.append("Table:")
            lines += [f"  {counted(tally.count, tally.what)}: {_fate(tally)}" for tally in told]
        lines.append("Doubtful:" if self.doubts else "Nothing is doubtful.")
        lines += [f"  {doubt}" for doubt in self.doubts]
        return "\n".join(lines)


def _fate(tally: Tally) -> str:
    return tally.fate + (f" ({tally.setting})" if tally.setting else "")


def _names(counts: Counter[str]) -> str:
    shown = [name for name, _ in counts.most_common(3)]
    return ", ".join(shown) + (f" and {len(counts) - 3} more names" if len(counts) > 3 else "")
