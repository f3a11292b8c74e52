"""Nuclei in a sample of crops: how wide they are, how far the next one is, and whether the crop's edge cuts them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.cells.writer import shard_file
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.features.regions import find_nuclei, nucleus_channel
from grape_ops.schema import IS_CONTROL
from grape_ops.screen.quality import Tally

SAMPLED = 64  # crops of a store
MOST_CUT = 0.2  # share of nuclei at the edge; of whole nuclei some touch it, where the centre is not theirs


@dataclass(frozen=True)
class Nuclei:
    """The central nuclei of crops.

    Attributes
    ----------
    sampled : crops that were looked at.
    width : (N,) diameter of a disk of each nucleus' area, in pixels; a cut one is wider.
    next_one : (N,) distance to the centre of the nearest other nucleus, in pixels; NaN where the crop shows none.
    cut : (N,) bool, whether it reaches the crop's edge.
    """

    sampled: int
    width: np.ndarray
    next_one: np.ndarray
    cut: np.ndarray

    @property
    def share_cut(self) -> float:
        """Share of the found nuclei that reach the edge; 0 if none is found."""
        return float(self.cut.mean()) if len(self.cut) else 0.0


def measure_nuclei(dna: list[np.ndarray]) -> Nuclei:
    """Find and measure the central nucleus of each crop's DNA channel, (H, W) each."""
    found = []
    for crop in dna:
        labels, own = find_nuclei(crop)
        if own == 0:
            continue
        rows, columns = np.nonzero(labels)
        names = labels[rows, columns]
        area = np.bincount(names)
        present = np.flatnonzero(area)
        y, x = (np.bincount(names, weights=places)[present] / area[present] for places in (rows, columns))
        mine = present == own
        others = ~mine & (area[present] > area[own] / 4)  # smaller pieces are debris
        away = np.hypot(y[others] - y[mine], x[others] - x[mine])
        rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        found.append((np.sqrt(4 * area[own] / np.pi), away.min() if len(away) else np.nan, (rim == own).any()))
    table = np.array(found, dtype=float).reshape(-1, 3)
    return Nuclei(len(dna), table[:, 0], table[:, 1], table[:, 2] > 0)


def nuclei_of_store(
    out: Path,
    records: Mapping[str, Mapping[str, Any]],
    parts: list[Path],
    channels: tuple[str, ...],
    nucleus: str | None = None,
) -> Nuclei | None:
    """Measure nuclei of some control cells of a store's finished shards; None if no channel is known to show nuclei.

    Parameters
    ----------
    records : of the finished shards, by name.
    parts : the cell table of each shard, as ``write_part`` wrote it.
    nucleus : the channel that shows nuclei; found by its name if unset.
    """
    try:
        channel = nucleus_channel(channels, nucleus)
    except GrapeOpsError as error:
        if nucleus is not None:
            warnings.warn(f"Whether crops cut nuclei was not checked. {error}", stacklevel=2)
        return None
    shards, dna = sorted(records)[:: -(-len(records) // SAMPLED)], []
    tables = {part.stem.removeprefix("cells-"): part for part in parts}
    for name in shards:
        cells = pd.read_parquet(tables[name], columns=[IS_CONTROL])
        rows = np.flatnonzero(cells[IS_CONTROL])
        rows = rows[:: max(len(rows) * len(shards) // SAMPLED, 1)]
        crops = np.load(shard_file(out, name), mmap_mode="r")
        dna += [np.array(crops[row, channel]) for row in rows]
    return measure_nuclei(dna[:SAMPLED])


def warn_cut_nuclei(nuclei: Nuclei | None, settings: PreprocessSettings) -> list[Tally]:
    """Say that crops are too small for the nuclei in them; -> the line of the quality table."""
    if nuclei is None or nuclei.share_cut <= MOST_CUT:
        return []
    count = int(nuclei.cut.sum())
    warnings.warn(
        f"The edge of the crop cuts the nucleus of {count} of {len(nuclei.cut)} sampled control cells: "
        f"{settings.cut_size} px of the screen do not hold these cells. `grape-ops inspect` chooses a size that does; "
        f"preprocess.shrink={settings.shrink + 1} shows more of the screen in crops of the same size.",
        stacklevel=2,
    )
    return [
        Tally(
            f"sampled control cells, of {len(nuclei.cut)}, whose nucleus the edge of the crop cuts",
            count,
            "noted",
            "preprocess.shrink",
        )
    ]
