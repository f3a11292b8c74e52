"""Layout ``periscope``: Cell Painting Gallery cpg0021, corrected images and single-cell tables.

Images are ``images_corrected_cropped/{plate}_{well}/Corr{channel}/Corr{channel}_Site_{site}.tiff``. Channels were
taken in other rounds than the cells were found in: a cell lies at its centre plus the channel's own shift. The
shifts belong to a site, so each channel is shifted as it is read and all of them are cropped at one place.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL, X, Y
from grape_ops.screen.cell_table import CellTable
from grape_ops.screen.layout import Layout, found_tables, visible, walk
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import Screen, TileHeader, Window, chosen_channels
from grape_ops.screen.table_files import column_names
from grape_ops.screen.table_reader import TableReader
from grape_ops.screen.tiff import Plane, TiffTiles
from grape_ops.screen.tile_pattern import PATH, TILE_KEY, tile_table

# Channel -> whose shift it goes with.
SHIFTED_WITH = {"DNA": "DAPI_Painting", "ER": "ConA", "Mito": "Mito", "Phalloidin": "Phalloidin", "WGA": "WGA"}
_IMAGES = "images_corrected_cropped"
_SITE = re.compile(r"Corr(?P<channel>[^_/]+)_Site_(?P<tile>\d+)\.tiff?")
_TABLES = ("*single_cell_normalized*.csv.gz", "*single_cell*.csv.gz", "*single_cell*.csv", "*single_cell*.parquet")
_GUIDE_AND_GENE = re.compile(r"__(?P<guide>[ACGT]+)_(?P<gene>.+?)\.(csv|parquet)")
_CALLED = ("Metadata_Foci_Barcode_MatchedTo_Barcode", "Metadata_Foci_Barcode_MatchedTo_GeneCode")


def _image_folder(root: Path) -> Path | None:
    """Find the folders of images, a few levels down."""
    patterns = ["/".join([*["*"] * depth, _IMAGES]) for depth in range(5)]
    return next((folder for pattern in patterns for folder in sorted(root.glob(pattern)) if folder.is_dir()), None)


def _recognise(root: Path) -> bool:
    return root.is_dir() and _image_folder(root) is not None


def _shift_columns(channels: tuple[str, ...]) -> list[str]:
    return [f"Align_{axis}shift_{SHIFTED_WITH[name]}" for name in channels for axis in "YX"]


def read_periscope(root: Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
    """Open images and tables that lie anywhere below a folder.

    Raises
    ------
    GrapeOpsError : there are no images or tables of these names.
    """
    if _image_folder(root) is None:
        raise GrapeOpsError(f"There is no folder {_IMAGES} in {root}, nor up to four folders below it.")
    files = found_tables(root, settings, _TABLES, "single-cell tables (*single_cell_normalized*.csv.gz)")
    folders = _find_folders(root)
    taken = [name for name in SHIFTED_WITH if any((root / own / f"Corr{name}").is_dir() for own in folders.values())]
    channels = chosen_channels(tuple(taken), settings)
    present = column_names(files[0])
    shifts = [name for name in _shift_columns(channels) if name in present]
    adds = [name for name in _CALLED if name not in present]
    # Cells were found in the images of this stage, of whose coordinates there may be several.
    named = {Y: "Cells_AreaShape_Center_Y", X: "Cells_AreaShape_Center_X"}
    named = {ours: theirs for ours, theirs in named.items() if theirs in present} | settings.columns
    table = TableReader(files, settings, named, _add_call, adds=adds, needs=shifts).read(table_folder)
    places = table.distinct([PLATE, WELL]).itertuples(index=False, name=None)
    table = table.in_wells({(plate, well) for plate, well in places if f"{plate}_{well}" in folders})
    tiles, tallies = _with_shifts(_list_tiles(root, folders, table.distinct(TILE_KEY)), table, shifts)
    planes = tuple(Plane(name, f"path_{name}") for name in channels)
    return Screen(
        root=root,
        channels=channels,
        cells=replace(table, quality=(*table.quality, *tallies)),
        tiles=tiles,
        read_tile=ShiftedTiles(TiffTiles(root, planes, mend="each channel has a file of its own")),
        corrected=True,
    )


def _add_call(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Take guide and gene from the file's name where the table lacks them."""
    match = _GUIDE_AND_GENE.search(file.name)
    if match is None:
        return table
    called = dict(zip(_CALLED, match.group("guide", "gene"), strict=True))
    return table.assign(**{name: value for name, value in called.items() if name not in table})


