"""What a screen's tables alone tell, before anything is computed: groups, batches, problems, a fingerprint.

The cell table is read one well at a time. Legend: T tiles of the screen.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.crops import outside
from grape_ops.preprocess.first_pass import TileGroups
from grape_ops.preprocess.groups import TILE_KEY, TileGrouping, TilePlaces, batch_of_cells
from grape_ops.preprocess.quality_table import Problems
from grape_ops.preprocess.selection import name_places
from grape_ops.progress import progress
from grape_ops.schema import GENE, GUIDE, IS_CONTROL, X, Y
from grape_ops.screen.pixel_types import mixed_types
from grape_ops.screen.screen import Screen, WindowedReader, tile_header

NEEDED = (GENE, GUIDE, *TILE_KEY, Y, X, IS_CONTROL)


@dataclass
class Tables:
    """What was found.

    Attributes
    ----------
    places : finds cells' tiles.
    n_cells : rows of the cell table.
    groups : of each tile.
    fingerprint : hash of all that the result depends on.
    missing_tiles : places of tiles without a file.
    nameless, unlisted, bare : cells without a gene, tiles that only the cell table names, batches without controls.
    first : a tile, and the cells on it.
    """

    places: TilePlaces
    n_cells: int = 0
    groups: TileGroups = field(default_factory=lambda: TileGroups(np.empty(0, object), np.empty(0, object)))
    fingerprint: str = ""
    missing_tiles: set[int] = field(default_factory=set)
    nameless: list[str] = field(default_factory=list)
    unlisted: dict[str, None] = field(default_factory=dict)
    bare: list[str] = field(default_factory=list)
    first: tuple[int, pd.DataFrame] | None = None

    def report(self, screen: Screen, problems: Problems) -> None:
        """Add everything that is wrong to the problems."""
        problems.add("cells without a gene symbol", self.nameless)
        problems.add("tiles that only the cell table names", list(self.unlisted))
        problems.add("missing tiles", [str(screen.tiles["path"].iloc[tile]) for tile in sorted(self.missing_tiles)])
        if problems.on_problem == "stop":  # otherwise they are counted once the cells are chosen
            problems.add("batches without control cells", self.bare)

    def look_at_heads(self, screen: Screen, problems: Problems, settings: PreprocessSettings) -> None:
        """Read the headers of all tiles, no pixels: a tile that does not fit must show before hours of reading."""
        if isinstance(screen.read_tile, WindowedReader):
            failed: dict[str, list[str]] = {}
            types: dict[tuple[str, str], dict[str, str]] = {}
            looked_at = [tile for tile in range(len(screen.tiles)) if tile not in self.missing_tiles]
            with progress("Looking at tiles", len(looked_at), "tile") as advance:
                for tile in looked_at:
                    row = screen.tiles.iloc[tile]
                    try:
                        header = screen.read_tile.header(row)
                        for place in (("field", self.groups.field[tile]), ("scale", self.groups.scale[tile])):
                            types.setdefault(place, {}).setdefault(header.dtype, str(row["path"]))
                    except GrapeOpsError as error:
                        # Messages that differ in nothing but the path are one.
                        failed.setdefault(str(error).replace(str(row["path"]), ""), []).append(str(error))
                    advance()
            for (_, group), of_type in types.items():
                if group and len(of_type) > 1:
                    raise mixed_types(f"The tiles of {group}", of_type)
            count = sum(map(len, failed.values()))
            if settings.on_problem == "stop" or count > settings.most_lost * len(screen.tiles):
                examples = [
                    why[0] + (f" (and {len(why) - 1} more such)" if len(why) > 1 else "") for why in failed.values()
                ]
                problems.add("unreadable tiles", examples, count)
                problems.check_keeps_inputs(count, len(screen.tiles), settings.most_lost)
        self._glance(screen, problems, settings)

    def _glance(self, screen: Screen, problems: Problems, settings: PreprocessSettings) -> None:
        """Compare the cells of one tile with its size."""
        if self.first is None:
            return
        tile, cells = self.first
        try:
            header = tile_header(screen.read_tile, screen.tiles.iloc[tile])
        except GrapeOpsError:
            return  # the first pass reads all tiles, and reports all that cannot be read
        astray = outside(cells[Y].to_numpy(float), cells[X].to_numpy(float), header.height, header.width)
        what = f"cells outside their tile, in the first tile of {header.height} x {header.width} pixels alone"
        if settings.on_problem == "stop" or astray.mean() > settings.most_lost:
            problems.add(what, name_places(cells[astray]))
            problems.check_keeps_inputs(int(astray.sum()), len(cells), settings.most_lost)


def look_over(screen: Screen, settings: PreprocessSettings) -> Tables:
    """Go through the tables once.

    Raises
    ------
    GrapeOpsError : a column is missing, or cannot be used as a setting requires.
    """
    missing = [column for column in NEEDED if column not in screen.cells.columns]
    if missing:
        raise GrapeOpsError(f"The screen's cell table lacks the columns {', '.join(missing)}.")
    tables = Tables(TilePlaces(screen.tiles))
    groupings = [
        TileGrouping(screen.tiles, part.columns, f"preprocess.{name}.columns")
        for name, part in (("flat_field", settings.flat_field), ("intensity", settings.intensity))
    ]
    digest = hashlib.sha256("|".join(screen.channels).encode())
    grouped = [*settings.batch_columns, *settings.flat_field.columns, *settings.intensity.columns]
    decisive = [*dict.fromkeys([*NEEDED, *grouped])]
    _add_to(digest, screen.tiles, decisive)
    used = np.zeros(len(screen.tiles), bool)
    with_cells: set[str] = set()
    with_controls: set[str] = set()
    for place, cells in screen.cells:
        _check_kinds(cells)
        tables.n_cells += len(cells)
        _add_to(digest, cells, decisive)
        tile = tables.places.of(place, cells)
        used[tile[tile >= 0]] = True
        for grouping in groupings:
            grouping.take(cells, tile)
        batch = batch_of_cells(screen.tiles, cells, tile, settings.batch_columns)
        with_cells |= set(batch)
        with_controls |= set(batch[cells[IS_CONTROL].to_numpy(bool)])
        tables.nameless += [f"row {row} of {' '.join(place)}" for row in cells.index[cells[GENE].isna()]]
        lost = cells.loc[tile < 0, TILE_KEY].drop_duplicates()
        tables.unlisted |= dict.fromkeys(" ".join(map(str, row)) for row in lost.to_numpy())
        if tables.first is None and (tile >= 0).any():
            first = int(tile[tile >= 0][0])
            tables.first = first, cells[tile == first]
    if not tables.n_cells:
        raise GrapeOpsError("The screen's cell table has no cells.")
    tables.groups = TileGroups(*(grouping.names(used) for grouping in groupings))
    tables.fingerprint = digest.hexdigest()
    tables.bare = sorted(with_cells - with_controls)
    # A pattern with a channel in it is no file; its tiles are found missing when they are read.
    paths = [str(path) for path in screen.tiles["path"]]
    tables.missing_tiles = {i for i, path in enumerate(paths) if "{" not in path and not (screen.root / path).exists()}
    return tables


def _check_kinds(cells: pd.DataFrame) -> None:
    try:
        pa.Table.from_pandas(cells, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        # It would fail in the end, when the table is written beside all the crops.
        raise GrapeOpsError(f"A column of the cell table holds values of several kinds: {error.args[-1]}.") from None


def _add_to(digest: "hashlib._Hash", table: pd.DataFrame, columns: list[str]) -> None:
    present = table[[name for name in columns if name in table]]
    digest.update(pd.util.hash_pandas_object(present, index=False).to_numpy(np.uint64).tobytes())
