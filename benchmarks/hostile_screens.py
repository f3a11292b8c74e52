"""Screens as the package reads them: for each kind of table and picture a small valid input, and how it is read.

``build`` fills a folder and returns the files that may be damaged; ``read`` gives plain values (arrays, tables, dicts)
whose shape and content can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import lmdb
import numpy as np
import pandas as pd
import tifffile
import yaml
import zarr

from grape_ops.config import ScreenSettings
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE, PLATE, TILE, WELL, X, Y
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Screen

Files = Sequence[str]
GENES, CHANNELS = ("AAAS", "BUB3", "CDC20", "DDX5"), ("DNA", "actin")


@dataclass(frozen=True)
class Reader:
    """One way in which the package reads files.

    Attributes
    ----------
    build : fills a folder; returns the files in it that may be damaged.
    read : reads the folder: plain values, in which content that was left out with a word counts as told.
    checked : endings of the files that checksums cover, in which no other value may pass unnoticed; "" for all.
    by_line : whether each line of the file, below its head, is one item of the first thing that is read.
    """

    build: Callable[[Path], Files]
    read: Callable[[Path], Any]
    checked: tuple[str, ...] = ()
    by_line: bool = False


def cells_table() -> pd.DataFrame:
    """Twenty-four cells of four genes and controls, on two tiles."""
    genes = [*GENES, CONTROL_LABEL, CONTROL_LABEL] * 4
    return pd.DataFrame(
        {
            GENE: genes,
            GUIDE: [f"{'ACGT'[i % 4] * 8}{'ACGT'[i // 6] * 4}" for i in range(24)],
            PLATE: "P1",
            WELL: ["A1" if i < 12 else "A2" for i in range(24)],
            TILE: "1",
            Y: [20.5 + i % 12 for i in range(24)],
            X: [30.25 - i % 12 for i in range(24)],
        }
    )


def pixels(*shape: int) -> np.ndarray:
    """Counts of a camera."""
    return np.random.default_rng(0).integers(300, 9000, shape).astype(np.uint16)


# Screens -------------------------------------------------------------------------------------------------------------


def _screen(table: str, write: Callable[[pd.DataFrame, Path], None]) -> Reader:
    """Read a cell table beside tiles."""

    def build(folder: Path) -> Files:
        write(cells_table(), folder / table)
        _tiles(folder)
        return [table]

    return Reader(build, lambda folder: _opened(folder, tiles=False), by_line=True)


def _tiles(folder: Path, **options: Any) -> None:
    cells = next((path.name for path in folder.glob("cells.*")), "cells.csv")
    if not (folder / cells).exists():
        cells_table().to_csv(folder / cells, index=False)
    description = {"cells": cells, "tiles": "{plate}_{well}_{tile}.tif", "channels": list(CHANNELS)}
    (folder / "screen.yaml").write_text(yaml.safe_dump(description))
    for well in ("A1", "A2"):
        tifffile.imwrite(folder / f"P1_{well}_1.tif", pixels(2, 48, 64), photometric="minisblack", **options)


def _opened(folder: Path, *, tiles: bool = True) -> Any:
    screen = open_screen(folder, ScreenSettings(layout="table"))
    found: dict[str, Any] = {"cells": screen.cells.to_pandas(), "told": _told(screen)}
    if tiles:
        found["pixels"] = [screen.read_tile(tile) for _, tile in screen.tiles.iterrows()]
        found["size"] = screen.pixel_size
    return found


def _told(screen: Screen) -> list[dict[str, Any]]:
    return [vars(tally) for tally in screen.cells.quality]


def _tiff(**options: Any) -> Reader:
    def build(folder: Path) -> Files:
        _tiles(folder, **options)
        return ["P1_A1_1.tif"]

    return Reader(build, _opened)


def _zarr(version: int, **options: Any) -> Reader:
    """Read tiles of a submission of the OPS standard, with images of either zarr format."""

    def build(folder: Path) -> Files:
        home = folder / "screen"
        (home / "metadata").mkdir(parents=True)
        cells = cells_table()
        table = cells[[PLATE, Y, X]].assign(barcode=cells[GUIDE], perturbation_id=cells[GUIDE], tile=0, well_row="A")
        table.assign(well_col=cells[WELL].str[1:].astype(int)).to_parquet(home / "cell_data.parquet")
        library = cells[[GENE]].assign(barcode=cells[GUIDE], perturbation_id=cells[GUIDE], gene_id="ENSG00000133703")
        library.drop_duplicates().to_csv(home / "metadata" / "perturbation_library.csv", index=False)
        for column in ("1", "2"):
            image = home / "phenotyping.zarr" / "A" / column / "0"
            group = zarr.open_group(image, mode="w", zarr_format=version)
            scales = [{"datasets": [{"path": "0"}], "axes": [{"name": axis} for axis in "tczyx"]}]
            omero = {"channels": [{"label": name} for name in CHANNELS]}
            notes: dict[str, Any] = {"multiscales": scales, "omero": omero}
            group.attrs.update({"ome": notes} if version == 3 else notes)
            group.create_array("0", data=pixels(1, 2, 1, 48, 64), chunks=(1, 1, 1, 48, 32), **options)
        zarr.open_group(home / "phenotyping.zarr", mode="a", zarr_format=version).attrs["plate"] = {}
        return _files_in(folder, home / "phenotyping.zarr/A/1")

    def read(folder: Path) -> Any:
        screen = open_screen(folder / "screen", ScreenSettings(layout="ops-standard"))
        tiles = [tile for _, tile in screen.tiles.iterrows()]
        return {
            "cells": len(screen.cells),
            "channels": screen.channels,
            "pixels": [screen.read_tile(tile) for tile in tiles],
            "size": screen.pixel_size,
            "told": [screen.read_tile.absent(tile) for tile in tiles],  # type: ignore[attr-defined]
        }

    return Reader(build, read)


def _files_in(folder: Path, part: Path) -> Files:
    return [str(path.relative_to(folder)) for path in sorted(part.rglob("*")) if path.is_file()]


def _crops(name: str, write: Callable[[np.ndarray, Path], None], *, table: bool = True, **keys: Any) -> Reader:
    """Read crops that other software has cut."""

    def build(folder: Path) -> Files:
        write(pixels(24, 2, 16, 16), folder / name)
        description = {"crops": name, "channels": list(CHANNELS), **keys}
        if table:
            cells_table().to_csv(folder / "cells.csv", index=False)
            description["cells"] = "cells.csv"
        (folder / "screen.yaml").write_text(yaml.safe_dump(description))
        return _files_in(folder, folder / name) or [name]

    def read(folder: Path) -> Any:
        screen = open_screen(folder, ScreenSettings(layout="table"))
        assert screen.read_crops is not None
        cells = screen.cells.to_pandas()
        return {"cells": cells, "pixels": screen.read_crops(cells), "told": _told(screen)}

    return Reader(build, read)


def _write_npz(crops: np.ndarray, file: Path) -> None:
    labels = cells_table()
    np.savez_compressed(file, crops=crops, **{name: labels[name].to_numpy(str) for name in (GENE, GUIDE, PLATE, WELL)})


def _write_lmdb(crops: np.ndarray, file: Path) -> None:
    with lmdb.open(str(file), subdir=False, map_size=1 << 20, lock=False) as store, store.begin(write=True) as writer:
        for index, (crop, row) in enumerate(zip(crops, cells_table().itertuples(), strict=True)):
            key = f"{row.gene_symbol};{row.sgRNA};{row.plate};{row.well};{row.tile};{index}"
            writer.put(key.encode(), crop.astype(np.float32).tobytes())


def _write_h5sc(crops: np.ndarray, file: Path) -> None:
    cells = anndata.AnnData(obs=cells_table().set_axis([str(i) for i in range(24)]))
    cells.write_h5ad(file)
    with h5py.File(file, "a") as content:
        content["obsm/single_cell_images"] = crops
        names = {"channel_names": list(CHANNELS), "channel_mapping": ["image_channel", "image_channel"]}
        anndata.io.write_elem(content, "uns/single_cell_images", names)


def _write_named(folder: Path) -> Files:
    (folder / "crops").mkdir()
    names = [f"{row.gene_symbol};{row.sgRNA};{row.plate};{row.well}.npy" for row in cells_table()[:12].itertuples()]
    for name, crop in zip(names, pixels(12, 2, 16, 16), strict=True):
        np.save(folder / "crops" / name, crop)
    return [f"crops/{name}" for name in names]


def _read_named(folder: Path) -> Any:
    screen = open_screen(folder / "crops", ScreenSettings())
    assert screen.read_crops is not None
    cells = screen.cells.to_pandas()
    return {"cells": cells, "pixels": screen.read_crops(cells), "told": _told(screen)}


def _write_zarr(crops: np.ndarray, file: Path) -> None:
    zarr.create_array(file, data=crops, chunks=(8, 2, 16, 16))


SCREENS = {
    "screen.yaml": Reader(lambda folder: _tiles(folder) or ["screen.yaml"], _opened),
    "cells csv": _screen("cells.csv", lambda table, file: table.to_csv(file, index=False)),
    "cells tsv": _screen("cells.tsv", lambda table, file: table.to_csv(file, index=False, sep="\t")),
    "cells csv.gz": _screen("cells.csv.gz", lambda table, file: table.to_csv(file, index=False)),
    "cells parquet": _screen("cells.parquet", lambda table, file: table.to_parquet(file)),
    "cells h5ad": _screen(
        "cells.h5ad", lambda table, file: anndata.AnnData(obs=table.set_axis(map(str, table.index))).write_h5ad(file)
    ),
    "TIFF": _tiff(resolution=(20000, 20000), resolutionunit="CENTIMETER"),
    "TIFF, tiled and packed": _tiff(tile=(16, 16), compression="zlib"),
    "OME-TIFF": _tiff(ome=True, metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}),
    "zarr v3": _zarr(3),
    "zarr v2": _zarr(2, chunk_key_encoding={"name": "v2", "separator": "/"}),
    "zarr, not packed": _zarr(3, compressors=None),
    "crops npy": _crops("crops.npy", lambda crops, file: np.save(file, crops)),
    "crops npz": _crops("crops.npz", _write_npz, table=False),
    "crops h5sc": _crops("crops.h5sc", _write_h5sc, table=False),
    "crops by name": Reader(_write_named, _read_named),
    "crops zarr": _crops("crops.zarr", _write_zarr),
    "crops LMDB": _crops("crops.lmdb", _write_lmdb, table=False),
}
