"""What a phenotype check writes and says of each gene, and how it is read again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

PHENOTYPE_TSV = "phenotype.tsv"
FEATURES_TSV = "features.tsv"
VALUES_FILE = "values.parquet"
PHENOTYPE_JSON = "phenotype.json"
SETS = ("control", "restyled", "knock-out")
TOP_COLUMNS = ("gene_symbol", "rank", "feature", "importance", "importance_sd", *SETS)
VALUE_COLUMNS = ("gene_symbol", "set", "feature", "value")
# What must not be read where there is no phenotype.
SCORED = ("share", "share_low", "share_high", "direction")


def scored(table: pd.DataFrame, q_value: float) -> pd.DataFrame:
    """Add q-values and who is told apart; genes that are not told from control lose their share of a way not there."""
    table = table.copy()
    tested = table["p_value"].notna()
    table["q_value"] = np.nan
    if tested.any():
        table.loc[tested, "q_value"] = false_discovery_control(table.loc[tested, "p_value"])
    table["told_apart"] = table["q_value"] < q_value
    unscored = ~table["told_apart"]
    table = table.reindex(columns=[*table.columns, *(name for name in SCORED if name not in table)])
    table.loc[unscored, list(SCORED)] = np.nan
    table.loc[unscored & (table["note"] == ""), "note"] = "not told from control"
    nowhere = ~unscored & table["share"].isna() & (table["note"] == "")
    table.loc[nowhere, "note"] = "no single feature is further away than chance"
    return table.sort_values(["told_apart", "auc"], ascending=False, kind="stable", ignore_index=True)


def read_table(folder: Path) -> pd.DataFrame:
    """Read ``phenotype.tsv``: no gene symbol and no note is ever taken for a missing number."""
    table = pd.read_csv(folder / PHENOTYPE_TSV, sep="\t", keep_default_na=False, na_values={})
    numbers = [name for name in table.columns if name not in ("gene_symbol", "note", "told_apart")]
    table[numbers] = table[numbers].replace("", np.nan).astype(float)
    table["told_apart"] = table["told_apart"].astype(str) == "True"
    return table


def verdict(line: Mapping[Any, Any]) -> str:
    """What the check says of a gene, in a few words; ``line`` is its row of the table."""
    if not line["told_apart"] or np.isnan(line["share"]):
        return f"{line['note']} (AUC {line['auc']:.2f}, q = {line['q_value']:.2g})"
    interval = f"{line['share_low']:.0%} to {line['share_high']:.0%}".replace("-", "−")
    share = f"{line['share']:.0%}".replace("-", "−")
    told = f"({share}, {interval}); AUC {line['auc']:.2f}"
    if line["share_low"] > 0:
        return f"restyling covers {share} of the way to the knock-out ({interval}); AUC {line['auc']:.2f}"
    if line["share_high"] <= 0:
        return f"restyled cells are no nearer to the knock-out than control cells {told}"
    return f"whether restyling goes the way to the knock-out is uncertain {told}"
