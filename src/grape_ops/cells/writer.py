"""Write a crop store so that a power cut leaves either a finished file or none.

Everything is written under a temporary name and then renamed; ``store.json`` comes last and is what makes a
folder a store. Shards are filled in place under a name that ``--resume`` finds again, all else by ``draft_of``.
``write_store`` does it in one call for crops made elsewhere; preprocessing calls the parts.
Legend: N crops, C channels, S crop size.
"""

import json
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grape_ops.artifacts.atomic import draft_of, write_json
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.artifacts.identity import sha256_of
from grape_ops.cells.places import CELL_COLUMNS
from grape_ops.cells.standardize import control_sums, recorded_sums
from grape_ops.cells.store_record import FORMAT, PIXEL_TYPES, VERSION, meta_checksum
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import BATCH, CELLS_FILE, IS_CONTROL, QUALITY_FILE, ROW, SHARD, SHARDS_DIR, STORE_FILE
from grape_ops.words import counted

PARTIAL = ".partial"
_RECORDED_PACKAGES = ("grape-ops", "numpy", "pandas", "pyarrow", "scipy", "scikit-image", "tifffile")


def write_store(
    out: str | Path,
    crops_by_shard: Mapping[str, np.ndarray],
    cells: pd.DataFrame,
    channels: Iterable[str],
    scaling: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    quality: dict[str, Any] | None = None,
) -> None:
    """Write crops that were made elsewhere as a store.

    Parameters
    ----------
    out : folder, new or empty.
    crops_by_shard : one (N, C, S, S) array per shard, uint16 or uint8; the type's largest value stands for 1.0.
    cells : columns gene_symbol, sgRNA, plate, well, is_control, batch, shard and row, the last two saying
        where a cell's crop lies; every batch needs control cells.
    channels : names of the C channels.
    scaling, provenance, quality : kept with the store as they are.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise GrapeOpsError(f"The folder {folder} is not empty; give a new one for the store.")
    missing = [column for column in CELL_COLUMNS if column not in cells]
    if missing:
        raise GrapeOpsError(f"The cell table lacks the columns {', '.join(missing)}.")
    shapes = {crops.shape[1:] for crops in crops_by_shard.values()}
    types = {str(crops.dtype) for crops in crops_by_shard.values()}
    names = tuple(channels)
    if len(shapes) != 1 or len(types) != 1 or not types <= set(PIXEL_TYPES):
        raise GrapeOpsError(f"All shards need one shape and one of {list(PIXEL_TYPES)}; got {shapes} and {types}.")
    (n_channels, height, width), pixel_type = shapes.pop(), types.pop()
    if n_channels != len(names) or height != width:
        raise GrapeOpsError(f"Crops of {n_channels} channels, {height} x {width}, do not fit {len(names)} names.")
    (folder / SHARDS_DIR).mkdir(parents=True, exist_ok=True)
    records = {}
    for name, crops in crops_by_shard.items():
        own = cells[cells[SHARD] == name].sort_values(ROW)
        if own[ROW].tolist() != list(range(len(crops))):
            raise GrapeOpsError(
                f"Shard {name} has {counted(len(crops), 'crops')}, but the cell table does not name each once."
            )
        file, offset = start_shard(folder, name, crops.shape, pixel_type)
        put_crops(file, offset, 0, crops)
        records[name] = finish_shard(folder, name, own, {})
    finish_store(folder, cells, names, records, pixel_type, height, scaling or {}, provenance or {}, quality or {})


def shard_names(places: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Give each place, such as (plate, well), a file name of its own that every file system takes."""
    names: dict[tuple[str, ...], str] = {}
    for place in sorted(set(places)):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(place)).lstrip(".")
        taken = {other.lower() for other in names.values()}  # some file systems do not tell A1 from a1
        candidate, count = name, 1
        while candidate.lower() in taken:
            count += 1
            candidate = f"{name}~{count}"
        names[place] = candidate
    return names


