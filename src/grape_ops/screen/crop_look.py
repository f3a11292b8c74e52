"""A look at some ready crops before any is taken: of what size and type they are, and whether they are numbers."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.progress import progress
from grape_ops.screen.crop_files import CROP, ArrayCrops
from grape_ops.screen.pixel_types import kind_of
from grape_ops.screen.screen import Screen

_FILES, _ROWS = 2000, 64  # crops that are looked at; those of one array are of one type


def look_at_crops(screen: Screen) -> tuple[tuple[int, int] | None, list[str]]:
    """Read some crops one by one, over all wells: -> height and width of the first, and what is doubtful."""
    assert screen.read_crops is not None
    size: tuple[int, int] | None = None
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    failed, empty, looked_at = [], [], 0
    most = _ROWS if isinstance(screen.read_crops, ArrayCrops) else _FILES
    with progress("Looking at crops", min(most, len(screen.cells)), "crop") as advance:
        for cell in _some(screen, most):
            advance()
            looked_at += 1
            name = str(cell[CROP].iloc[0])
            try:
                crop = screen.read_crops(cell)
            except GrapeOpsError as error:
                failed.append(str(error))
                continue
            size = size or (crop.shape[-2], crop.shape[-1])
            counts[kind_of(crop.dtype)] += 1
            examples.setdefault(kind_of(crop.dtype), name)
            empty += [name] if not np.isfinite(crop).all() else []
    doubts = []
    if failed:
        doubts.append(f"{len(failed)} of {looked_at:,} crops looked at cannot be read: {failed[0]}")
    if empty:
        doubts.append(
            f"{len(empty)} of {looked_at:,} crops looked at have pixels that are NaN or infinite, for example "
            f"{empty[0]}: their cells are left out."
        )
    if len(counts) > 1:
        listed = ", ".join(f"{kind} ({count}, for example {examples[kind]})" for kind, count in counts.most_common())
        doubts.append(
            f"Crops differ in pixel type: {listed}. preprocess refuses them, since their values do not mean the same "
            "brightness; convert them to one."
        )
    return size, doubts


def _some(screen: Screen, most: int) -> Iterator[pd.DataFrame]:
    """Go through crops evenly over the table, a row of it each."""
    step, start = max(-(-len(screen.cells) // most), 1), 0
    for _, cells in screen.cells:
        for row in range(-start % step, len(cells), step):
            yield cells.iloc[[row]]
        start += len(cells)
