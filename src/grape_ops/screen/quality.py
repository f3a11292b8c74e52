"""What reading a screen's tables met: how many of what, kept or dropped, and which setting decides."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandas as pd

from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.words import counted, some_of

Fate = Literal["kept", "dropped", "merged", "renamed", "noted", "doubted"]
_SHOWN = 3


@dataclass(frozen=True)
class Tally:
    """A count of the quality table.

    Attributes
    ----------
    what : in the plural, such as "cells with two barcodes".
    count : how many.
    fate : whether they stay; "doubted" ones do, and somebody should look at them.
    setting : what decides it, such as "screen.double_barcodes"; empty where nothing can be decided.
    """

    what: str
    count: int
    fate: Fate
    setting: str = ""


def merge_tallies(parts: Iterable[Iterable[Tally]]) -> tuple[Tally, ...]:
    """Add up the tallies of parts of a table, in the order of first appearance; what was not met is left out."""
    counts: dict[tuple[str, Any, str], int] = {}
    for part in parts:
        for tally in part:
            key = (tally.what, tally.fate, tally.setting)
            counts[key] = counts.get(key, 0) + tally.count
    return tuple(Tally(what, count, fate, setting) for (what, fate, setting), count in counts.items() if count)


@dataclass
class NamedCounts:
    """Counts over all stretches of a table that are told with the names they are of, the most frequent first."""

    counts: dict[tuple[str, Fate, str], Counter[str]] = field(default_factory=dict)

    def add(self, what: str, names: Iterable[str] | Mapping[str, int], fate: Fate, setting: str = "") -> None:
        """Count each name once more, or as often as it is given; see ``Tally`` for the rest."""
        self.counts.setdefault((what, fate, setting), Counter()).update(names)

    def tallies(self) -> list[Tally]:
        """One tally for each kind: what (a name, a name and 3 more)."""
        found = []
        for (what, fate, setting), names in self.counts.items():
            shown = some_of((name for name, _ in names.most_common()), _SHOWN)
            found += [Tally(f"{what} ({shown})", names.total(), fate, setting)] if names else []
        return found


def doubts_of_columns(tallies: Iterable[Tally]) -> list[str]:
    """Sentences about plates, wells and tiles that no column names, and about what else of a table is doubtful."""
    return [_doubt(tally) for tally in tallies if is_doubt(tally)]


def _doubt(tally: Tally) -> str:
    if tally.fate == "doubted":
        return f"{counted(tally.count, tally.what)}" + (f": see {tally.setting}." if tally.setting else ".")
    return (
        f"{counted(tally.count, tally.what)}: {tally.setting.rpartition('.')[2]} is taken as 1 for all. If the table "
        f"has the column under another name, set {tally.setting}."
    )


def is_doubt(tally: Tally) -> bool:
    """Whether ``doubts_of_columns`` tells a tally."""
    return tally.fate == "doubted" or tally.setting.startswith("screen.columns.")


def as_records(tallies: Iterable[Tally]) -> list[dict[str, Any]]:
    """Give tallies in the form of quality.json."""
    return [asdict(tally) for tally in tallies]


def as_tsv(records: list[dict[str, Any]]) -> str:
    """Give the records of quality.json as a table: what, count, fate, setting."""
    columns = ["what", "count", "fate", "setting"]
    return spreadsheet_safe(pd.DataFrame(records, columns=columns)).to_csv(sep="\t", index=False)
