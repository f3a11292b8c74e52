"""The maps that show how much neighbours move by themselves: seeds of one screen, or halves of its cells."""

from dataclasses import dataclass, field

import numpy as np

from grape_ops.compare.side import Side
from grape_ops.evaluate.maps import GeneMap


@dataclass(frozen=True)
class NullMaps:
    """Maps of both sides that are compared with each other.

    Attributes
    ----------
    kind : "seeds", "halves", or "" if there is no null.
    in_words : what it is and what it does not cover.
    maps : (R,) maps, those of A first.
    n_first : how many are of A.
    comparable : (R, R) bool, pairs that count; see ``moved_genes``.
    """

    kind: str
    in_words: str
    maps: tuple[GeneMap, ...] = ()
    n_first: int = 0
    comparable: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))


def null_maps(a: Side, b: Side) -> NullMaps:
    """Find the maps of a null: the seeds that were named, else the halves that `grape-ops trust` has left."""
    if len(a.maps) > 1 or len(b.maps) > 1:
        return _of("seeds", _seeds_in_words(a, b), a.maps, b.maps)
    if not a.halves and not b.halves:
        return NullMaps(
            "",
            "There is no null at hand, so nothing here says whether a gene moved by more than chance. Name several "
            "seeds of a side, separated by commas, or make halves of the cells of a run: `grape-ops trust STORE --out "
            "trust`, in the folder that holds the run and with its settings.",
        )
    first, second = (side.halves or side.maps for side in (a, b))
    words = "The null is two halves of the cells of one screen, which `grape-ops trust` has made"
    if a.halves and b.halves:
        found = _of("halves", f"{words} for A and for B.", first, second)
        if _same_cells(a, b):
            for one, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
                found.comparable[one, other] = False
        return found
    side, whole = (a, b) if a.halves else (b, a)
    return _of(
        "halves",
        f"{words} for {side.name}. The map of {whole.name} is of all its cells and so is less noisy: fewer genes "
        "than have moved are found.",
        first,
        second,
    )


def _of(kind: str, words: str, first: tuple[GeneMap, ...], second: tuple[GeneMap, ...]) -> NullMaps:
    maps = (*first, *second)
    return NullMaps(kind, words, maps, len(first), np.ones((len(maps), len(maps)), dtype=bool))


def _same_cells(a: Side, b: Side) -> bool:
    """Whether halves of the same number hold the same cells."""
    return (
        a.run is not None
        and b.run is not None
        and (a.fingerprint, a.run.config.seed) == (b.fingerprint, b.run.config.seed)
    )


def _seeds_in_words(a: Side, b: Side) -> str:
    counts = f"{len(a.maps)} of A, {len(b.maps)} of B"
    if a.run is not None and b.run is not None and a.fingerprint == b.fingerprint:
        return f"The null is maps of the same cells that differ by their seed ({counts})."
    return (
        f"The null is maps of one side that differ by their seed ({counts}). If A and B are of different cells, it "
        "does not cover that other cells give another map: more genes than have moved may be found."
    )
