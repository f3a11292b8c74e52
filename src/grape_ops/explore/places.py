"""Which genes have the same place in maps of two halves of the cells, as the page shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from grape_ops.evaluate.gene_places import GenePlaces

LEVELS = ["repeats", "no evidence that it repeats"]


class Places:
    """What ``grape-ops trust`` found of genes, by the symbols that the page shows.

    Attributes
    ----------
    found : what was found, by the symbols of the screen; None where nobody compared halves.
    missing : why there is nothing.
    symbol : of the page -> of the screen.
    """

    def __init__(self, found: GenePlaces | None, missing: str, renamed: Mapping[str, str]):
        self.found = found
        self.missing = missing
        self.symbol = {new: old for old, new in renamed.items()}

    def in_words(self, map_name: str) -> str:
        """For how many genes of a map the place repeats, or what would tell."""
        if self.found is not None and self.found.holds(map_name):
            return self.found.in_words(map_name)
        return self.missing

    def card(self, map_name: str, gene: str) -> dict[str, Any] | None:
        """Whether a gene's place in a map repeats; None where that was not compared."""
        place = self.found.place(map_name, self.symbol.get(gene, gene)) if self.found is not None else None
        return vars(place) if place is not None else None

    def columns(self, map_name: str, genes: Sequence[str]) -> list[dict[str, Any]]:
        """A column to colour genes by; none where the map was not compared."""
        if self.found is None or not self.found.holds(map_name):
            return []
        places = [self.card(map_name, gene) for gene in genes]
        codes = [-1 if place is None else int(place["status"] != "significant") for place in places]
        return [{"key": "place", "label": "place in halves", "kind": "category", "levels": LEVELS, "codes": codes}]
