"""What is wrong with a screen, reported all at once, and the quality table of its store: what was kept or left out."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from grape_ops.artifacts.atomic import write_text
from grape_ops.cells.standardize import recorded_sums
from grape_ops.cells.store_record import PIXEL_TYPES
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import QUALITY_TABLE
from grape_ops.screen.dead_channels import SATURATED
from grape_ops.screen.float_scale import MEND_STRANGE, strange_values
from grape_ops.screen.quality import Tally, as_records, as_tsv
from grape_ops.screen.screen import Screen
from grape_ops.screen.zarr_tiles import ZarrTiles
from grape_ops.words import counted

SHOWN = 5  # examples of a problem, and dead channels, named in a message


@dataclass(frozen=True)
class Problem:
    """One kind of problem: how often, and where for example."""

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass
class Problems:
    """Everything found so far.

    Parameters
    ----------
    on_problem : "stop" or "drop", as the setting of this name.
    """

    on_problem: str
    found: list[Problem] = field(default_factory=list)

    def add(self, what: str, where: list[str], count: int | None = None) -> None:
        """Note a kind of problem, if there are any places it was found at; one may stand for several."""
        if where:
            self.found.append(Problem(what, count or len(where), tuple(where[:SHOWN])))

    def settle(self) -> None:
        """Stop with everything found so far, unless the setting says to go on without what is affected."""
        if not self.found or self.on_problem == "drop":
            return
        lines = []
        for problem in self.found:
            more = ", ..." if problem.count > SHOWN else ""
            lines.append(f"  {counted(problem.count, problem.what)}: {', '.join(problem.examples)}{more}")
        raise GrapeOpsError(
            "The screen has problems:\n" + "\n".join(lines) + "\nMend them, or leave out what is affected with "
            "--set preprocess.on_problem=drop; with --resume nothing is computed twice."
        )

    def check_keeps_inputs(self, lost: int, of: int, most: float) -> None:
        """Stop even if set to drop what is affected, when that costs more than a share of the cells."""
        if self.on_problem == "drop" and self.found and lost > most * of:
            found = ", ".join(counted(problem.count, problem.what) for problem in self.found)
            example = self.found[0].examples[0].rstrip(".")
            raise GrapeOpsError(
                f"The screen has problems that would cost {counted(lost, 'cells')} of {of:,}: {found}; for example "
                f"{example}. Mend them, or allow it with --set preprocess.most_lost=1; with --resume nothing is "
                "computed twice."
            )

    def listed(self) -> list[dict[str, Any]]:
        """Give all problems in the form they are written to the quality counts."""
        return [asdict(problem) | {"examples": list(problem.examples)} for problem in self.found]


EDGE = "too close to the tile's edge"
# Reason a cell is left out while it is cropped -> what to call such cells, and the setting that decides.
_REASONS = {
    "no gene symbol": ("cells without a gene symbol", "preprocess.on_problem"),
    "tile missing or unreadable": ("cells whose tile is missing or unreadable", "preprocess.on_problem"),
    "crop missing or unreadable": ("cells whose crop is missing or unreadable", "preprocess.on_problem"),
    "outside its tile": ("cells outside their tile", "preprocess.on_problem"),
    "on zarr chunks that are absent": ("cells on zarr chunks that are absent", "preprocess.on_problem"),
    "on pixels that are NaN or infinite": ("cells on pixels that are NaN or infinite", "preprocess.on_problem"),
    EDGE: ("cells too close to the edge of their tile", "preprocess.edge"),
    "batch without controls": ("cells of batches without controls", "preprocess.on_problem"),
}


def dead_channels(shards: Mapping[str, Mapping[str, Any]], channels: Sequence[str], pixel_type: str) -> list[str]:
    """Find channels that show nothing among the control cells of a batch: "BATCH CHANNEL: constant at 0", for example.

    Crops are standardised by these cells: where they are constant or saturated, any other pixel is huge beside them.
    ``screen/dead_channels.py`` warns of the same before a store is made, from a few windows, whose pixels it has.

    Parameters
    ----------
    shards : what ``finish_shard`` noted of each shard.
    channels : names of the channels, in the order of the sums.
    pixel_type : of the store.
    """
    largest = PIXEL_TYPES[pixel_type]
    found = []
    for batch, sums in recorded_sums(shards.values()).items():
        for channel, mean, sd in zip(channels, *sums.mean_and_sd(largest), strict=True):
            if sd * largest <= 1:  # one grey level, the least that the deviation is taken for
                found.append(f"{batch} {channel}: constant at {mean * largest:.0f}")
            elif mean > SATURATED:
                found.append(f"{batch} {channel}: saturated, {mean:.1%} of the brightest value on average")
    return found


def warn_dead_channels(dead: Sequence[str]) -> list[Tally]:
    """Say which channels show nothing among control cells; -> their line of the quality table."""
    if not dead:
        return []
    more = f", and {len(dead) - SHOWN} more" if len(dead) > SHOWN else ""
    warnings.warn(
        f"Channels that show nothing among the control cells of a batch: {'; '.join(dead[:SHOWN])}{more}. Crops are "
        "standardised by these cells, so the channel says nothing there, or far too much. Check the images, or leave "
        "the channel out (screen.channels).",
        stacklevel=2,
    )
    return [Tally("channels of a batch that show nothing among its control cells", len(dead), "noted")]


def warn_strange_values(screen: Screen) -> list[Tally]:
    """Say which channels have values that can hardly be brightness; -> their line of the quality table."""
    if not isinstance(screen.read_tile, ZarrTiles):
        return []
    found = strange_values(screen.channels, screen.read_tile.scales)
    if not found:
        return []
    warnings.warn(f"Pixels that can hardly be brightness: {'; '.join(found)}. {MEND_STRANGE}", stacklevel=2)
    what = f"channels with values that can hardly be brightness: {'; '.join(found)}"
    return [Tally(what, len(found), "noted", "screen.float_max")]


def quality_records(
    screen: Screen, dropped: Mapping[str, int], problems: Problems, dead: Sequence[str], cut: Sequence[Tally]
) -> list[dict[str, Any]]:
    """Join what the tables showed, the cells that were left out later, and the tiles and batches behind that.

    ``dead`` are the channels that show nothing among control cells, ``cut`` says whether crops cut nuclei.
    """
    cells = [Tally(*named(reason, count)) for reason, count in dropped.items()]
    causes = [
        Tally(problem.what, problem.count, "dropped", "preprocess.on_problem")
        for problem in problems.found
        if not problem.what.startswith("cells")  # these are counted as cells already
    ]
    strange = warn_strange_values(screen)
    return as_records([*screen.cells.quality, *cells, *causes, *strange, *warn_dead_channels(dead), *cut])


def check_not_empty(kept: int, of: int, dropped: Mapping[str, int], problems: Problems, screen: Screen) -> None:
    """Stop if no cell is left, and say what took them, before and here, and which settings decide."""
    if kept:
        return
    lines = [f"No cell is left to crop; of {counted(of, 'cells')}:"]
    lines += _in_lines(Tally(*named(reason, count)) for reason, count in dropped.items())
    if problems.found:
        lines += ["What is behind it:"]
        lines += [
            f"  {counted(problem.count, problem.what)}, for example {problem.examples[0]}" for problem in problems.found
        ]
    if before := [tally for tally in screen.cells.quality if tally.fate == "dropped"]:
        lines += ["Left out before, when the tables were read:", *_in_lines(before)]
    if EDGE in dropped:
        lines += ["A smaller preprocess.crop_size, or preprocess.edge=reflect, keeps more cells at the edge."]
    raise GrapeOpsError("\n".join(lines))


def _in_lines(tallies: Iterable[Tally]) -> list[str]:
    return [f"  {counted(tally.count, tally.what)}" + f" ({tally.setting})" * bool(tally.setting) for tally in tallies]


def named(reason: str, count: int) -> tuple[str, int, Any, str]:
    """Say what cells left out for a reason are called: the fields of a tally."""
    what, setting = _REASONS.get(reason, (f"cells left out: {reason}", ""))
    return what, count, "dropped", setting


def write_quality_table(folder: Path, records: list[dict[str, Any]]) -> None:
    """Write the table beside the store as TSV: what, count, fate, setting."""
    write_text(folder / QUALITY_TABLE, as_tsv(records))
