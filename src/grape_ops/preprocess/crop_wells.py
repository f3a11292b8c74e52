"""The ready crops of one (plate, well): read, trimmed, rescaled and written, which is what a worker does.

A well's crops first go to a file of their own, whatever fails among them; once it is known which cells stay, that file
becomes the well's shard. All of it may be done twice, as on a cluster that loses a worker.
Legend: N crops of a well, C channels, S crop size.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from grape_ops.artifacts.atomic import draft_of, reserve, write_text
from grape_ops.cells.store_record import PIXEL_TYPES
from grape_ops.cells.writer import adopt_shard, finish_shard, put_crops, release_shard, start_shard
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crops import binned
from grape_ops.preprocess.selection import NON_FINITE
from grape_ops.screen.crop_files import CROP
from grape_ops.screen.pixel_types import MixedPixelTypes, NonFinitePixels, kind_of, mixed_types
from grape_ops.screen.screen import CropReader

_AT_ONCE = 256
LEVELS = 1 << 16
UNREADABLE = "crop missing or unreadable"
Failures = dict[int, tuple[str, str]]  # row of a well -> why its crop is left out, as the quality table says, and which
_ROUNDING = 1e-6  # that much beyond 0 and 1 comes of how floats were made


@dataclass(frozen=True)
class WellJob:
    """The crops of one well: who reads them, which cells, and where they go.

    Attributes
    ----------
    shard : name of the well's shard.
    group : (N,) name of the group whose percentiles each crop takes part in.
    file : where its crops lie until it is known which of them stay.
    size, shrink : height and width of the stored crops, and how many pixels along an axis become one of theirs.
    like : pixel type of the screen's crops, and a crop of that type; empty until one was read.
    drop : whether crops that cannot be read are left out; else they are the end.
    """

    shard: str
    read: CropReader
    cells: pd.DataFrame
    group: np.ndarray
    file: Path
    channels: int
    size: int
    shrink: int
    pixel_type: str
    drop: bool
    like: tuple[str, str] = ("", "")

    @property
    def mark(self) -> Path:
        """File that exists once all crops were read: the scales they were written with."""
        return self.file.with_suffix(".scales")

    @property
    def levels(self) -> Path:
        """File that exists once the well was measured: the intensities of its groups."""
        return self.file.with_suffix(".levels.npz")

    def measured(self) -> bool:
        """Whether an earlier call measured all of its crops; those that failed may be repaired by now."""
        if not self.levels.is_file():
            return False
        with np.load(self.levels) as found:
            return int(found["failed"]) == 0

    def take_back(self, out: Path) -> None:
        """Turn the well's shard back into its file, if a call that was killed later had made it a shard."""
        if self.mark.is_file() and not self.file.is_file():
            release_shard(out, self.shard, self.file)

    def written(self, scales: dict[str, np.ndarray] | None) -> bool:
        """Whether an earlier call read all of its crops, and wrote them with these scales."""
        return self.file.is_file() and self.mark.is_file() and self.mark.read_text() == _in_words(scales)


def readable(job: WellJob) -> Iterator[tuple[str, np.ndarray]]:
    """Read the crops of a well one by one, without those that cannot be read: name, (1, C, H, W) each."""
    for place, name in enumerate(job.cells[CROP].astype(str)):
        try:
            crop = job.read(job.cells.iloc[[place]])
        except GrapeOpsError:
            continue
        yield name, crop


def measure_well(job: WellJob, shares: tuple[float, float] | None) -> int:
    """Leave in a file what a well's crops tell about their groups' intensities: -> how many crops.

    Parameters
    ----------
    shares : percentiles to take, where no group is larger than a well: (C, 2) a group are left. If None, the counts
        of all grey levels are, (C, 65536), to be added to those of other wells.
    """
    found: dict[str, np.ndarray] = {}
    failed = 0
    for name in sorted(set(job.group.tolist())):  # one at a time: there may be as many groups as tiles
        own = job.group == name
        counts, failures = _count_levels(replace(job, cells=job.cells[own], group=job.group[own]))
        failed += failures
        if counts.any():
            found[name] = counts if shares is None else level_percentiles(counts, shares)
    levels = np.stack(list(found.values())) if found else np.zeros((0, job.channels, 0))
    with draft_of(job.levels, forced=False) as draft:
        np.savez_compressed(draft, names=np.array(list(found), dtype=np.str_), levels=levels, failed=failed)
    return len(job.cells)