def start_shard(folder: Path, name: str, shape: tuple[int, ...], pixel_type: str) -> tuple[Path, int]:
    """Lay out an unfinished shard of its full length, to be filled by ``put_crops``.

    Returns
    -------
    file, offset : the unfinished file, and where its first pixel lies.
    """
    file = _partial(folder, name)
    header = {"descr": np.dtype(pixel_type).newbyteorder("<").str, "fortran_order": False, "shape": shape}
    with output_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        # What an earlier shard of this name noted must never stand beside the pixels of this one.
        shard_file(folder, name).with_suffix(".json").unlink(missing_ok=True)
        # A new file rather than the old one emptied: a worker that outlives its killed parent writes to the old.
        file.unlink(missing_ok=True)
        with file.open("wb") as handle:
            np.lib.format.write_array_header_1_0(handle, header)
            offset = handle.tell()
            handle.truncate(offset + int(np.prod(shape)) * np.dtype(pixel_type).itemsize)
    return file, offset


def adopt_shard(folder: Path, name: str, crops: Path) -> None:
    """Take a whole ``.npy`` file of crops as an unfinished shard; it is moved."""
    file = _partial(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    shard_file(folder, name).with_suffix(".json").unlink(missing_ok=True)
    os.replace(crops, file)


def release_shard(folder: Path, name: str, crops: Path) -> None:
    """Undo ``adopt_shard``, if a shard of this name is there: it is moved to ``crops``."""
    there = next((file for file in (_partial(folder, name), shard_file(folder, name)) if file.is_file()), None)
    if there is not None:
        shard_file(folder, name).with_suffix(".json").unlink(missing_ok=True)
        os.replace(there, crops)


def put_crops(file: Path, offset: int, row: int, crops: np.ndarray) -> None:
    """Write crops to an unfinished shard, from ``row`` on: (N, C, S, S)."""
    with output_errors(file), file.open("r+b") as handle:
        handle.seek(offset + row * crops[0].nbytes)
        handle.write(np.ascontiguousarray(crops).data)


def finish_shard(folder: Path, name: str, cells: pd.DataFrame, marks: dict[str, Any]) -> dict[str, Any]:
    """Sum up the controls, take the checksum, and give the shard its final name; ``seal_shard`` comes after it.

    Parameters
    ----------
    cells : batch and is_control of the shard's cells, in the order of its rows.
    marks : kept in the shard's own JSON, to tell later whether it can be kept.
    """
    partial, final = _partial(folder, name), shard_file(folder, name)
    file = partial if partial.is_file() else final  # an earlier try may have come as far as renaming
    crops = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    sums = control_sums(crops, cells[BATCH].to_numpy(str), cells[IS_CONTROL].to_numpy(bool))
    record = marks | {
        "cells": len(crops),
        "bytes": file.stat().st_size,
        "sha256": sha256_of(file),
        "controls": {batch: vars(part) for batch, part in sums.items()},
    }
    file.replace(final)
    return record


def seal_shard(folder: Path, name: str, record: dict[str, Any]) -> None:
    """Force a shard to the disk, and only then mark it as finished."""
    file = shard_file(folder, name)
    with output_errors(file), file.open("r+b") as handle:
        os.fsync(handle.fileno())
    write_json(file.with_suffix(".json"), record)


def write_part(folder: Path, name: str, cells: pd.DataFrame) -> Path:
    """Write a part of the cell table for ``finish_store``, and return its file."""
    file = folder / f"cells-{name}.parquet"
    with draft_of(file, forced=False) as draft:
        cells.to_parquet(draft, index=False)
    return file


def read_shard_record(folder: Path, name: str) -> dict[str, Any] | None:
    """Return what ``finish_shard`` noted, or None if the shard is not finished."""
    file = shard_file(folder, name)
    try:
        record = json.loads(file.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    return record if file.is_file() and file.stat().st_size == record.get("bytes") else None


def finish_store(
    folder: Path,
    cells: pd.DataFrame | Sequence[Path],
    channels: tuple[str, ...],
    shards: dict[str, dict[str, Any]],
    pixel_type: str,
    crop_size: int,
    scaling: dict[str, Any],
    provenance: dict[str, Any],
    quality: dict[str, Any],
    beside: tuple[str, ...] = (),
    statistics: Iterable[Mapping[str, Any]] | None = None,
) -> None:
    """Write the table, the quality counts and, last, ``store.json``.

    Parameters
    ----------
    cells : the cell table, or the files that ``write_part`` wrote, in order.
    beside : files that lie in the store's folder already and belong to it.
    statistics : the batches of the store that the cells were taken from, whose controls they are to be standardised
        by; without them, the controls among the cells give the statistics.
    """
    for name, record in shards.items():
        if not read_shard_record(folder, name):
            seal_shard(folder, name, record)
    n_cells, counts = _write_cells(folder / CELLS_FILE, cells)
    if statistics is None:
        statistics = _control_statistics(counts, shards, PIXEL_TYPES[pixel_type])
    batches = _batches(counts, statistics)
    write_json(folder / QUALITY_FILE, quality)
    with output_errors(folder / STORE_FILE):
        files = {name: _entry(folder / name) for name in (CELLS_FILE, QUALITY_FILE, *beside)}
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "channels": list(channels),
        "crop_size": crop_size,
        "pixel_type": pixel_type,
        "pixel_max": PIXEL_TYPES[pixel_type],
        "n_cells": n_cells,
        "batches": batches,
        "scaling": scaling,
        "provenance": provenance | {"versions": _versions()},
        "files": files,
        "shards": {name: {key: shards[name][key] for key in ("cells", "bytes", "sha256")} for name in sorted(shards)},
    }
    as_read = json.loads(json.dumps(meta))
    write_json(folder / STORE_FILE, meta | {"checksum": meta_checksum(as_read)})


def shard_file(folder: Path, name: str) -> Path:
    """Return where a finished shard lies."""
    return folder / SHARDS_DIR / f"{name}.npy"


def _write_cells(table: Path, cells: pd.DataFrame | Sequence[Path]) -> tuple[int, Counter[tuple[str, bool]]]:
    """Write the cell table, one part in memory at a time; counts all cells, and those of each batch and kind."""
    if isinstance(cells, pd.DataFrame):
        whole = pa.Table.from_pandas(cells, preserve_index=False)
        schema, parts = whole.schema, iter([whole])
    else:
        # A column may be empty, or hold whole numbers only, in one well and not in another.
        schema = pa.unify_schemas([pq.read_schema(part) for part in cells], promote_options="permissive")
        parts = (pq.read_table(part, partitioning=None).cast(schema) for part in cells)
    counts: Counter[tuple[str, bool]] = Counter()
    n_cells = 0
    with draft_of(table) as draft, pq.ParquetWriter(draft, schema) as writer:
        for part in parts:
            writer.write_table(part)
            n_cells += len(part)
            kinds = part.select([BATCH, IS_CONTROL]).group_by([BATCH, IS_CONTROL]).aggregate([([], "count_all")])
            for row in kinds.to_pylist():
                counts[row[BATCH], row[IS_CONTROL]] += row["count_all"]
    return n_cells, counts


def _control_statistics(
    counts: Counter[tuple[str, bool]], shards: dict[str, dict[str, Any]], pixel_max: int
) -> list[dict[str, Any]]:
    sums = recorded_sums(shards.values())
    bare = sorted({batch for batch, _ in counts} - set(sums))
    if bare:
        raise GrapeOpsError(f"{counted(len(bare), 'batches')} without control cells: {', '.join(bare[:5])}.")
    found = ((name, *part.mean_and_sd(pixel_max)) for name, part in sums.items())
    return [{"name": name, "mean": mean, "sd": sd} for name, mean, sd in found]


def _batches(counts: Counter[tuple[str, bool]], statistics: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    batches = []
    for part in statistics:
        name = part["name"]
        controls, others = counts[name, True], counts[name, False]
        if controls + others:
            numbers = {"cells": controls + others, "controls": controls}
            batches.append({"name": name} | numbers | {"mean": part["mean"], "sd": part["sd"]})
    return batches


def _partial(folder: Path, name: str) -> Path:
    file = shard_file(folder, name)
    return file.with_name(file.name + PARTIAL)


def _entry(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _RECORDED_PACKAGES}
