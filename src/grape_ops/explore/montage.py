"""Pictures of cells: rows of crops of all channels in one greyscale PNG, at one range of intensities per channel.

The range holds more than is shown at first, so that the page can change the contrast: each channel's default black
point is the range's start, its default white point a share of the range.

A picture holds R rows of n crops; each row is C bands (channels) of H pixels, so that it is (R * C * H, n * H).
The page takes it apart, shows channels alone or together, and never has to ask again.
Letters: R rows, n crops in a row, C channels, H crop size.
"""

import io
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from grape_ops.cells.store import CropStore
from grape_ops.config import ExploreSettings
from grape_ops.explore.live_restyling import LiveRestyler
from grape_ops.plotting.pictures import BRIGHTEST, channel_views, grey
from grape_ops.randomness import ExploreStream, generator
from grape_ops.restyle.sampling import draw_cells, match_batches
from grape_ops.schema import GUIDE, PLATE, TILE, WELL, X, Y

WIDEST = 4  # times the default contrast; beyond, too few of the 256 levels would be left for what is shown
LIMIT_CELLS = 400  # cells behind the black and white points: of controls, and of all cells


class Montage:
    """Which cells stand for a gene, and their pictures."""

    def __init__(self, store: CropStore, settings: ExploreSettings, seed: int, restyler: LiveRestyler | None):
        self.store = store
        self.settings = settings
        self.seed = seed
        self.restyler = restyler
        self.control_row = store.control_label
        rng = generator(seed, ExploreStream.LIMITS)
        controls = rng.permutation(np.flatnonzero(store.labels == store.control_label))[:LIMIT_CELLS]
        drawn = np.concatenate([controls, rng.permutation(len(store))[:LIMIT_CELLS]])
        some = store.standardized(np.unique(drawn))
        brightest = np.percentile(some, BRIGHTEST, axis=(2, 3)).max(axis=0)
        self.channels = channel_views(store.channels, some)
        self.ranges = [
            replace(view, high=float(np.clip(float(most), view.high, view.low + WIDEST * (view.high - view.low))))
            for view, most in zip(self.channels, brightest, strict=True)
        ]

    def describe_channels(self) -> list[dict[str, Any]]:
        """The channels, ready for JSON: ``white`` is the default white point, a share of what pictures hold."""
        return [
            vars(view) | {"white": (view.high - view.low) / (span.high - span.low)}
            for view, span in zip(self.channels, self.ranges, strict=True)
        ]

    def controls(self, draw: int) -> np.ndarray:
        """Control cells on display, in by turns from the batches: (n,)."""
        return draw_cells(self.store, self.control_row, self.settings.cells, self.seed + draw)

    def guides(self, row: int, draw: int) -> list[tuple[str, np.ndarray]]:
        """Knock-out cells of each guide, those of most cells first, from the batch of the control above if possible."""
        controls, rng = self.controls(draw), generator(self.seed + draw, ExploreStream.KNOCKOUT, row)
        cells = rng.permutation(np.flatnonzero(self.store.labels == row))
        of = self.store.cells[GUIDE].to_numpy()[cells].astype(str)
        names, counts = np.unique(of, return_counts=True)
        most = names[np.argsort(-counts, kind="stable")][: self.settings.guides]
        return [(str(name), match_batches(self.store, cells[of == name], controls)) for name in most]

    def describe_controls(self, draw: int) -> dict[str, Any]:
        """The control row and, with a generator, the same cells restyled to control, ready for JSON."""
        cells = self._cells(self.controls(draw))
        kinds = ("control",) if self.restyler is None else ("control", "unchanged")
        return {"rows": [{"kind": kind, "label": "control", "cells": cells} for kind in kinds]}

    def describe(self, row: int, draw: int) -> dict[str, Any]:
        """The rows of ``picture``, ready for JSON."""
        guides = [
            {"kind": "knockout", "label": guide, "cells": self._cells(cells)} for guide, cells in self.guides(row, draw)
        ]
        if self.restyler is None or row == self.control_row:
            return {"rows": guides}
        return {"rows": [{"kind": "restyled", "label": "restyled", "cells": self._cells(self.controls(draw))}, *guides]}

    def control_picture(self, draw: int) -> bytes:
        """PNG of the rows that ``describe_controls`` names."""
        cells = self.controls(draw)
        rows = [self.store.standardized(cells)]
        if self.restyler is not None:
            rows.append(self.restyler.restyle(cells, self.control_row, self.control_row, [1.0])[0])
        return self._png(rows)

    def picture(self, row: int, draw: int) -> bytes:
        """PNG of a perturbation: the controls restyled to it, then one row per guide."""
        rows = [self.store.standardized(cells) for _, cells in self.guides(row, draw)]
        if self.restyler is not None and row != self.control_row:
            rows.insert(0, self.restyler.restyle(self.controls(draw), row, row, [1.0])[0])
        return self._png(rows)

    def strip(self, row: int, cells: Sequence[int], first: int, mixes: Sequence[float]) -> bytes:
        """PNG with one row per cell, restyled step by step on the way from one perturbation to another."""
        assert self.restyler is not None, "ExplorerData asks for strips only with networks"
        return self._png(list(self.restyler.restyle(np.array(cells), first, row, mixes).swapaxes(0, 1)))

    def _cells(self, cells: np.ndarray) -> list[dict[str, Any]]:
        known = [column for column in (PLATE, WELL, TILE, Y, X) if column in self.store.cells]
        rows = self.store.cells.iloc[cells][known].to_dict("records")
        return [{"cell": int(cell), "where": _place(row)} for cell, row in zip(cells, rows, strict=True)]

    def _png(self, rows: Sequence[np.ndarray]) -> bytes:
        n, size, channels = max([1, *map(len, rows)]), self.store.crop_size, len(self.channels)
        picture = np.zeros((max(1, len(rows)) * channels * size, n * size), np.uint8)
        for place, crops in enumerate(rows):
            for band, channel in enumerate(self.ranges):
                top = (place * channels + band) * size
                levels = np.rint(grey(crops[:, band], channel) * 255).astype(np.uint8)
                picture[top : top + size, : len(crops) * size] = levels.swapaxes(0, 1).reshape(size, -1)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", compress_level=4)
        return buffer.getvalue()


def _place(row: dict[Hashable, Any]) -> str:
    """Say where a cell lies, so that it can be found in the raw images."""
    words = [f"{name} {row[name]}" for name in (PLATE, WELL, TILE) if name in row]
    words += [f"{name} {float(row[name]):.0f}" for name in (Y, X) if name in row]
    return ", ".join(words)
