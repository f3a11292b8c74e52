"""Which genes have a phenotype, as ``grape-ops hits`` found: read from its folder, joined to vectors or a map.

Letters: G genes that were tested, N genes of a map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import damage_in_words, read_json
from grape_ops.artifacts.spreadsheet import without_mark
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import (
    GENE,
    HITS_GENES,
    HITS_GUIDES,
    HITS_JSON,
    OBS_GUIDES_AGREE,
    OBS_HIT_EFFECT,
    OBS_HIT_P,
    OBS_HIT_Q,
    OBS_IS_HIT,
)

if TYPE_CHECKING:
    from anndata import AnnData

# Columns of genes.tsv -> columns of obs.
JOINED = {
    "effect": OBS_HIT_EFFECT,
    "p_value": OBS_HIT_P,
    "q_value": OBS_HIT_Q,
    "is_hit": OBS_IS_HIT,
    "guides_agree": OBS_GUIDES_AGREE,
}

GUIDE_COLUMNS = ("guide", GENE, "n_cells", "p_value", "q_value", "agreement", "outlier", "inactive")
ALONE = 0.05  # p-value below which a guide has an effect by itself
_SMALLEST = 1e-300  # q-value that has a logarithm
_WORDS = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}


@dataclass(frozen=True)
class Phenotypes:
    """A folder of hits.

    Attributes
    ----------
    genes : genes.tsv by gene symbol (G rows), the most significant first; ``is_hit`` is a bool.
    guides : guides.tsv.
    summary : hits.json.
    """

    genes: pd.DataFrame
    guides: pd.DataFrame
    summary: dict[str, Any]

    @property
    def level(self) -> float:
        """False discovery rate below which a gene is a hit."""
        return float(self.summary["settings"]["q_value"])

    @property
    def log_q(self) -> pd.Series:
        """-log10 q by gene; q-values below 1e-300 count as that."""
        return pd.Series(-np.log10(self.genes["q_value"].astype(float).clip(lower=_SMALLEST)))

    @property
    def calibration(self) -> str:
        """How the test fares on pseudo-genes, in a sentence."""
        return str(self.summary["calibration"]["in_words"])

    def counts(self, gene: str) -> tuple[int, int]:
        """How many guides of a gene agree with its other guides, and how many were tested.

        A guide agrees if it has p < 0.05 by itself and its profile points the way of the others' mean (cosine above 0).
        """
        return self._of_guides[0].get(gene, 0), self._of_guides[1].get(gene, 0)

    def discordant(self, gene: str) -> list[str]:
        """Guides that are significant by themselves and point away from the gene's other guides."""
        return self._of_guides[2].get(gene, [])

    def inactive(self, gene: str) -> list[str]:
        """Guides that seem to do nothing, in a gene with a phenotype whose other guides do."""
        return self._of_guides[3].get(gene, [])

    def by_guide(self, gene: str) -> dict[str, str]:
        """What each tested guide of a gene shows by itself: agrees, contradicts, inactive, no evidence, or unclear.

        Inactive is no evidence where the gene's other guides work. Unclear is a significant guide that neither agrees
        with the other guides nor is discordant.
        """
        own = self.guides[(self.guides[GENE] == gene) & self.guides["p_value"].notna()]
        words = np.select(
            [own["outlier"].astype(bool), own["inactive"].astype(bool), own["p_value"] >= ALONE, own["agreement"] > 0],
            ["contradicts", "inactive", "no evidence", "agrees"],
            "unclear",
        )
        return dict(zip(own["guide"].astype(str), words.tolist(), strict=True))

    @cached_property
    def _of_guides(self) -> tuple[dict[str, int], dict[str, int], dict[str, list[str]], dict[str, list[str]]]:
        """By gene: guides that agree, guides tested, discordant guides, and inactive ones."""
        tested = self.guides[self.guides["p_value"].notna()]
        agree = tested.loc[(tested["agreement"] > 0) & (tested["p_value"] < ALONE), GENE].value_counts()
        agreeing, all_tested = (
            {str(gene): int(n) for gene, n in part.items()} for part in (agree, tested[GENE].value_counts())
        )
        outliers, inactive = (
            {str(gene): list(guides) for gene, guides in tested[tested[name]].groupby(GENE)["guide"]}
            for name in ("outlier", "inactive")
        )
        return agreeing, all_tested, outliers, inactive


def read_phenotypes(folder: Path, store_fingerprint: str) -> Phenotypes:
    """Read a folder that ``grape-ops hits`` wrote.

    Raises
    ------
    GrapeOpsError : there is none, it is damaged, or it is of another store.
    """
    if not all((folder / name).exists() for name in (HITS_JSON, HITS_GENES, HITS_GUIDES)):
        raise GrapeOpsError(f"There is no result of `grape-ops hits` at {folder}; `grape-ops hits STORE` makes it.")
    record = folder / HITS_JSON
    summary = read_json(record, "a record of hits", {"store": str, "settings": dict, "calibration": dict})
    with damage_in_words(record, " as a record of hits"):
        float(summary["settings"]["q_value"]), str(summary["calibration"]["in_words"])
    genes = _table(folder / HITS_GENES, (GENE, *JOINED)).set_index(GENE)
    guides = _table(folder / HITS_GUIDES, GUIDE_COLUMNS)
    if summary["store"] != store_fingerprint:
        raise GrapeOpsError(
            f"The hits in {folder} are those of another crop store than the run's; `grape-ops hits STORE` with the "
            "run's own store makes the right ones."
        )
    return Phenotypes(genes, guides, summary)


def _table(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    # A gene may be called NA; numbers are read as numbers nevertheless.
    names = {GENE: without_mark, "guide": without_mark}
    with damage_in_words(file, " as a table of hits"):
        table = pd.read_csv(file, sep="\t", converters=names)
    if missing := [name for name in columns if name not in table]:
        raise GrapeOpsError(f"{file} lacks {', '.join(missing)}; `grape-ops hits STORE` makes it anew.")
    return table


def join_phenotypes(adata: "AnnData", found: Phenotypes) -> None:
    """Add what is known of each gene to ``obs``; rows that were not tested get missing values.

    Raises
    ------
    GrapeOpsError : no row of the AnnData is a gene that was tested.
    """
    if not set(adata.obs_names) & set(found.genes.index):
        raise GrapeOpsError(
            "None of the rows of these vectors is a gene of the hits, so that nothing can be joined; hits are by gene "
            "(train.unit=gene)."
        )
    own = found.genes.reindex(adata.obs_names)
    for column, name in JOINED.items():
        adata.obs[name] = own[column].astype("boolean" if name == OBS_IS_HIT else float).array


def is_hit_of(adata: "AnnData", method: str) -> dict[str, bool] | None:
    """Read which genes of a map have a phenotype: those tested, with True or False; None if the map does not say.

    Raises
    ------
    GrapeOpsError : the column holds something else than true and false.
    """
    if OBS_IS_HIT not in adata.obs:
        return None
    values = [None if pd.isna(value) else str(value).lower() for value in adata.obs[OBS_IS_HIT]]
    if set(values) - {None, *_WORDS}:
        raise GrapeOpsError(
            f'{method}: obs["{OBS_IS_HIT}"] must be true or false, or empty for genes that were not tested.'
        )
    names = map(str, adata.obs_names)
    return {name: _WORDS[value] for name, value in zip(names, values, strict=True) if value is not None}
