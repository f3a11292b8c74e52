"""Layout ``scallops``: merged tables with stitched wells, or the crops that ``extract-crops`` wrote.

A well is one image ``pheno-registered.zarr/{plate}-{well}`` (c, y, x), and cells lie in its pixels. Ready crops
are ``{output}/{label}/{image_key}/{label_id}.tiff`` or ``.npy`` beside ``{output}/{label}/{image_key}.parquet``.
"""

from pathlib import Path

import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL, X, Y
from grape_ops.screen.crop_files import CROP, FileCrops, count_channels, crop_screen
from grape_ops.screen.layout import Layout, found_tables, visible
from grape_ops.screen.screen import Screen, chosen_channels
from grape_ops.screen.table_files import column_names
from grape_ops.screen.table_reader import TableReader
from grape_ops.screen.tile_pattern import PATH, TILE_KEY, tile_table
from grape_ops.screen.zarr_tiles import ZarrTiles, names_of_channels, note_unnamed, scales_of_floats

IMAGES = "pheno-registered.zarr"
CROP_URL = "crop_url"
_CENTRES = ("Nuclei_AreaShape_Center_Y", "Nuclei_AreaShape_Center_X")


def _images(root: Path) -> Path | None:
    found = [path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(f"{depth}{IMAGES}"))]
    return found[0] if found else None


def _crop_tables(root: Path) -> list[Path]:
    """Find the tables that have a folder of crops of the same name beside them."""
    tables = [path for depth in ("", "*/", "*/*/") for path in visible(root.glob(f"{depth}*.parquet"))]
    return [path for path in tables if path.with_suffix("").is_dir() and CROP_URL in column_names(path)]


def _recognise(root: Path) -> bool:
    return root.is_dir() and (_images(root) is not None or bool(_crop_tables(root)))


def read_scallops(root: Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
    """Open merged tables and wells, or if there are no wells, ready crops.

    Raises
    ------
    GrapeOpsError : there is neither.
    """
    images = _images(root)
    if images is not None:
        return _read_wells(images, settings, table_folder)
    tables = _crop_tables(root)
    if not tables:
        raise GrapeOpsError(f"{root} has neither {IMAGES} nor tables with folders of crops beside them.")
    return _read_crops(root, tables, settings, table_folder)


def _read_wells(images: Path, settings: ScreenSettings, table_folder: Path | None) -> Screen:
    root = images.parent
    files = found_tables(root, settings, ["merge/*.parquet", "*/merge/*.parquet"], "merged tables (merge/*.parquet)")
    keys = {path.name: path for folder in (images, images / "images") for path in folder.glob("*-*") if path.is_dir()}
    if not keys:
        raise GrapeOpsError(f"{images} holds no wells named plate-well.")
    present = column_names(files[0])
    named = dict(zip((Y, X), _CENTRES, strict=True)) if set(_CENTRES) <= set(present) else {}
    named = {TILE: TILE} | named | settings.columns
    table = TableReader(files, settings, named, _to_well, adds=(PLATE, WELL, TILE)).read(table_folder)
    wells = [path for _, path in sorted(keys.items())]
    names = names_of_channels(wells)
    note_unnamed(wells[0], names)
    channels = chosen_channels(names, settings)
    tiles = table.distinct(TILE_KEY).reset_index(drop=True)
    paths = [
        keys.get(f"{plate}-{well}", images / f"{plate}-{well}")
        for plate, well in zip(tiles[PLATE], tiles[WELL], strict=True)
    ]
    tiles[PATH] = [path.relative_to(root).as_posix() for path in paths]
    indices = tuple(map(names.index, channels))
    scales = scales_of_floats([path for path in paths if path.exists()][:8], indices, settings.float_max)
    return Screen(
        root=root,
        channels=channels,
        cells=table,
        tiles=tile_table(tiles),
        read_tile=ZarrTiles(root, indices, scales, names),
        corrected=True,
    )


def _to_well(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Make the well the tile, and take plate and well from the file's name where the table lacks them."""
    plate, dash, well = file.stem.rpartition("-")
    new = {PLATE: plate, WELL: well} if dash else {}
    missing = [name for name in (PLATE, WELL) if name not in table and name not in new]
    if missing:
        raise GrapeOpsError(
            f"{file} has no column {', '.join(missing)}, and its name is not plate-well; name the columns as "
            f"screen.columns.{missing[0]}."
        )
    return table.assign(**{name: value for name, value in new.items() if name not in table}, **{TILE: "well"})


def _read_crops(root: Path, tables: list[Path], settings: ScreenSettings, table_folder: Path | None) -> Screen:
    def locate(table: pd.DataFrame, file: Path) -> pd.DataFrame:
        folder = file.with_suffix("").relative_to(root)
        # The address may be of the machine that cut the crops; what counts is the file's name.
        paths = table[CROP_URL].astype(str).map(lambda url: f"{folder.as_posix()}/{Path(url).name}")
        return _to_well(table, file).assign(**{CROP: paths})

    reader = TableReader(tables, settings, settings.columns, locate, (PLATE, WELL, TILE, CROP), (CROP_URL,), (Y, X))
    table = reader.read(table_folder)
    names = tuple(f"channel{index}" for index in range(count_channels(root, table.beginning(CROP))))
    channels = chosen_channels(names, settings)
    read_crops = FileCrops(root, tuple(map(names.index, channels)), len(names))
    return crop_screen(root, channels, table, settings, read_crops)


SCALLOPS = Layout(f"SCALLOPS: {IMAGES} with merge/*.parquet, or the crops of extract-crops", _recognise, read_scallops)
