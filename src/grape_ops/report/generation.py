"""What the phenotype check found, for the page: a table of genes, and what restyling left alone.

The check itself takes minutes to hours (``grape-ops phenotype``); the page only reads what it wrote.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.errors import GrapeOpsError
from grape_ops.restyle.phenotype_results import (
    FEATURES_TSV,
    PHENOTYPE_JSON,
    Trust,
    not_checked,
    phenotype_result,
    read_table,
    trust,
)
from grape_ops.restyle.recognition import REFERENCES

PHENOTYPE_DIR = "phenotype"
WIDE = 1.0  # an interval over more than the whole way says nothing
# What should not change: (column, name, unit)
CONTENT = (
    ("structure", "structure kept (correlation)", ""),
    ("surroundings", "surroundings kept (correlation)", ""),
    ("nucleus_shift", "shift of the nucleus", " px"),
    ("nucleus_turn", "turn of the nucleus", "°"),
    ("nuclei_lost", "nuclei lost", ""),
)


@dataclass(frozen=True)
class PhenotypeCheck:
    """A phenotype check as its folder holds it.

    Attributes
    ----------
    summary : ``phenotype.json``.
    table : ``phenotype.tsv``, one row per gene.
    features : ``features.tsv``, the top features of the genes.
    """

    summary: dict[str, Any]
    table: pd.DataFrame
    features: pd.DataFrame

    @property
    def scored(self) -> pd.DataFrame:
        """Genes separable from control whose distance is long enough to take a share of."""
        return self.table[self.table["separable"] & self.table["share"].notna()]

    def results(self) -> dict[str, str]:
        """What the check says of each gene."""
        return {str(line["gene_symbol"]): phenotype_result(line) for line in self.table.to_dict("records")}

    def trusts(self) -> dict[str, Trust]:
        """How far to trust the restyled cells of each gene."""
        return {str(line["gene_symbol"]): trust(line) for line in self.table.to_dict("records")}


def read_check(folder: Path, run_fingerprint: str, checkpoint: str) -> PhenotypeCheck:
    """Read a check's folder.

    Raises
    ------
    GrapeOpsError : it is not there or damaged, or was made for other cells or another checkpoint.
    """
    try:
        summary = json.loads((folder / PHENOTYPE_JSON).read_text())
        if not isinstance(summary, dict):
            raise ValueError(f"{PHENOTYPE_JSON} holds no keys and values")
        table, features = read_table(folder), pd.read_csv(folder / FEATURES_TSV, sep="\t", keep_default_na=False)
    except FileNotFoundError:
        raise GrapeOpsError(
            f"There is no phenotype check at {folder.name}; `grape-ops phenotype RUN STORE` makes it."
        ) from None
    except KeyError as column:
        raise GrapeOpsError(
            f"The phenotype check in {folder} has no column {column}; `grape-ops phenotype` makes it again."
        ) from None
    except DAMAGE as error:
        raise GrapeOpsError(f"The phenotype check in {folder} cannot be read: {why(error)}") from None
    if summary.get("store_fingerprint") != run_fingerprint or summary.get("checkpoint") != checkpoint:
        raise GrapeOpsError(
            f"The phenotype check in {folder.name} was made for another checkpoint or other cells; "
            "`grape-ops phenotype` makes it again."
        )
    return PhenotypeCheck(summary, table, features)


def trust_of(check: PhenotypeCheck | None, genes: Sequence[str]) -> dict[str, Trust]:
    """How far to trust the restyled cells of genes; not checked, where there is no check or it left the gene out."""
    if check is None:
        return dict.fromkeys(genes, not_checked())
    known = check.trusts()
    return {gene: known.get(gene) or not_checked("the check was made for other genes") for gene in genes}


def recognised_rows(check: PhenotypeCheck) -> list[tuple[str, str, str, str, str, str]]:
    """What restyled cells are taken for: (what, restyled, unrestyled, mean knock-out, held-out, by chance)."""
    rows = []
    for key, name in (
        ("top1", "their own gene's knock-out is the nearest of all (share of genes)"),
        ("classified", "taken for their gene by a classifier of real cells (share of cells)"),
        ("energy", "energy distance to the knock-out cells (median)"),
    ):
        part = check.summary.get(key)
        if part:
            values = [part.get(column) for column in ("restyled cells", *REFERENCES.values(), "chance")]
            rows.append((name, *(_number(value, "") for value in values)))
    return rows  # type: ignore[return-value]


def content_rows(check: PhenotypeCheck) -> list[tuple[str, str, str]]:
    """What restyling should leave alone: (what, median over genes, two unrelated cells)."""
    unrelated = check.summary.get("unrelated", {})
    rows = []
    for column, name, unit in CONTENT:
        if column in check.table:
            rows.append((name, _number(check.table[column].median(), unit), _number(unrelated.get(column), unit)))
    return rows


def top_features(check: PhenotypeCheck) -> dict[str, list[str]]:
    """Names of each gene's top features."""
    return {str(gene): part["feature"].tolist() for gene, part in check.features.groupby("gene_symbol", sort=False)}


def gene_cells(check: PhenotypeCheck) -> dict[str, tuple[str, str, str]]:
    """What the table of genes says of each gene: AUC, share covered or why there is none, and trust."""
    found, trusts = {}, check.trusts()
    for line in check.table.to_dict("records"):
        auc = "–" if np.isnan(line["auc"]) else f"{line['auc']:.2f}"
        wide = line["share_high"] - line["share_low"] > WIDE
        share = "uncertain" if wide else f"{line['share']:.0%}".replace("-", "−")
        covered = str(line["note"]) if np.isnan(line["share"]) else share
        gene = str(line["gene_symbol"])
        found[gene] = (auc, covered, trusts[gene].status)
    return found


def _number(value: Any, unit: str) -> str:
    known = value is not None and np.isfinite(value)
    return f"{value:.2f}{unit}".replace("-", "−") if known else "–"
