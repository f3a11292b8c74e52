"""Several screens in one store: each is cut by itself, and the stores are joined, their batches kept apart.

Shards are moved, not copied, and the cell table is gone through one well at a time. What a screen is called begins its
batches, its shards, and those of its plates and cell ids that another screen has too.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grape_ops.artifacts.damage import read_json
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.artifacts.locks import locked
from grape_ops.cells.store_record import read_meta
from grape_ops.cells.writer import finish_store, shard_file, shard_names, write_part
from grape_ops.config import Config, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.flat_field import FIELDS_FILE, read_fields, write_fields
from grape_ops.preprocess.joined_records import joined_provenance, joined_quality, joined_scaling, of_screen
from grape_ops.preprocess.quality_table import write_quality_table
from grape_ops.preprocess.store_folder import Plan, claim, tidy
from grape_ops.progress import note
from grape_ops.schema import (
    BATCH,
    CELLS_FILE,
    GENE,
    GUIDE,
    IS_CONTROL,
    PLATE,
    QUALITY_FILE,
    SCREEN,
    SHARD,
    SHARDS_DIR,
    UNFINISHED_DIR,
)
from grape_ops.screen.layouts import open_screen
from grape_ops.screen.screen import Screen

CELL_ID = "cell_id"
_SAME_PIXEL = 0.01  # difference of pixel sizes, as a share
_SHOWN = 5


@dataclass(frozen=True)
class Joined:
    """Screens that go into one store, in the order given.

    Attributes
    ----------
    screens : name -> screen; all have the channels of the first, in its order.
    shared_plates : plates that more than one screen has.
    """

    screens: Mapping[str, Screen]
    shared_plates: frozenset[str]

    @classmethod
    def open(cls, roots: Sequence[Path], settings: ScreenSettings, tables: Path) -> "Joined":
        """Read the screens' tables, and refuse what does not fit together before any image is read.

        Raises
        ------
        GrapeOpsError : channels or sizes of pixels differ, or a guide means another gene.
        """
        screens: dict[str, Screen] = {}
        for name, root in named(roots).items():
            first = next(iter(screens.values()), None)
            screens[name] = _with_channels_of(first, name, root, settings, tables / str(len(screens)))
        _check_pixel_sizes(screens)
        _check_columns_and_guides(screens)
        plates = Counter(plate for screen in screens.values() for plate in {plate for plate, _ in screen.cells.wells})
        return cls(screens, frozenset(plate for plate, count in plates.items() if count > 1))

    def fingerprint(self) -> str:
        """Hash of names, channels and tables."""
        digest = hashlib.sha256()
        for name, screen in self.screens.items():
            digest.update("|".join([name, *screen.channels]).encode())
            for table in (screen.tiles, *(cells for _, cells in screen.cells)):
                digest.update(pd.util.hash_pandas_object(table.astype(str), index=False).to_numpy().tobytes())
        return digest.hexdigest()


def named(roots: Sequence[Path]) -> dict[str, Path]:
    """Name each screen by its folder, and as many of those above as it takes to tell it from the others.

    Raises
    ------
    GrapeOpsError : a screen is given twice.
    """
    paths = [root.resolve() for root in roots]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise GrapeOpsError(f"The screen {twice.name} is given twice.")
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, roots, strict=True))


def store_of_screens(
    joined: Joined, out: Path, config: Config, resume: bool, overwrite: bool, scheduler: str | None
) -> dict[str, Any]:
    """Cut each screen and join the stores, unless that is done already; returns the quality counts."""
    from grape_ops.preprocess.pipeline import preprocess

    with locked(out, "a crop store"):
        plan = Plan.of(joined.fingerprint(), config.preprocess)
        pixel_size = next((screen.pixel_size for screen in joined.screens.values() if screen.pixel_size), None)
        if claim(out, plan, pixel_size, resume, overwrite):
            return read_json(out / QUALITY_FILE, "what was kept and dropped")
        folders = {}
        for number, (name, screen) in enumerate(joined.screens.items()):
            note(f"Screen {number + 1} of {len(joined.screens)}: {name}")
            folders[name] = out / UNFINISHED_DIR / "screens" / str(number)
            nucleus = config.features.nucleus_channel
            preprocess(screen, folders[name], config.preprocess, resume=True, scheduler=scheduler, nucleus=nucleus)
        quality = _join(joined, folders, out, plan)
        tidy(out)
    return quality


def _with_channels_of(first: Screen | None, name: str, root: Path, settings: ScreenSettings, tables: Path) -> Screen:
    """Open a screen; its channels in the order of the first screen's."""
    screen = open_screen(root, settings, tables)
    if first is None or screen.channels == first.channels:
        return screen
    theirs, ours = ([channel.lower() for channel in held.channels] for held in (screen, first))
    if sorted(theirs) != sorted(ours):
        raise GrapeOpsError(
            f"The screens have other channels: {', '.join(screen.channels)} in {name}, {', '.join(first.channels)} in "
            f"{first.root.name}. Name those that all of them have: --set screen.channels=[A,B]; where one channel has "
            "two names, give it one in the screen's screen.yaml."
        )
    return open_screen(root, settings.model_copy(update={"channels": first.channels}), tables)


