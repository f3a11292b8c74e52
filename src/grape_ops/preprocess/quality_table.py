"""The quality table of a store: what was met, how many, kept or dropped, and by which setting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grape_ops.artifacts.atomic import write_text
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.problems import Problems
from grape_ops.schema import QUALITY_TABLE
from grape_ops.screen.quality import Tally, as_records, as_tsv, counted
from grape_ops.screen.screen import Screen

# Reason a cell is left out while it is cropped -> what to call such cells, and the setting that decides.
_REASONS = {
    "no gene symbol": ("cells without a gene symbol", "preprocess.on_problem"),
    "tile missing or unreadable": ("cells whose tile is missing or unreadable", "preprocess.on_problem"),
    "crop missing or unreadable": ("cells whose crop is missing or unreadable", "preprocess.on_problem"),
    "outside its tile": ("cells outside their tile", "preprocess.on_problem"),
    "too close to the tile's edge": ("cells too close to the edge of their tile", "preprocess.edge"),
    "batch without controls": ("cells of batches without controls", "preprocess.on_problem"),
}


def quality_records(screen: Screen, dropped: Mapping[str, int], problems: Problems) -> list[dict[str, Any]]:
    """Join what the tables showed, the cells that were left out later, and the tiles and batches behind that."""
    cells = [Tally(*named(reason, count)) for reason, count in dropped.items()]
    causes = [
        Tally(problem.what, problem.count, "dropped", "preprocess.on_problem")
        for problem in problems.found
        if not problem.what.startswith("cells")  # these are counted as cells already
    ]
    return as_records([*screen.quality, *cells, *causes])


def check_not_empty(kept: int, of: int, dropped: Mapping[str, int]) -> None:
    """Stop if no cell is left, and say what took them and which settings decide."""
    if not kept:
        tallies = [Tally(*named(reason, count)) for reason, count in dropped.items()]
        lines = [f"  {counted(tally.count, tally.what)} ({tally.setting})" for tally in tallies]
        raise GrapeOpsError(
            f"No cell is left to crop; of {counted(of, 'cells')}:\n" + "\n".join(lines) + "\nA smaller "
            "preprocess.crop_size, or preprocess.edge=reflect, keeps more cells at the edge."
        )


def named(reason: str, count: int) -> tuple[str, int, Any, str]:
    """Say what cells left out for a reason are called: the fields of a tally."""
    what, setting = _REASONS.get(reason, (f"cells left out: {reason}", ""))
    return what, count, "dropped", setting


def write_quality_table(folder: Path, records: list[dict[str, Any]]) -> None:
    """Write the table beside the store as TSV: what, count, fate, setting."""
    write_text(folder / QUALITY_TABLE, as_tsv(records))
