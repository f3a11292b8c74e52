"""Plate images of a submission: the screen's own pixels where cell_data.parquet says the cells are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, PreprocessSettings, ScreenSettings, parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.export import standard_images
from grape_ops.export.standard_cells import describe_cells
from grape_ops.export.standard_images import PlateImages, find_plate_images, write_plate_images
from grape_ops.export.standard_library import describe_guides
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Window

CHANNELS = ["DNA", "actin"]
GUIDES = {"RPL4": "ACGT" * 5, "nontargeting": "TTGCA" * 4}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    """Cut two wells of two tiles, named Well1 and B02, into a store beside the screen."""
    home = tmp_path_factory.mktemp("images")
    root, rng, rows = home / "screen", np.random.default_rng(0), []
    for well in ("Well1", "B02"):
        for tile in ("3", "12"):
            (root / "tiles").mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(200, 4000, (2, 90, 110)).astype(np.uint16)
            pixels[1] = 0  # black pixels are pixels, not absent chunks
            tifffile.imwrite(root / f"tiles/{well}_{tile}.tif", pixels, photometric="minisblack")
            for n in range(6):
                gene = ("RPL4", "nontargeting")[n % 2]
                rows.append((gene, GUIDES[gene], "P1", well, tile, *rng.uniform(20, 60, 2).round(1)))
    table = pd.DataFrame(rows, columns=["gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x"])
    table.to_csv(root / "cells.csv", index=False)
    description = {"cells": "cells.csv", "tiles": "tiles/{well}_{tile}.tif", "channels": CHANNELS}
    (root / "screen.yaml").write_text(yaml.safe_dump(description))
    settings = PreprocessSettings(crop_size=32, workers=1, edge="reflect")
    preprocess(open_screen(root, ScreenSettings()), home / "store", settings)
    return CropStore.open(home / "store")


def config(**export: object) -> Config:
    chosen = {"images": True, "pixel_size": 0.65, "wells": {"Well1": "A1"}} | export
    return parse_config({"export": chosen}, source="test")


def found(store: CropStore, settings: Config, folder: Path) -> PlateImages:
    (folder / "ids.tsv").write_text("symbol\tensembl_gene_id\nRPL4\tENSG00000174444\n")
    export = settings.export.model_copy(update={"gene_ids": folder / "ids.tsv"})
    return find_plate_images(store, describe_cells(store, describe_guides(store, export), export), settings)


@pytest.mark.parametrize("large", [False, True])
def test_pixels_of_every_tile_lie_where_the_cells_say(store, tmp_path, monkeypatch, large) -> None:
    images, home = found(store, config(), tmp_path), tmp_path / "My-screen"
    if large:  # as a stitched well, which is copied in windows
        monkeypatch.setattr(standard_images, "LARGEST_TILE", 1000)
        monkeypatch.setattr(standard_images, "windows_of", lambda height, width: [
            Window(top, left, min(64, height - top), min(64, width - left))
            for top in range(0, height, 64) for left in range(0, width, 64)
        ])  # fmt: skip
    write_plate_images(images, home)
    root = zarr.open_group(home / "My-screen.zarr", mode="r")
    assert root.metadata.zarr_format == 3
    for name, well in (("A/1", "Well1"), ("B/2", "B02")):
        assert sorted(root[name].group_keys()) == ["12", "3"]
        for tile in ("3", "12"):
            expected = tifffile.imread(store.path.parent / f"screen/tiles/{well}_{tile}.tif")
            np.testing.assert_array_equal(root[f"{name}/{tile}/0"][0, :, 0], expected)
            # A channel without any light has its chunks like every other.
            shards = [home / f"My-screen.zarr/{name}/{tile}/0/c/0/{channel}/0/0/0" for channel in (0, 1)]
            assert all(shard.is_file() for shard in shards)


def test_metadata_are_the_standards(store, tmp_path) -> None:
    write_plate_images(found(store, config(), tmp_path), tmp_path / "s")
    root = zarr.open_group(tmp_path / "s/s.zarr", mode="r")
    plate = root.attrs["ome"]["plate"]
    assert plate["name"] == "P1" and plate["field_count"] == 2 and plate["acquisitions"] == [{"id": 0}]
    assert plate["rows"] == [{"name": "A"}, {"name": "B"}] and plate["columns"] == [{"name": "1"}, {"name": "2"}]
    assert plate["wells"] == [
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "B/2", "rowIndex": 1, "columnIndex": 1},
    ]
    assert [(one["name"], one["index"]) for one in root.attrs["channels_metadata"]] == [("DNA", 0), ("actin", 1)]
    for one in root.attrs["channels_metadata"]:
        keys = {"biological_target", "marker", "marker_type", "full_label"}
        assert (
            one["channel_type"] == "fluorescence" and one["description"] and set(one["biological_annotation"]) == keys
        )
    assert root["A/1"].attrs["ome"]["well"]["images"] == [{"path": path, "acquisition": 0} for path in ("3", "12")]
    image = root["A/1/12"]
    (scales,) = image.attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == list("TCZYX")
    units = [axis.get("unit") for axis in scales["axes"]]
    assert units == ["second", None, "micrometer", "micrometer", "micrometer"]
    assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1, 1, 0.65, 0.65]
    shown = image.attrs["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in shown] == CHANNELS
    assert all(0 <= one["window"]["start"] < one["window"]["end"] <= one["window"]["max"] == 65535 for one in shown)
    codecs = image["0"].metadata.codecs[0].to_dict()["configuration"]
    assert codecs["codecs"][-1]["name"] == "zstd" and codecs["index_codecs"][-1]["name"] == "crc32c"


def test_other_screens_and_unknown_pixels_are_refused(store, tmp_path) -> None:
    with pytest.raises(GrapeOpsError, match=r"--set export.pixel_size"):
        found(store, config(pixel_size=None), tmp_path)
    with pytest.raises(GrapeOpsError, match=r"no screen .*--set export.screen=FOLDER"):
        found(store, config(screen=tmp_path / "none"), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    table = pd.read_csv(store.path.parent / "screen/cells.csv").replace({"well": {"Well1": "Well9"}})
    table.to_csv(other / "cells.csv", index=False)
    (other / "screen.yaml").write_text((store.path.parent / "screen/screen.yaml").read_text())
    with pytest.raises(GrapeOpsError, match=r"is not the screen that store was cut from: it has no tile P1 Well1 3"):
        found(store, config(screen=other), tmp_path)


def test_tiles_that_cannot_be_read_are_told(store, tmp_path, capsys) -> None:
    images = found(store, config(), tmp_path)
    lost = store.path.parent / "screen/tiles/B02_3.tif"
    content = lost.read_bytes()
    lost.write_bytes(content[:500])
    try:
        write_plate_images(images, tmp_path / "s")
    finally:
        lost.write_bytes(content)
    assert "1 tile could not be copied" in capsys.readouterr().err
    root = zarr.open_group(tmp_path / "s/s.zarr", mode="r")
    assert list(root["B/2"].group_keys()) == ["12"]
    assert root["B/2"].attrs["ome"]["well"]["images"] == [{"path": "12", "acquisition": 0}]