def _find_folders(root: Path) -> dict[str, Path]:
    """Find the folder of each {plate}_{well}, relative to the root."""
    folders: dict[str, Path] = {}
    for images in (folder for folder in walk(root, _IMAGES, folders=True) if folder.is_dir()):
        folders |= {folder.name: folder.relative_to(root) for folder in visible(images.iterdir()) if folder.is_dir()}
    return folders


def _list_tiles(root: Path, folders: dict[str, Path], named: pd.DataFrame) -> pd.DataFrame:
    """List the sites that cells or images name, with a path for each channel."""
    rows = set(named[TILE_KEY].itertuples(index=False, name=None))
    for plate, well in {(plate, well) for plate, well, _ in rows}:
        sites = (root / folders[f"{plate}_{well}"]).glob("Corr*/*")
        rows |= {(plate, well, match["tile"]) for path in sites if (match := _SITE.fullmatch(path.name))}
    listed = []
    for plate, well, tile in rows:
        folder = folders[f"{plate}_{well}"].as_posix()
        paths = {f"path_{name}": f"{folder}/Corr{name}/Corr{name}_Site_{tile}.tiff" for name in SHIFTED_WITH}
        listed.append({PLATE: plate, WELL: well, TILE: tile, PATH: paths["path_DNA"]} | paths)
    return tile_table(pd.DataFrame(listed))


def _with_shifts(tiles: pd.DataFrame, table: CellTable, columns: list[str]) -> tuple[pd.DataFrame, list[Tally]]:
    """Give each tile the shifts of its cells; where cells of a tile disagree, the most common one counts."""
    shifts = pd.DataFrame(columns=TILE_KEY)
    if columns:
        several = table.count_by([*TILE_KEY, *columns])
        several[columns] = several[columns].apply(pd.to_numeric, errors="coerce")
        several = several.dropna(subset=columns, how="all")
        several = several.groupby([*TILE_KEY, *columns], as_index=False, dropna=False)[["cells"]].sum()
        most = several.sort_values("cells", ascending=False, kind="stable").drop_duplicates(TILE_KEY)
        shifts = most[[*TILE_KEY, *columns]]
        split = several.groupby(TILE_KEY).size()
        tallies = [Tally("tiles whose cells name different channel shifts", int((split > 1).sum()), "noted")]
    else:
        tallies = [Tally("tables without channel shifts (Align_Xshift_...)", 1, "noted")]
    tiles = tiles.merge(shifts, how="left", on=TILE_KEY)
    for name, source in SHIFTED_WITH.items():
        for axis in "YX":
            values = tiles.get(f"Align_{axis}shift_{source}", pd.Series(0.0, index=tiles.index))
            tiles[f"{axis.lower()}_shift_{name}"] = values.fillna(0).round().astype(int)
    return tiles.drop(columns=[name for name in columns if name in tiles]), tallies


@dataclass(frozen=True)
class ShiftedTiles:
    """Reads tiles so that a cell lies at its centre in every channel; beyond the rim the rim's pixels repeat."""

    files: TiffTiles

    def __call__(self, tile: pd.Series) -> np.ndarray:
        """Read a whole tile: -> (C, H, W) unsigned integers."""
        return self.read(tile, None, None)

    def header(self, tile: pd.Series) -> TileHeader:
        """Read the heads of a tile's files."""
        return self.files.header(tile)

    def pixel_size(self, tile: pd.Series) -> float | None:
        """Micrometres of a pixel, if the tile's first file tells."""
        return self.files.pixel_size(tile)

    def read(self, tile: pd.Series, channels: tuple[int, ...] | None, window: Window | None) -> np.ndarray:
        """Read some channels (None: all) of a window (None: the whole tile): -> (c, h, w)."""
        wanted = tuple(range(len(self.files.planes))) if channels is None else channels
        shifts = [self._shift(tile, channel) for channel in wanted]
        if not any(map(any, shifts)):
            return self.files.read(tile, channels, window)
        header = self.header(tile)
        top, left, height, width = window or Window(0, 0, header.height, header.width)
        images = []
        for channel, (down, right) in zip(wanted, shifts, strict=True):
            rows = np.clip(np.arange(top, top + height) + down, 0, header.height - 1)
            columns = np.clip(np.arange(left, left + width) + right, 0, header.width - 1)
            part = Window(rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
            image = self.files.read(tile, (channel,), part)[0]
            images.append(image[np.ix_(rows - rows[0], columns - columns[0])])
        return np.stack(images)

    def _shift(self, tile: pd.Series, channel: int) -> tuple[int, int]:
        name = self.files.planes[channel].channel
        return int(tile[f"y_shift_{name}"]), int(tile[f"x_shift_{name}"])


PERISCOPE = Layout("PERISCOPE (cpg0021): images_corrected_cropped/.../CorrDNA_Site_N.tiff", _recognise, read_periscope)
