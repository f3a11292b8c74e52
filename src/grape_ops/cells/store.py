"""The crop store: memory-mapped single-cell crops, their table, and what turns pixels into network input.

    store/
      store.json            channels, crop size, scaling, control statistics, provenance, checksums;
                            written last
      cells.parquet         one row per crop, in the order of the store's indices
      quality.json          what was kept, what was dropped and why
      flat_fields.npz       the illumination of each group of tiles, if preprocessing made the store
      shards/{name}.npy     (cells, channels, size, size) integers, usually one file per plate and well
      shards/{name}.json    marks the shard as finished

``cells/writer.py`` writes it. Legend: N crops, n crops asked for, C channels, S crop size, B batches.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.ownership import what_lies_at
from grape_ops.cells.standardize import PixelScale, standardize
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import (
    BATCH,
    CELLS_FILE,
    CONTROL_LABEL,
    GENE,
    GUIDE,
    IS_CONTROL,
    PLATE,
    ROW,
    SHARD,
    SHARDS_DIR,
    STORE_FILE,
    UNFINISHED_DIR,
    WELL,
)

if TYPE_CHECKING:
    import torch

FORMAT = "grape-ops crop store"
VERSION = 1
UNITS = {"gene": GENE, "guide": GUIDE}  # what a perturbation is -> the column that names it
PIXEL_TYPES = {"uint16": 65535, "uint8": 255}
CELL_COLUMNS = (GENE, GUIDE, PLATE, WELL, IS_CONTROL, BATCH, SHARD, ROW)
_KEYS = (
    *("version", "channels", "crop_size", "pixel_type", "n_cells", "scaling", "provenance"),
    *("batches", "shards", "files", "checksum"),
)

Index = np.ndarray | Sequence[int] | slice


class CropStore:
    """An open crop store; nothing in it changes.

    Attributes
    ----------
    path : folder of the store.
    channels : names of the C channels.
    crop_size : S, height and width of a crop.
    pixel_max : largest value a stored pixel can have; it stands for 1.0.
    cells : one row per crop, in our columns plus batch, shard, row and whatever else the user's table had; read when
        it is first asked for, since all of a large screen's table may not fit into memory.
    unit : what a perturbation is, "gene" or "guide".
    perturbations : genes, or guides, in alphabetical order, then ``CONTROL_LABEL``, which stands for all controls.
    labels : (N,) index into ``perturbations``.
    control_label : the label of the controls, the last one.
    batches : names of the B batches.
    batch_codes : (N,) index into ``batches``.
    control_mean, control_sd : (B, C) float32, of the batch's control crops scaled to [0, 1].
    meta : all of ``store.json``.
    """

    def __init__(self, path: Path, meta: dict[str, Any], places: "_Places", shards: dict[str, np.ndarray], unit: str):
        self.path = path
        self.unit = unit
        self.meta = meta
        self.channels: tuple[str, ...] = tuple(meta["channels"])
        self.crop_size: int = meta["crop_size"]
        self.pixel_type: str = meta["pixel_type"]
        self.pixel_max = PIXEL_TYPES[self.pixel_type]
        self._shards = list(shards.values())
        self._shard_codes, self._rows = places.shard, places.row
        self.perturbations = places.perturbations
        self.control_label = len(places.perturbations) - 1
        self.labels = places.label
        self.batches: tuple[str, ...] = tuple(batch["name"] for batch in meta["batches"])
        self.batch_codes = places.batch
        self.control_mean = np.array([batch["mean"] for batch in meta["batches"]], dtype=np.float32)
        self.control_sd = np.array([batch["sd"] for batch in meta["batches"]], dtype=np.float32)

    @classmethod
    def open(cls, path: str | Path, unit: str = "gene") -> "CropStore":
        """Open a store after cheap checks: the table is what was written, and no shard was cut off.

        With ``unit="guide"`` each guide is a perturbation of its own.

        Raises
        ------
        GrapeOpsError : there is no store, it is half-written, damaged, or of a newer version.
        """
        folder = Path(path)
        meta = read_meta(folder)
        places = _read_places(folder, meta, UNITS[unit])
        shards = {name: _open_shard(folder, name, meta) for name in meta["shards"]}
        _check_places(folder, places, shards)
        return cls(folder, meta, places, shards, unit)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The whole table of cells."""
        return pd.read_parquet(self.path / CELLS_FILE)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def simulated(self) -> bool:
        """Whether its cells come from a screen that `grape-ops simulate` made."""
        return bool(self.meta["provenance"].get("simulated", False))

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the files itself; sending the memory maps would copy every pixel.
        return CropStore.open, (self.path, self.unit)

    def read(self, indices: Index) -> np.ndarray:
        """Read stored pixels: (n,) indices in any order -> (n, C, S, S) integers in that order."""
        codes, rows = self._shard_codes[indices], self._rows[indices]
        crops = np.empty((len(codes), len(self.channels), self.crop_size, self.crop_size), dtype=self.pixel_type)
        # Crop by crop is faster than one fancy index per shard, which copies everything twice. Shard by shard
        # and downwards within it is kind to a disk whose pages are not in memory yet.
        order = np.lexsort((rows, codes))
        for place, code, row in zip(order.tolist(), codes[order].tolist(), rows[order].tolist(), strict=True):
            crops[place] = self._shards[code][row]
        return crops

    def standardized(self, indices: Index) -> np.ndarray:
        """Read network input, z-scored by the controls of each cell's batch: (n,) -> (n, C, S, S) float32."""
        return self.standardize(self.read(indices), self.batch_codes[indices])

    def standardize(self, crops: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Z-score crops that need not be in the store, by the batch of each: (n, C, S, S), (n,) -> the same float32."""
        return standardize(crops, self.pixel_max, self.control_mean[codes], self.control_sd[codes])

    def pixel_scale(self, device: "torch.device") -> PixelScale:
        """What standardises this store's pixels on a device, and makes pixels of network output."""
        return PixelScale(self.control_mean, self.control_sd, self.pixel_max, device)

    def verify(self) -> None:
        """Recompute all checksums; reads every byte.

        Raises
        ------
        GrapeOpsError : a file differs from what was written; the message names all that do.
        """
        read_meta(self.path)
        expected = dict(self.meta["files"])
        expected |= {f"{SHARDS_DIR}/{name}.npy": entry for name, entry in self.meta["shards"].items()}
        wrong = [name for name, entry in expected.items() if sha256_of(self.path / name) != entry["sha256"]]
        if wrong:
            raise GrapeOpsError(
                f"The crop store {self.path} is damaged: {', '.join(wrong)} changed since it was written. "
                "Make the store again with --overwrite."
            )


def store_fingerprint(store: CropStore) -> str:
    """SHA-256 of the store's description, which names its shards' checksums."""
    return sha256_of(store.path / STORE_FILE)


def read_meta(folder: Path) -> dict[str, Any]:
    """Read and check ``store.json``."""
    file = folder / STORE_FILE
    if not folder.is_dir():
        raise GrapeOpsError(f"There is no crop store at {folder}: `grape-ops preprocess` makes one.")
    if not file.is_file():
        begun = any((folder / name).is_dir() for name in (SHARDS_DIR, UNFINISHED_DIR))
        kind = what_lies_at(folder)
        other = f" but {kind}" if kind.startswith(("a run", "an evaluation", "a screen")) else ""
        state = "half-written: go on with --resume" if begun else f"no crop store{other}"
        raise GrapeOpsError(f"The folder {folder} is {state} ({STORE_FILE} is written last and is not there).")
    try:
        meta = json.loads(file.read_text())
    except DAMAGE as error:
        raise _damaged(folder, f"{STORE_FILE} cannot be read ({why(error)})") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise GrapeOpsError(f"{file} does not belong to a crop store of grape-ops.")
    if meta.get("version") != VERSION:
        raise GrapeOpsError(
            f"The crop store {folder} has format version {meta.get('version')}; "
            f"this grape-ops reads {VERSION}. Make the store again or install the matching version."
        )
    missing = [key for key in _KEYS if key not in meta]
    if missing or meta["pixel_type"] not in PIXEL_TYPES:
        raise _damaged(folder, f"{STORE_FILE} lacks {', '.join(missing) or 'a known pixel_type'}")
    if meta["checksum"] != meta_checksum(meta):
        raise _damaged(folder, f"{STORE_FILE} was changed since it was written")
    return meta


def meta_checksum(meta: Mapping[str, Any]) -> str:
    """Checksum of all that ``store.json`` says besides it."""
    return identity_of({key: value for key, value in meta.items() if key != "checksum"})


def sha256_of(file: Path) -> str:
    """Return the checksum of a file, or an empty string if it is not there."""
    if not file.is_file():
        return ""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class _Places:
    """Where each crop lies and what it is, without the rest of the table.

    Attributes
    ----------
    shard : (N,) place of its shard in ``meta["shards"]``.
    row : (N,) its row there.
    label : (N,) index into ``perturbations``.
    batch : (N,) index into the batches of ``meta``; -1 for one that is not there.
    """

    shard: np.ndarray
    row: np.ndarray
    label: np.ndarray
    batch: np.ndarray
    perturbations: tuple[str, ...]


def _read_places(folder: Path, meta: dict[str, Any], column: str) -> _Places:
    """Go through the table of cells one stretch of rows at a time; ``column`` names the perturbations."""
    for name, entry in meta["files"].items():
        if sha256_of(folder / name) != entry["sha256"]:
            raise _damaged(folder, f"{name} is missing or changed since it was written")
    try:
        table = pq.ParquetFile(folder / CELLS_FILE, pre_buffer=False, buffer_size=1 << 20)  # a stretch at a time
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{CELLS_FILE} cannot be read ({error})") from None
    n_cells = table.metadata.num_rows
    missing = [column for column in CELL_COLUMNS if column not in table.schema_arrow.names]
    if missing or n_cells != meta["n_cells"]:
        raise _damaged(folder, f"{CELLS_FILE} lacks columns {missing} or has not {meta['n_cells']} rows")
    shards = pd.Index(list(meta["shards"]))
    batches = pd.Index([batch["name"] for batch in meta["batches"]])
    shard, row = np.empty(n_cells, np.int32), np.empty(n_cells, np.int64)
    gene, batch = np.empty(n_cells, np.int64), np.empty(n_cells, np.int64)
    codes = {CONTROL_LABEL: 0}
    start = 0
    for stretch in table.iter_batches(1 << 18, columns=[SHARD, ROW, column, BATCH, IS_CONTROL]):
        here = slice(start, start := start + len(stretch))
        shard[here] = shards.get_indexer(stretch[SHARD].to_pandas())
        batch[here] = batches.get_indexer(stretch[BATCH].to_pandas())
        row[here] = stretch[ROW].to_numpy()
        own, names = pd.factorize(stretch[column].to_pandas())
        known = np.array([codes.setdefault(name, len(codes)) for name in names], np.int64)
        gene[here] = np.where(stretch[IS_CONTROL].to_numpy(zero_copy_only=False), 0, known[own])
    # Codes in order of appearance become places in the alphabet, controls last.
    present = np.zeros(len(codes), bool)
    present[np.unique(gene)] = True
    names = np.array(list(codes), object)
    genes = sorted(name for name in names[1:][present[1:]])
    perturbations = (*genes, CONTROL_LABEL)
    label = pd.Index(perturbations).get_indexer(pd.Index(names)).astype(np.int64)[gene]
    return _Places(shard, row, label, batch, perturbations)


def _open_shard(folder: Path, name: str, meta: dict[str, Any]) -> np.ndarray:
    file = folder / SHARDS_DIR / f"{name}.npy"
    entry = meta["shards"][name]
    if not file.is_file():
        raise _damaged(folder, f"shard {file.name} is missing")
    if file.stat().st_size != entry["bytes"]:
        raise _damaged(folder, f"shard {file.name} is {file.stat().st_size} bytes long, not {entry['bytes']}")
    try:
        shard = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"shard {file.name} cannot be read ({error})") from None
    shape = (entry["cells"], len(meta["channels"]), meta["crop_size"], meta["crop_size"])
    if shard.shape != shape or shard.dtype != meta["pixel_type"]:
        raise _damaged(folder, f"shard {file.name} holds {shard.dtype} {shard.shape}, not {shape}")
    return np.asarray(shard)  # a plain view of the map: taking one row costs a third of np.memmap's time


def _check_places(folder: Path, places: _Places, shards: dict[str, np.ndarray]) -> None:
    sizes = np.array([len(shard) for shard in shards.values()] + [0])
    wrong = int(((places.row < 0) | (places.row >= sizes[places.shard])).sum())
    unknown = int((places.batch < 0).sum())
    if wrong or unknown:
        raise _damaged(folder, f"{wrong} cells point to no crop, {unknown} are of batches without statistics")


def _damaged(folder: Path, what: str) -> GrapeOpsError:
    return GrapeOpsError(f"The crop store {folder} is damaged: {what}. Make the store again with --overwrite.")
