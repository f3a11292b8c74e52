"""Layout ``brieflow``: aligned phenotype tiles, merged or aggregated tables, and the pipeline's config.yml.

File names are ``{P-plate}_{W-well}_{T-tile}__{type}.{ext}``; tiles are (C, y, x) and corrected already.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from grape_ops.config import ScreenSettings, read_yaml
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import GENE, GUIDE, PLATE, TILE, WELL, X, Y
from grape_ops.screen.columns import CANDIDATES
from grape_ops.screen.layout import Layout, found_tables
from grape_ops.screen.screen import Screen, chosen_channels
from grape_ops.screen.table_files import column_names
from grape_ops.screen.table_reader import TableReader
from grape_ops.screen.tiff import Plane, TiffTiles, count_channels_of
from grape_ops.screen.tile_pattern import PATH, TILE_KEY, tile_table

_TILE = re.compile(r"P-(?P<plate>[^_]+)_W-(?P<well>[^_]+)_T-(?P<tile>[^_]+)__aligned\.tiff?")
_PLACE = re.compile(r"P-(?P<plate>[^_]+)_W-(?P<well>[^_]+)_")
_COMBINATION = re.compile(r"_CeCl-(?P<classes>.+?)_ChCo-(?P<channels>.+?)__filtered\.parquet")
_IMAGES = "phenotype/images/P-*_W-*_T-*__aligned.tif*"
_AGGREGATED, _MERGED = "aggregate/parquets/*__filtered.parquet", "merge/parquets/*__merge_final.parquet"


def _home(root: Path) -> Path | None:
    """Find the pipeline's output: the folder itself or one below."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
    return next((folder for folder in folders if next(folder.glob(_IMAGES), None)), None)


def _recognise(root: Path) -> bool:
    return _home(root) is not None


def read_brieflow(root: Path, settings: ScreenSettings, table_folder: Path | None = None) -> Screen:
    """Open the output of a brieflow run.

    Raises
    ------
    GrapeOpsError : there are no aligned images, or no tables.
    """
    home = _home(root)
    if home is None:
        raise GrapeOpsError(f"There are no images {_IMAGES} in {root}.")
    config = _configuration(root, home)
    files = found_tables(home, settings, [_AGGREGATED, _MERGED], "tables of the steps aggregate or merge")
    files = _one_combination(files)
    named, pattern = _named(files[0], config, settings), settings.control_pattern
    if key := config.get("aggregate", {}).get("control_key"):
        pattern = f"{pattern}|^{re.escape(str(key))}"
    settings = settings.model_copy(update={"control_pattern": pattern})
    adds = [name for name in (PLATE, WELL) if name not in column_names(files[0])]
    table = TableReader(files, settings, named, _add_place, adds=adds).read(table_folder)
    tiles = _list_tiles(home, table.distinct(TILE_KEY))
    names = _channel_names(home, tiles, config)
    channels = chosen_channels(names, settings)
    planes = tuple(Plane(name, PATH, names.index(name), len(names)) for name in channels)
    return Screen(
        root=home,
        channels=channels,
        cells=table,
        tiles=tiles,
        read_tile=TiffTiles(home, planes, mend="phenotype.channel_names in brieflow's config.yml names them"),
        corrected=True,
    )


def _configuration(root: Path, home: Path) -> dict[str, Any]:
    places = [folder / name for folder in (home, root, home.parent) for name in ("config.yml", "config/config.yml")]
    file = next((place for place in places if place.is_file()), None)
    return read_yaml(file) if file else {}


def _one_combination(files: list[Path]) -> list[Path]:
    """Keep the tables of one combination of channels, and of all classes of cells at once if there are such."""
    parsed = {file: match for file in files if (match := _COMBINATION.search(file.name))}
    if len(parsed) < len(files):
        return files
    combination = max({match["channels"] for match in parsed.values()}, key=lambda name: (len(name), name))
    own = {file: match["classes"] for file, match in parsed.items() if match["channels"] == combination}
    whole = [file for file, classes in own.items() if classes.lower() == "all"]
    return whole or list(own)


def _named(file: Path, config: dict[str, Any], settings: ScreenSettings) -> dict[str, str]:
    """Name the columns that the pipeline's configuration names, and the centres in the phenotype images."""
    present, aggregate = column_names(file), config.get("aggregate", {})
    named = {GENE: aggregate.get("perturbation_name_col"), Y: "i_0", X: "j_0"}
    guide = aggregate.get("perturbation_id_col")
    # Some configurations identify perturbations by the number of the gene, which is no guide.
    if guide in CANDIDATES[GUIDE]:
        named[GUIDE] = guide
    return {ours: theirs for ours, theirs in named.items() if theirs in present} | settings.columns


def _add_place(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Take plate and well from the file's name where the table lacks them."""
    match = _PLACE.match(file.name)
    new = {name: match[name] for name in (PLATE, WELL) if match and name not in table}
    return table.assign(**new) if new else table


def _list_tiles(home: Path, named: pd.DataFrame) -> pd.DataFrame:
    matches = [(path, _TILE.fullmatch(path.name)) for path in sorted(home.glob(_IMAGES))]
    rows = [match.groupdict() | {PATH: path.relative_to(home).as_posix()} for path, match in matches if match]
    found = pd.DataFrame(rows, columns=[PLATE, WELL, TILE, PATH])
    tiles = named.merge(found, how="outer", on=TILE_KEY)
    expected = "phenotype/images/P-" + tiles[PLATE] + "_W-" + tiles[WELL] + "_T-" + tiles[TILE] + "__aligned.tiff"
    return tile_table(tiles.assign(**{PATH: tiles[PATH].fillna(expected)}))


def _channel_names(home: Path, tiles: pd.DataFrame, config: dict[str, Any]) -> tuple[str, ...]:
    names = config.get("phenotype", {}).get("channel_names")
    if names:
        return tuple(map(str, names))
    first = next(home / path for path in tiles[PATH] if (home / path).is_file())
    return tuple(f"channel{index}" for index in range(count_channels_of(first)))


BRIEFLOW = Layout("output of brieflow: phenotype/images/P-..__aligned.tiff with its tables", _recognise, read_brieflow)