def _count_levels(job: WellJob) -> tuple[np.ndarray, int]:
    """Count the grey levels of crops: -> (C, 65536), and how many crops could not be read."""
    counts = np.zeros((job.channels, LEVELS), np.int64)
    failures: Failures = {}
    for _, crops in _read_some(job, failures, rescaled=True):
        for channel, own in enumerate(counts):
            own += np.bincount(crops[:, channel].ravel(), minlength=LEVELS)
    return counts, len(failures)


def level_percentiles(counts: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    """Find the grey levels below which shares of the pixels lie: (C, 65536), percentages -> (C, 2)."""
    below = np.cumsum(counts, axis=1)
    wanted = np.array(shares) / 100
    places = [np.searchsorted(row, wanted * (row[-1] - 1), side="right") for row in below]
    return np.array(places, dtype=np.float64)


def write_well(job: WellJob, scales: dict[str, np.ndarray] | None) -> tuple[str, int, Failures]:
    """Write a well's crops to its file: -> the shard, how many, and what failed by row, with its reason.

    Parameters
    ----------
    scales : (C, 2) values that become black and white of each group; None if the crops are scaled already.
    """
    failures: Failures = {}
    if scales is not None:  # crops may be back that could not be read when their group was measured
        bare = np.flatnonzero([name not in scales for name in job.group.tolist()]).tolist()
        failures = {
            row: (UNREADABLE, f"no crop of {job.group[row]} could be read to measure intensities") for row in bare
        }
    black = np.zeros((job.channels, 2))
    with draft_of(job.file, forced=False) as draft:
        crops = open_memmap(draft, "w+", job.pixel_type, (len(job.cells), job.channels, job.size, job.size))
        reserve(draft, draft.stat().st_size)
        for rows, found in _read_some(job, failures, scales is not None):
            scale = None if scales is None else np.stack([scales.get(name, black) for name in job.group[rows].tolist()])
            crops[rows] = binned(to_store(found, scale, job.pixel_type), job.shrink)
        crops.flush()
        del crops
        job.mark.unlink(missing_ok=True)
    if not failures:
        write_text(job.mark, _in_words(scales))
    return job.shard, len(job.cells), failures


def finish_well(file: Path, out: Path, shard: str, rows: np.ndarray | None, cells: pd.DataFrame) -> dict[str, Any]:
    """Make a well's file its shard, or copy the crops that stay, and sum up the controls: -> the shard's record.

    Parameters
    ----------
    rows : which crops stay; None for all of them.
    cells : batch and is_control of the cells that stay.
    """
    if rows is not None:
        crops = np.load(file, mmap_mode="r")
        shape = (len(rows), *crops.shape[1:])
        target, offset = start_shard(out, shard, shape, str(crops.dtype))
        for first in range(0, len(rows), _AT_ONCE):
            put_crops(target, offset, first, crops[rows[first : first + _AT_ONCE]])
    elif file.is_file():  # else an earlier try had moved it
        adopt_shard(out, shard, file)
    return finish_shard(out, shard, cells, {"shard": shard})


def _in_words(scales: dict[str, np.ndarray] | None) -> str:
    return json.dumps(scales and {name: scale.tolist() for name, scale in sorted(scales.items())})


def _read_some(job: WellJob, failures: Failures, rescaled: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a few hundred crops at a time, one by one where that fails: -> places within the well, fitting crops."""
    for start in range(0, len(job.cells), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(job.cells)))
        try:
            yield rows, _read_rows(job, rows, rescaled)
        except MixedPixelTypes:
            raise
        except GrapeOpsError:
            for row in rows.tolist():
                try:
                    crop = _read_rows(job, np.array([row]), rescaled)
                except MixedPixelTypes:
                    raise
                except GrapeOpsError as error:
                    if not job.drop:
                        raise
                    failures[row] = (NON_FINITE if isinstance(error, NonFinitePixels) else UNREADABLE, str(error))
                    continue
                yield rows[row - start : row - start + 1], crop


def _read_rows(job: WellJob, rows: np.ndarray, rescaled: bool) -> np.ndarray:
    crops, (known, example) = job.read(job.cells.iloc[rows]), job.like
    if known and (kind := kind_of(crops.dtype)) != known:
        raise mixed_types("The crops", {known: example, kind: str(job.cells[CROP].iloc[rows[0]])})
    try:
        return fitting(crops, job.size, job.shrink, rescaled)
    except NonFinitePixels:
        names = job.cells[CROP].iloc[rows].astype(str).tolist()
        raise NonFinitePixels(f"The crop {names[0]} has pixels that are NaN or infinite.") from None


def fitting(crops: np.ndarray, size: int, shrink: int, rescaled: bool) -> np.ndarray:
    """Keep the middle of crops: (..., H, W) -> (..., S * shrink, S * shrink).

    Raises
    ------
    GrapeOpsError : they are smaller than that, or their pixels are not what can be taken as it is or be rescaled.
    """
    height, width = crops.shape[-2:]
    side = size * shrink
    if min(height, width) < side:
        times = f" times preprocess.shrink ({shrink})" if shrink > 1 else ""
        raise GrapeOpsError(
            f"The crops are {height} x {width} px, smaller than preprocess.crop_size ({size}){times}; set it to at "
            f"most {min(height, width) // shrink // 8 * 8}."
        )
    kind = crops.dtype
    if rescaled and (kind.kind != "u" or kind.itemsize > 2):
        raise GrapeOpsError(
            f"The crops hold {kind} pixels, but only uint8 and uint16 can be rescaled by percentiles. Set "
            "screen.crop_scaling=full for floats from 0 to 1, or store the raw counts as integers."
        )
    if kind.kind == "i" or (kind.kind == "u" and kind.itemsize > 2):
        raise GrapeOpsError(
            f"The crops hold {kind} pixels, whose largest possible value says nothing of how bright they are: as they "
            "are, all of them would be black. Store them as uint8 or uint16, or as floats from 0 to 1."
        )
    top, left = (height - side) // 2, (width - side) // 2
    crops = crops[..., top : top + side, left : left + side]
    if kind.kind == "f" and not np.isfinite(crops).all():
        raise NonFinitePixels("A crop has pixels that are NaN or infinite.")
    if kind.kind == "f" and not (crops.min() >= -_ROUNDING and crops.max() <= 1 + _ROUNDING):
        raise GrapeOpsError(
            f"The crops are floats from {crops.min():g} to {crops.max():g}. Floats are taken as they are if they lie "
            "within 0 and 1; rescale them, or store the raw counts as integers (see screen.crop_scaling)."
        )
    return crops


def to_store(crops: np.ndarray, scale: np.ndarray | None, pixel_type: str) -> np.ndarray:
    """Bring crops to the store's type: (N, C, S, S), and (N, C, 2) values that become black and white."""
    top = PIXEL_TYPES[pixel_type]
    if scale is not None:
        low, high = scale[..., 0, None, None], scale[..., 1, None, None]
        crops = np.where(high > low, (crops - low) / np.maximum(high - low, 1e-9), 0)
    else:
        # Not in the float16 of some files: it ends before the store's largest pixel does.
        top_read = 1 if crops.dtype.kind == "f" else np.iinfo(crops.dtype).max
        crops = crops.astype(np.float64) / top_read
    return np.rint(np.clip(crops, 0, 1) * top).astype(pixel_type)