def _check_pixel_sizes(screens: Mapping[str, Screen]) -> None:
    sizes = {name: screen.pixel_size for name, screen in screens.items() if screen.pixel_size}
    if sizes and max(sizes.values()) > min(sizes.values()) * (1 + _SAME_PIXEL):
        told = ", ".join(f"{size:g} µm in {name}" for name, size in sizes.items())
        raise GrapeOpsError(
            f"The screens' pixels are of different sizes: {told}. Crops of one store show cells at one size; rescale "
            "the images of one screen, or make a store for each. If a size is wrong: --set screen.pixel_size=SIZE."
        )


def _check_columns_and_guides(screens: Mapping[str, Screen]) -> None:
    """Refuse a column that is ours, and guides that mean another gene in another screen."""
    known: dict[str, tuple[str, str, bool]] = {}
    clashes = []
    for name, screen in screens.items():
        if SCREEN in screen.cells.columns:
            raise GrapeOpsError(
                f"The cell table of {name} has a column {SCREEN} already, which is to name the screen of each cell. "
                "Rename it in the table."
            )
        for gene, guide, control in screen.cells.distinct([GENE, GUIDE, IS_CONTROL]).itertuples(index=False):
            if not pd.isna(guide) and str(guide):
                there, other, was_control = known.setdefault(str(guide), (name, str(gene), bool(control)))
                if control and was_control:
                    continue
                if control or was_control or str(gene).upper() != other.upper():
                    of = [f"a control in {there}" if was_control else f"{other} in {there}"]
                    of += [f"a control in {name}" if control else f"{gene} in {name}"]
                    clashes.append(f"{guide} ({', '.join(of)})")
    if clashes:
        raise GrapeOpsError(
            f"Guides mean other genes in another screen: {', '.join(clashes[:_SHOWN])}. Give them names of their own "
            "in the screens' tables; where a control is meant, name the controls (screen.controls)."
        )


