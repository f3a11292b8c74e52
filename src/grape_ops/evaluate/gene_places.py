"""Whether a gene has the same place in maps of two halves of the cells, as ``grape-ops trust`` found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import damage_in_words, read_json
from grape_ops.artifacts.spreadsheet import without_mark
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import GENE, TRUST_DIR, TRUST_GENES, TRUST_JSON, TRUST_MAPS

LEVEL = 0.05  # q-value below which a place repeats
TRUST_COMMAND = f"`grape-ops trust STORE --config RUN/config.yaml --out {TRUST_DIR}`"
_OF_GENES = ("correlation", "neighbours", "p_value", "q_value")
_OF_MAPS = ("correlation", "p_value", "neighbours_chance", "n_neighbours", "different_genes")


@dataclass(frozen=True)
class Place:
    """Whether a gene's place repeats: ``status``, significant or not significant; and the same in words."""

    status: str
    correlation: float
    words: str


@dataclass(frozen=True)
class GenePlaces:
    """A folder of ``grape-ops trust``.

    Attributes
    ----------
    genes : genes.tsv by method and gene symbol.
    maps : reproducibility.tsv by method.
    """

    genes: pd.DataFrame
    maps: pd.DataFrame

    def holds(self, method: str) -> bool:
        """Whether the halves of a map of this name were compared."""
        return method in self.maps.index

    def repeating(self, method: str) -> tuple[int, int]:
        """How many genes of a map have a place that repeats, and how many were compared."""
        own = np.asarray(self.genes.index.get_level_values("method") == method)
        return int((self.genes["q_value"].to_numpy(float)[own] < LEVEL).sum()), int(own.sum())

    def in_words(self, method: str) -> str:
        """For how many genes of a map the place repeats, in a sentence."""
        repeating, compared = self.repeating(method)
        return (
            f"The place of {repeating:,} of {compared:,} genes repeats between maps of two halves of the cells "
            f"(q < {LEVEL:g}); of the others there is no evidence that it does, and their neighbours may be chance."
        )

    def place(self, method: str, gene: str) -> Place | None:
        """Whether a gene's place in a map repeats; None where that was not compared."""
        if (method, gene) not in self.genes.index:
            return None
        line = self.genes.loc[[(method, gene)]].to_dict("records")[0]
        of_map = self.maps.loc[[method]].to_dict("records")[0]
        correlation, q_value, n = float(line["correlation"]), float(line["q_value"]), float(of_map["n_neighbours"])
        significant = q_value < LEVEL
        repeats = "its place repeats" if significant else "no evidence that its place repeats"
        words = (
            f"{repeats} between maps of two halves of the cells (q = {q_value:.2g}): its cosines to all genes "
            f"correlate {minus(correlation)} (those of two different genes below {minus(of_map['different_genes'])} in "
            f"95% of pairs), and {round(line['neighbours'] * n)} of its {n:.0f} nearest genes are the same "
            f"({of_map['neighbours_chance'] * n:.1f} by chance)"
        )
        return Place("significant" if significant else "not significant", correlation, words)


def read_gene_places(folder: Path, store_fingerprint: str, training: str) -> GenePlaces:
    """Read a folder that ``grape-ops trust`` wrote.

    Parameters
    ----------
    folder : with its tables.
    store_fingerprint, training : of the run's cells, and of the settings that decide its training.

    Raises
    ------
    GrapeOpsError : there is none, it is damaged, or it is of another store, or of
        other settings of training.
    """
    if not all((folder / name).is_file() for name in (TRUST_GENES, TRUST_MAPS, TRUST_JSON)):
        raise GrapeOpsError(
            f"Whether other cells give the same neighbours is not checked: {TRUST_COMMAND} beside the run makes the "
            "map from two halves of the cells, and says which genes have the same place in both."
        )
    record = read_json(folder / TRUST_JSON, "a record of halves", {"store": str, "training": str})
    if record["store"] != store_fingerprint:
        raise GrapeOpsError(
            f"The halves in {folder.name} are those of another crop store than the run's; {TRUST_COMMAND} with the "
            "run's own store makes the right ones."
        )
    if record["training"] != training:
        raise GrapeOpsError(
            f"The maps in {folder.name} were made with other settings of training than the run's, so that they say "
            f"nothing about its map; {TRUST_COMMAND}, with the run's own settings, makes the right ones."
        )
    genes = _table(folder / TRUST_GENES, ("method", GENE, *_OF_GENES)).set_index(["method", GENE]).sort_index()
    maps = _table(folder / TRUST_MAPS, ("method", *_OF_MAPS)).set_index("method")
    if genes.index.has_duplicates or set(genes.index.unique(0)) != set(maps.index):
        raise GrapeOpsError(f"The tables in {folder.name} do not fit together; {TRUST_COMMAND} makes them anew.")
    return GenePlaces(genes, maps)


def minus(value: float) -> str:
    """Write a correlation, with the sign that people use."""
    return f"{value:.2f}".replace("-", "−")


def _table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    with damage_in_words(file, " as a comparison of halves"):
        # A gene may be called NA.
        table = pd.read_csv(file, sep="\t", converters={GENE: without_mark, "method": without_mark})
        if missing := [name for name in columns if name not in table]:
            which = f"{file.name} of {file.parent.name}"
            raise GrapeOpsError(f"{which} lacks {', '.join(missing)}; {TRUST_COMMAND} makes it anew.")
        numbers = [name for name in columns if name not in ("method", GENE)]
        if not np.isfinite(table[numbers].to_numpy(float)).all():
            raise ValueError("it holds something else than numbers")
    return table
