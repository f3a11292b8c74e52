"""Plate images of the OPS Data Standard: one OME-Zarr for each plate (NGFF 0.5 HCS, zarr v3), copied from the screen.

    {title}.zarr/{row}/{column}/{tile}/0      axes T C Z Y X; of several plates {plate}.zarr each

Pixels are the screen's own, a channel and a window at a time, so that memory does not grow with wells or plates.
Letters: C channels, H x W tile.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import zarr

from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.export.standard_examples import channel_list, shrink_of
from grape_ops.export.standard_library import PERTURBATION
from grape_ops.plotting.pictures import ChannelView, composite_colours
from grape_ops.preprocess.first_pass import LARGEST_TILE, WINDOW, windows_of
from grape_ops.progress import note, progress
from grape_ops.schema import PLATE, TILE, WELL
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Screen, Window, read_window, tile_header
from grape_ops.screen.tile_pattern import TILE_KEY
from grape_ops.words import counted, some_of

_CHUNK = 1024
_ROW, _COLUMN, _NUMBER, _IMAGE = "well_row", "well_col", "number", "image"


@dataclass(frozen=True)
class PlateImages:
    """What is copied.

    Attributes
    ----------
    screen : where the pixels come from.
    tiles : one row per tile with cells: plate, well_row, well_col, number (as cell_data.parquet has them), image (row
        of the screen's list), ids (perturbations of its cells).
    pixel_size : in micrometres.
    views : how a viewer shows the channels at first.
    """

    screen: Screen
    tiles: pd.DataFrame
    pixel_size: float
    views: list[ChannelView]


def find_plate_images(store: CropStore, cells: pd.DataFrame, settings: Config) -> PlateImages:
    """Open the screen that a store was cut from, and find the tiles of its cells.

    Parameters
    ----------
    cells : what ``describe_cells`` made of the store's cells.

    Raises
    ------
    GrapeOpsError : there is no such screen, it is another one, or has no images; or the size of a pixel is not known.
    """
    if "screens" in store.meta["provenance"]:
        raise GrapeOpsError(
            "The images of several screens cannot be exported together: leave them out with --set export.images=false, "
            "or export a store for each screen."
        )
    home = settings.export.screen or store.path.resolve().parent / store.meta["provenance"]["screen"]
    if not home.exists():
        raise GrapeOpsError(
            f"There is no screen {home} to copy plate images from; --set export.screen=FOLDER names it."
        )
    chosen = settings.screen.model_copy(update={"channels": store.channels})
    with TemporaryDirectory() as parts:
        screen = open_screen(home, chosen, Path(parts))
    if screen.read_crops is not None:
        raise GrapeOpsError(f"{home} has ready crops and no plate images; leave out export.images.")
    of_tiles = store.meta["provenance"].get("pixel_size", 0) / shrink_of(store)
    pixel_size = settings.export.pixel_size or of_tiles or screen.pixel_size
    if not pixel_size:
        raise GrapeOpsError(
            "The OPS standard requires the size of a pixel with plate images: --set export.pixel_size=0.65, in "
            "micrometres."
        )
    numbers = cells[["plate", _ROW, _COLUMN, PERTURBATION]].copy()
    numbers[_NUMBER], numbers["well"] = cells["tile"], store.cells[WELL].to_numpy()
    numbers["own"] = store.cells[TILE].astype(str).to_numpy()
    by = ["plate", _ROW, _COLUMN, _NUMBER, "well", "own"]
    tiles = numbers.groupby(by, sort=True)[PERTURBATION].agg(lambda ids: sorted(set(ids))).rename("ids").reset_index()
    listed = screen.tiles[TILE_KEY].astype(str).reset_index(drop=True).reset_index(names=_IMAGE)
    tiles = tiles.merge(listed, how="left", left_on=["plate", "well", "own"], right_on=[PLATE, WELL, TILE])
    lost = tiles[tiles[_IMAGE].isna()]
    if len(lost):
        missing = some_of([" ".join(row) for row in lost[["plate", "well", "own"]].astype(str).to_numpy()])
        raise GrapeOpsError(
            f"{home} is not the screen that {store.path.name} was cut from: it has no tile {missing}. Name the right "
            "one with --set export.screen=FOLDER."
        )
    names = tiles["plate"].unique().tolist()
    if wrong := [name for name in names if Path(name).name != name or name.startswith(".")]:
        raise GrapeOpsError(f"The plate {wrong[0]!r} cannot name a folder of images.")
    return PlateImages(screen, tiles.astype({_IMAGE: int}), pixel_size, _views(store))


def _views(store: CropStore) -> list[ChannelView]:
    """Show channels between the grey levels that became black and white when crops were rescaled."""
    groups = store.meta["scaling"].get("groups", {}).values()
    low = np.min([group["low"] for group in groups], axis=0) if groups else np.zeros(len(store.channels))
    high = np.max([group["high"] for group in groups], axis=0) if groups else np.full(len(store.channels), 65535)
    colours = composite_colours(store.channels)
    return [ChannelView(*view) for view in zip(store.channels, colours, low.tolist(), high.tolist(), strict=True)]


def write_plate_images(images: PlateImages, home: Path) -> None:
    """Copy the tiles into one zarr for each plate; those that cannot be read are left out and told.

    Parameters
    ----------
    home : folder of the experiment, which names the zarr of a single plate.
    """
    plates = images.tiles.groupby("plate", sort=True)
    unreadable: list[str] = []
    with progress("Plate images", len(images.tiles), "tile") as advance:
        for plate, tiles in plates:
            name = home.name if plates.ngroups == 1 else str(plate)
            root = zarr.create_group(home / f"{name}.zarr", zarr_format=3)
            written: dict[str, list[int]] = {}
            for tile in tiles.to_dict("records"):
                well, number = f"{tile[_ROW]}/{tile[_COLUMN]}", int(tile[_NUMBER])
                try:
                    _write_tile(root, f"{well}/{number}", images, images.screen.tiles.iloc[tile[_IMAGE]])
                    written.setdefault(well, []).append(number)
                except GrapeOpsError as error:
                    unreadable.append(str(error))
                    del root[f"{well}/{number}"]
                advance()
            _describe(root, str(plate), written, images.screen.channels, tiles)
    if unreadable:
        note(f"{counted(len(unreadable), 'tiles')} could not be copied: {unreadable[0]}")
    note(
        "plate images name the channels as the screen does; replace FILL IN in channels_metadata of each zarr.json by "
        "what they show."
    )


def _write_tile(root: zarr.Group, path: str, images: PlateImages, tile: pd.Series) -> None:
    image = root.create_group(path)
    header = tile_header(images.screen.read_tile, tile)
    large = header.height * header.width > LARGEST_TILE
    side = [WINDOW if large else -(-length // _CHUNK) * _CHUNK for length in (header.height, header.width)]
    array = image.create_array(
        "0",
        shape=(1, header.channels, 1, header.height, header.width),
        dtype=header.dtype,
        chunks=(1, 1, 1, _CHUNK, _CHUNK),
        shards=(1, 1, 1, *side),  # a file for each window that is written at once
        dimension_names=list("TCZYX"),
        config={"write_empty_chunks": True},  # black pixels are pixels
    )
    windows = list(windows_of(header.height, header.width)) if large else [Window(0, 0, header.height, header.width)]
    for channel in range(header.channels):
        for top, left, height, width in windows:
            pixels = read_window(images.screen.read_tile, tile, Window(top, left, height, width), (channel,))
            array[0, channel, 0, top : top + height, left : left + width] = pixels[0]
    kind = np.dtype(header.dtype)
    top_level = int(np.iinfo(kind).max) if kind.kind in "ui" else round(max(view.high for view in images.views))
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0, images.pixel_size, images.pixel_size]}
    described: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {"name": path, "axes": _AXES, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
        ],
        "omero": {
            "channels": channel_list(images.views, top_level),
            "rdefs": {"defaultT": 0, "defaultZ": 0, "model": "color"},
        },
    }
    image.attrs["ome"] = described
    image.create_group("labels").attrs["ome"] = {"version": "0.5", "labels": []}  # no outlines of cells


_SPACE = {"type": "space", "unit": "micrometer"}
_AXES: list[dict[str, str]] = [
    {"name": "T", "type": "time", "unit": "second"},
    {"name": "C", "type": "channel"},
    *({"name": name, **_SPACE} for name in "ZYX"),
]


def _describe(
    root: zarr.Group, plate: str, written: dict[str, list[int]], channels: tuple[str, ...], tiles: pd.DataFrame
) -> None:
    """Write the metadata of the plate and of its wells."""
    places = [well.split("/") for well in written]
    rows = sorted({row for row, _ in places})
    columns = sorted({column for _, column in places}, key=int)
    described: dict[str, Any] = {
        "version": "0.5",
        "name": plate,
        "field_count": max(map(len, written.values()), default=0),
        "acquisitions": [{"id": 0}],
        "rows": [{"name": name} for name in rows],
        "columns": [{"name": name} for name in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in places
        ],
    }
    annotation = {"biological_target": "FILL IN", "marker_type": "FILL IN"}
    metadata: list[Any] = [
        {
            "name": name,
            "index": index,
            "channel_type": "fluorescence",
            "description": name,
            "biological_annotation": {**annotation, "marker": name, "full_label": name},
        }
        for index, name in enumerate(channels)
    ]
    shown = sorted({name for ids in tiles["ids"] for name in ids})
    plate_level: dict[str, Any] = {"version": "0.5", "plate": described}
    root.attrs.update({"ome": plate_level, "channels_metadata": metadata, PERTURBATION: shown})
    for well, numbers in written.items():
        own: list[Any] = [{"path": str(number), "acquisition": 0} for number in sorted(numbers)]
        root[well].attrs["ome"] = {"version": "0.5", "well": {"images": own}}
