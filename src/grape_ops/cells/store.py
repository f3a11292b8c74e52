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

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.identity import identity_of, sha256_of
from grape_ops.cells.places import Places, check_places, check_subset, chosen_rows, damaged, read_places
from grape_ops.cells.standardize import PixelScale, standardize
from grape_ops.cells.store_record import PIXEL_TYPES, read_meta
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CELLS_FILE, GENE, GUIDE, SHARDS_DIR, STORE_FILE

if TYPE_CHECKING:
    import torch

UNITS = {"gene": GENE, "guide": GUIDE}  # what a perturbation is -> the column that names it

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
    meta : all of ``store.json``; of a subset with its own numbers of cells and batches.
    where : of a subset, the expression that chose its cells, in one spelling; empty for all cells.
    narrowed : of a subset of the cells of a run (``within``), the expression that chose among them; else empty.
    table_rows : of a subset, the row of each cell in cells.parquet; None for all cells.
    """

    def __init__(self, path: Path, meta: dict[str, Any], places: Places, shards: Sequence[np.ndarray], unit: str):
        self.path = path
        self.unit = unit
        self.meta = meta
        self.where = self.narrowed = ""
        self.table_rows: np.ndarray | None = None
        self._run_labels, self._run_rows = places.label, np.arange(len(places.label))
        self._places = places
        self.channels: tuple[str, ...] = tuple(meta["channels"])
        self.crop_size: int = meta["crop_size"]
        self.pixel_type: str = meta["pixel_type"]
        self.pixel_max = PIXEL_TYPES[self.pixel_type]
        self._shards = shards
        self._shard_codes, self._rows = places.shard, places.row
        self.perturbations = places.perturbations
        self.control_label = len(places.perturbations) - 1
        self.labels = places.label
        self.batches: tuple[str, ...] = tuple(batch["name"] for batch in meta["batches"])
        self.batch_codes = places.batch
        self.control_mean = np.array([batch["mean"] for batch in meta["batches"]], dtype=np.float32)
        self.control_sd = np.array([batch["sd"] for batch in meta["batches"]], dtype=np.float32)

    @classmethod
    def open(cls, path: str | Path, unit: str = "gene", where: str = "") -> "CropStore":
        """Open a store after cheap checks: the table is what was written, and no shard was cut off.

        With ``unit="guide"`` each guide is a perturbation of its own; ``where`` chooses cells (see ``subset``).

        Raises
        ------
        GrapeOpsError : there is no store, it is half-written, damaged, or of a newer version; or ``where`` does not
            fit.
        """
        folder = Path(path)
        meta = read_meta(folder)
        places = read_places(folder, meta, UNITS[unit])
        shards = {name: _open_shard(folder, name, meta) for name in meta["shards"]}
        check_places(folder, places, shards)
        whole = cls(folder, meta, places, list(shards.values()), unit)
        return whole.subset(where) if where else whole

    def subset(self, where: str) -> "CropStore":
        """Choose cells by an expression over the columns of the cell table; genes and batches are those that are left.

        Conditions on gene and guide keep the control cells, unless they exclude them by name; all other conditions
        choose among the controls, too. Cells are standardised by all controls of their batch, as in the whole store.

        Parameters
        ----------
        where : such as ``plate in ["1", "2"] and gene != "XYZ"``: columns are compared with values by ==, !=, <, <=,
            >, >=, in and not in, and joined by and, or and not; names that are no single word stand in backticks.

        Raises
        ------
        GrapeOpsError : it cannot be read, names a column or a value that there is not, or leaves no cells of genes,
            no controls, or a batch without controls.
        """
        before = [f"({text})" for text in (self.where, self.narrowed) if text]
        rows, spelt = self._chosen(" and ".join([*before, f"({where})"]) if before else where)
        subset = self._only(rows, self._places.only(rows).without_absent())
        subset.where = spelt
        return subset

    def within(self, where: str) -> "CropStore":
        """The same for the cells that a run was trained on: its perturbations stay, as rows of its networks."""
        rows, spelt = self._chosen(f"({self.narrowed}) and ({where})" if self.narrowed else where)
        if spelt == self.where:
            return self
        subset = self._only(rows, self._places.only(rows))
        subset.where, subset.narrowed = self.where, spelt
        subset._run_labels, subset._run_rows = self._run_labels, self._run_rows[rows]
        return subset

    def _chosen(self, where: str) -> tuple[np.ndarray, str]:
        """Cells (n,) that an expression means, and its one spelling."""
        rows, spelt = chosen_rows(self.path, where)
        if self.table_rows is not None:
            rows = np.flatnonzero(np.isin(self.table_rows, rows, assume_unique=True))
        check_subset(where, self._places.only(rows), list(self.batches))
        return rows, spelt

    def _only(self, rows: np.ndarray, places: Places) -> "CropStore":
        """Some of the cells: those in rows (n,), at their places."""
        present, codes = np.unique(places.batch, return_inverse=True)
        cells = np.bincount(codes)
        controls = np.bincount(codes[places.label == len(places.perturbations) - 1], minlength=len(present))
        batches = [
            self.meta["batches"][code] | {"cells": int(cells[at]), "controls": int(controls[at])}
            for at, code in enumerate(present)
        ]
        meta = self.meta | {"batches": batches, "n_cells": len(rows)}
        subset = CropStore(self.path, meta, replace(places, batch=codes), self._shards, self.unit)
        subset.table_rows = rows if self.table_rows is None else self.table_rows[rows]
        return subset

    @property
    def run_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of all cells that a run was trained on (N,), and which of them are here (n,); see ``within``."""
        return self._run_labels, self._run_rows

    @property
    def subset_of_run(self) -> dict[str, str]:
        """What a record says of a subset of a run's cells; nothing for all of them."""
        return {"where": self.narrowed} if self.narrowed else {}

    @property
    def address(self) -> tuple[Path, str, str, str]:
        """What another process opens the same cells by (``open_at``)."""
        return self.path, self.unit, self.where, self.narrowed

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The whole table of cells."""
        if self.table_rows is None:
            return pd.read_parquet(self.path / CELLS_FILE)
        return self.table().to_pandas()

    def table(self, columns: Sequence[str] | None = None, texts: Sequence[str] = ()) -> pa.Table:
        """Read columns of the cell table, all if none are named; ``texts`` as categories."""
        whole = pq.read_table(self.path / CELLS_FILE, columns=columns, read_dictionary=list(texts))
        if self.table_rows is None:
            return whole
        chosen = np.zeros(len(whole), bool)
        chosen[self.table_rows] = True
        return whole.filter(pa.array(chosen))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def simulated(self) -> bool:
        """Whether its cells come from a screen that `grape-ops simulate` made."""
        return bool(self.meta["provenance"].get("simulated", False))

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the files itself; sending the memory maps would copy every pixel.
        return open_at, self.address

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


def open_at(path: Path, unit: str, where: str, narrowed: str) -> CropStore:
    """Open the cells of an ``address``."""
    store = CropStore.open(path, unit, where)
    return store.within(narrowed) if narrowed else store


def store_fingerprint(store: CropStore) -> str:
    """SHA-256 of the store's description, which names its shards' checksums, and of what chose a subset."""
    of_all = sha256_of(store.path / STORE_FILE)
    return identity_of(of_all, store.where, store.narrowed) if store.where or store.narrowed else of_all


def _open_shard(folder: Path, name: str, meta: dict[str, Any]) -> np.ndarray:
    file = folder / SHARDS_DIR / f"{name}.npy"
    entry = meta["shards"][name]
    if not file.is_file():
        raise damaged(folder, f"shard {file.name} is missing")
    if file.stat().st_size != entry["bytes"]:
        raise damaged(folder, f"shard {file.name} is {file.stat().st_size} bytes long, not {entry['bytes']}")
    try:
        shard = np.load(file, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise damaged(folder, f"shard {file.name} cannot be read ({why(error)})") from None
    shape = (entry["cells"], len(meta["channels"]), meta["crop_size"], meta["crop_size"])
    if shard.shape != shape or shard.dtype != meta["pixel_type"]:
        raise damaged(folder, f"shard {file.name} holds {shard.dtype} {shard.shape}, not {shape}")
    return np.asarray(shard)  # a plain view of the map: taking one row costs a third of np.memmap's time