def _join(joined: Joined, folders: Mapping[str, Path], out: Path, plan: Plan) -> dict[str, Any]:
    """Move the shards of finished stores into one, and write its table."""
    metas = {name: read_meta(folder) for name, folder in folders.items()}
    counts = {name: read_json(folder / QUALITY_FILE, "what was kept and dropped") for name, folder in folders.items()}
    first = next(iter(metas.values()))
    spelling = _one_spelling([gene for quality in counts.values() for gene in quality["cells_per_gene"]])
    shards = shard_names((name, shard) for name, meta in metas.items() for shard in meta["shards"])
    texts = _text_columns(folders)
    parts = [
        write_part(out / UNFINISHED_DIR, f"{len(folders)}-{number}", cells)
        for number, cells in enumerate(_cells(joined, folders, shards, spelling, texts))
    ]
    records = {}
    for (name, shard), new in shards.items():
        file = shard_file(folders[name], shard)
        with output_errors(out / SHARDS_DIR):
            (out / SHARDS_DIR).mkdir(exist_ok=True)
            if file.is_file():  # else an interrupted call has moved it
                os.replace(file, shard_file(out, new))
        record = json.loads(file.with_suffix(".json").read_text())
        sums = {of_screen(name, batch): part for batch, part in record["controls"].items()}
        records[new] = record | {"controls": sums}
    quality = joined_quality(counts, spelling)
    write_quality_table(out, quality["table"])
    fields = {
        of_screen(name, group): field
        for name, folder in folders.items()
        if (folder / FIELDS_FILE).is_file()
        for group, field in read_fields(folder).items()
    }
    if fields:
        write_fields(out, fields)
    finish_store(
        out,
        parts,
        tuple(first["channels"]),
        records,
        first["pixel_type"],
        first["crop_size"],
        joined_scaling(metas),
        joined_provenance(metas, plan),
        quality,
        beside=(FIELDS_FILE,) if fields else (),
    )
    return quality


def _one_spelling(genes: Sequence[str]) -> dict[str, str]:
    """Genes that screens spell in upper and lower case -> the spelling of the first; says which."""
    first: dict[str, str] = {}
    changed = {gene: spelt for gene in genes if (spelt := first.setdefault(gene.upper(), gene)) != gene}
    if changed:
        shown = ", ".join(f"{gene} is {spelt}" for gene, spelt in list(changed.items())[:_SHOWN])
        note(f"{len(changed)} genes are spelt as in the first screen that has them: {shown}.")
    return changed


def _text_columns(folders: Mapping[str, Path]) -> dict[str, bool]:
    """Columns of all tables, and whether one is of another kind in some of them, so that it becomes text in all."""
    kinds: dict[str, set[str]] = {}
    for folder in folders.values():
        for column in pq.read_schema(folder / CELLS_FILE):
            found = kinds.setdefault(column.name, set())
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                found.add("numbers")
            elif not pa.types.is_null(column.type):
                found.add(str(column.type).removeprefix("large_"))
    return {name: len(found) > 1 for name, found in kinds.items()}


def _as_text(value: Any) -> str:
    """The same for 1 and 1.0: whole numbers become floats in a well that lacks one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _cells(
    joined: Joined,
    folders: Mapping[str, Path],
    shards: Mapping[tuple[str, ...], str],
    spelling: Mapping[str, str],
    texts: Mapping[str, bool],
) -> Iterator[pd.DataFrame]:
    """Go through the tables of all stores, a well at a time, as they are in the store of all."""
    for name, folder in folders.items():
        table = pq.ParquetFile(folder / CELLS_FILE)
        for group in range(table.num_row_groups):
            cells = table.read_row_group(group).to_pandas()
            for column, becomes_text in texts.items():
                if column not in cells:
                    cells[column] = None
                elif becomes_text:
                    cells[column] = cells[column].map(_as_text, na_action="ignore")
            cells.insert(0, SCREEN, name)
            cells[BATCH] = [of_screen(name, batch) for batch in cells[BATCH]]
            cells[SHARD] = [shards[name, shard] for shard in cells[SHARD]]
            cells[GENE] = cells[GENE].replace(spelling)
            cells[PLATE] = [f"{name}:{plate}" if plate in joined.shared_plates else plate for plate in cells[PLATE]]
            if CELL_ID in cells:
                ids = cells[CELL_ID].map(_as_text, na_action="ignore")
                cells[CELL_ID] = ids.map(lambda own, name=name: f"{name}:{own}", na_action="ignore")
            yield cells[[SCREEN, *texts]]
