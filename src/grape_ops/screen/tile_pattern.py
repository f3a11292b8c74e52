"""Tiles on disk: a path pattern with columns in braces, and which files it means."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, TILE, WELL
from grape_ops.screen.cell_table import CellTable
from grape_ops.screen.layout import natural
from grape_ops.screen.spelling import loose

TILE_KEY = [PLATE, WELL, TILE]
PATH = "path"
CHANNEL_FIELD = "channel"  # in a pattern: one file per channel


@dataclass(frozen=True)
class TilePattern:
    """A path, absolute or relative to the screen's folder, such as ``tiles/{plate}/{well}_{tile:04d}.tif``."""

    text: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Names in braces, each once."""
        return tuple(dict.fromkeys(name for _, name, _ in self._parts() if name))

    @property
    def per_channel(self) -> bool:
        """Whether each channel has a file of its own."""
        return CHANNEL_FIELD in self.fields

    def fill(self, values: dict[str, str]) -> str:
        """Put values into the braces; ``{channel}`` stays when it is not among them."""
        pieces = []
        for literal, name, spec in self._parts():
            pieces.append(literal)
            if name and name not in values:
                pieces.append("{" + name + "}")
            elif name:
                pieces.append(self._format(values[name], spec))
        return "".join(pieces)

    def _format(self, value: str, spec: str) -> str:
        try:
            return format(int(value), spec) if spec.endswith("d") else format(value, spec)
        except ValueError:
            raise GrapeOpsError(
                f"The tile pattern {self.text!r} cannot write the value {value!r} as {spec!r}."
            ) from None

    def find(self, root: Path, fields: Sequence[str] = TILE_KEY) -> Iterator[dict[str, str]]:
        """Yield the plate, well and tile, or what is asked for, of every file of the folder that fits the pattern."""
        glob, expression, seen = "", "", set()
        for literal, name, spec in self._parts():
            glob += re.sub(r"([*?[])", r"[\1]", literal)
            expression += re.escape(literal)
            if name:
                glob += "*"
                repeated = name in seen
                # No dot in front: other systems leave files such as ._A1_0.tif beside the tiles.
                group = r"\d+" if spec.endswith("d") else r"[^/.][^/]*?"
                expression += f"(?P={name})" if repeated else f"(?P<{name}>{group})"
                seen.add(name)
        numbers = {name for _, name, spec in self._parts() if name and spec.endswith("d")}
        anchor = Path(self.text).anchor
        for file in sorted((Path(anchor) if anchor else root).glob(glob.removeprefix(anchor))):
            path = (file if anchor else file.relative_to(root)).as_posix()
            match = re.fullmatch(expression, path)
            # Numbers are padded as the pattern says, or the path that is listed would be that of no file.
            if match and self.fill(values := match.groupdict()) == path:
                yield {name: str(int(values[name])) if name in numbers else values[name] for name in fields}

    def _parts(self) -> list[tuple[str, str | None, str]]:
        try:
            return [(literal, name, spec or "") for literal, name, spec, _ in Formatter().parse(self.text)]
        except ValueError as error:
            raise GrapeOpsError(f"The tile pattern {self.text!r} has unbalanced braces: {error}.") from None


def list_tiles(root: Path, pattern: TilePattern, table: CellTable) -> pd.DataFrame:
    """List every tile that the cells or the folder name: plate, well, tile, path relative to ``root``.

    A tile that the cells name and the folder lacks is listed too, so that it can be reported.

    Raises
    ------
    GrapeOpsError : the pattern names no column of the table, or one that differs between cells of a tile.
    """
    fields = [name for name in pattern.fields if name != CHANNEL_FIELD]
    unknown = [name for name in fields if name not in table.columns]
    if unknown:
        raise GrapeOpsError(
            f"The tile pattern {pattern.text!r} names {', '.join(unknown)}, which the cell table does not have. "
            f"It has: {', '.join(map(str, table.columns))}; {{channel}} stands for one file per channel."
        )
    wanted = list(dict.fromkeys([*TILE_KEY, *fields]))
    named = table.distinct(wanted).astype(str)
    split = named[named.duplicated(TILE_KEY)]
    if len(split):
        where = ", ".join(f"{key} {split.iloc[0][key]}" for key in TILE_KEY)
        raise GrapeOpsError(
            f"The tile pattern {pattern.text!r} gives several files for {where}: its columns must not differ "
            "between cells of one tile."
        )
    tiles = named[TILE_KEY].copy()
    paths = [pattern.fill(dict(zip(wanted, row, strict=True))) for row in named.itertuples(index=False, name=None)]
    tiles[PATH] = _as_spelled(paths, [pattern.fill(values) for values in pattern.find(root, fields)])
    if set(fields) == set(TILE_KEY) and not Path(pattern.text).is_absolute():
        # Tiles without any cell still tell about illumination.
        found = pd.DataFrame(pattern.find(root), columns=TILE_KEY, dtype=object).drop_duplicates()
        found[PATH] = [
            pattern.fill(dict(zip(TILE_KEY, row, strict=True))) for row in found.itertuples(index=False, name=None)
        ]
        # By path: where numbers are padded, a table may call tile 7 "007".
        tiles = pd.concat([tiles, found[~found[PATH].isin(tiles[PATH])]], ignore_index=True)
    return tile_table(tiles)


def _as_spelled(paths: list[str], present: list[str]) -> list[str]:
    """Name files as the folder does, where it has A1 for A01, or another case or Unicode form, and only one such."""
    spare = Counter(map(loose, dict.fromkeys(path for path in present if path not in set(paths))))
    by_name = {loose(path): path for path in present}
    missing = set(paths) - set(present)
    asked = Counter(map(loose, missing))
    return [
        by_name[key] if path in missing and spare[key := loose(path)] == asked[key] == 1 else path for path in paths
    ]


def tile_table(tiles: pd.DataFrame) -> pd.DataFrame:
    """Put tiles in order: by plate, well and tile, 10 after 9."""
    return tiles.sort_values(TILE_KEY, key=lambda values: values.map(natural)).reset_index(drop=True)
