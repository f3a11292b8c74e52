"""What a phenotype check writes and says of each gene, and how it is read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from grape_ops.restyle.recognition import FEWEST_OTHERS, FEWEST_UNSEEN, MEASURES, REFERENCES

PHENOTYPE_TSV = "phenotype.tsv"
FEATURES_TSV = "features.tsv"
VALUES_FILE = "values.parquet"
PHENOTYPE_JSON = "phenotype.json"
SETS = ("control", "restyled", "knock-out")
TOP_COLUMNS = ("gene_symbol", "rank", "feature", "importance", "importance_sd", *SETS)
VALUE_COLUMNS = ("gene_symbol", "set", "feature", "value")
# What must not be read where there is no phenotype.
RECOGNISED = tuple(measure + ending for measure in MEASURES for ending in ("", *REFERENCES))
SCORED = ("share", "share_low", "share_high", "direction", *RECOGNISED)
CHECK_COMMAND = "`grape-ops phenotype RUN STORE --out phenotype`"
DO_NOT_READ = "do not read these pictures as its phenotype"
NOT_SEPARABLE = "not significantly different from control"
NO_EVIDENCE = "no evidence that real cells differ from control"
NO_PHENOTYPE = "and so none of a phenotype for these pictures to show"
TESTED = ("p_along", "p_own")
YES_OR_NO = ("separable", "restyling_significant")


def scored(table: pd.DataFrame, q_value: float) -> pd.DataFrame:
    """Add q-values, which genes are separable from control, and whose restyling is significant.

    Genes that are not separable from control get no share of the distance, and are not tested for restyling.
    """
    table = table.copy()
    tested = table["p_value"].notna()
    table["q_value"] = np.nan
    if tested.any():
        table.loc[tested, "q_value"] = false_discovery_control(table.loc[tested, "p_value"])
    table["separable"] = table["q_value"] < q_value
    unscored = ~table["separable"]
    wanted = ("ranked", *SCORED, *TESTED)
    table = table.reindex(columns=[*table.columns, *(name for name in wanted if name not in table)])
    table.loc[unscored, list(SCORED)] = np.nan
    table.loc[unscored & (table["note"] == ""), "note"] = NOT_SEPARABLE
    # Both tests must be passed, so that the larger p-value is the one of both.
    table["restyling_p"] = table[list(TESTED)].max(axis=1, skipna=False).where(table["separable"])
    table["restyling_q"] = np.nan
    tested = table["restyling_p"].notna()
    if tested.any():
        table.loc[tested, "restyling_q"] = false_discovery_control(table.loc[tested, "restyling_p"])
    table["restyling_significant"] = table["restyling_q"] < q_value
    nowhere = ~unscored & table["share"].isna() & (table["note"] == "")
    table.loc[nowhere, "note"] = "no single feature is further away than chance"
    return table.sort_values(["separable", "auc"], ascending=False, kind="stable", ignore_index=True)


def recognised(table: pd.DataFrame) -> dict[str, Any]:
    """Summary over genes separable from control: ``top1``, ``energy`` and ``classified``, each beside its references.

    Unrestyled cells change towards no gene: their ``top1`` is chance.
    """
    separable = table[table["separable"] & table["rank"].notna()]
    if separable.empty:
        return {"top1": None, "energy": None, "classified": None}
    genes = int(separable["ranked"].max())
    found: dict[str, Any] = {"top1": {"chance": 1 / genes}, "energy": {}, "classified": {"chance": 1 / (genes + 1)}}
    for ending, name in {"": "restyled cells", **REFERENCES}.items():
        rank = separable["rank" + ending]
        found["top1"][name] = float((rank == 1).mean() if ending != "_unrestyled" else 1 / genes)
        found["energy"][name] = float(separable["energy" + ending].median())
        found["classified"][name] = float(separable["classified" + ending].mean())
    return found


def read_table(folder: Path) -> pd.DataFrame:
    """Read ``phenotype.tsv``: no gene symbol and no note is ever taken for a missing number.

    Raises
    ------
    KeyError : a column is missing.
    """
    table = pd.read_csv(folder / PHENOTYPE_TSV, sep="\t", keep_default_na=False, na_values={})
    numbers = [name for name in table.columns if name not in ("gene_symbol", "note", *YES_OR_NO)]
    table[numbers] = table[numbers].where(table[numbers] != "").astype(float)
    for name in YES_OR_NO:
        table[name] = table[name].astype(str) == "True"
    return table


@dataclass(frozen=True)
class Trust:
    """How far the restyled cells of a gene may be trusted.

    Attributes
    ----------
    status : "significant" or "not significant" restyling, "no phenotype" to show, or "not checked".
    words : the same for people.
    """

    status: str
    words: str


def not_checked(why: str = "") -> Trust:
    """Say that nobody knows whether a gene's restyled cells show its phenotype, and which command checks it."""
    return Trust("not checked", f"not checked{f' ({why})' if why else ''}: {CHECK_COMMAND} says how far to trust these")


def trust(line: Mapping[Any, Any]) -> Trust:
    """How far to trust the restyled cells of a gene; ``line`` is its row of the table."""
    if np.isnan(line.get("auc", np.nan)):
        return Trust("not checked", f"not checked: {line['note'] or 'no cells to compare with'}")
    if not line["separable"]:
        return Trust("no phenotype", f"{NO_EVIDENCE} (q = {line['q_value']:.2g}) {NO_PHENOTYPE}")
    q = line["restyling_q"]
    if np.isnan(q):
        few = f"fewer than {FEWEST_OTHERS} genes of another phenotype were checked beside it"
        why = few if not np.isnan(line["p_along"]) else "too few of its cells could be measured"
        if line.get("n_unseen", np.inf) < FEWEST_UNSEEN:
            why = f"training held out {line['n_unseen']:.0f} of its cells, {FEWEST_UNSEEN} are wanted (train.holdout)"
        return Trust("not checked", f"not checked whether the restyling is significant: {why}")
    if not line["restyling_significant"]:
        return Trust("not significant", f"restyling not significant (q = {q:.2g}): {DO_NOT_READ}")
    named, real = line["classified"], line["classified_held_out"]
    return Trust(
        "significant",
        f"restyling significant (q = {q:.2g}): its knock-out ranks {line['rank']:.0f} of {line['ranked']:.0f} by "
        f"nearness; {named:.0%} of the restyled cells are taken for it, {real:.0%} of real ones",
    )


def phenotype_result(line: Mapping[Any, Any]) -> str:
    """What the check says of a gene, in a few words; ``line`` is its row of the table."""
    if not line["separable"] or np.isnan(line["share"]):
        return f"{line['note']} (AUC {line['auc']:.2f}, q = {line['q_value']:.2g})"
    interval = f"{line['share_low']:.0%} to {line['share_high']:.0%}".replace("-", "−")
    share = f"{line['share']:.0%}".replace("-", "−")
    numbers = f"({share}, {interval}); AUC {line['auc']:.2f}"
    if line["share_low"] > 0:
        return f"restyling covers {share} of the way to the knock-out ({interval}); AUC {line['auc']:.2f}"
    if line["share_high"] <= 0:
        return f"restyled cells are no nearer to the knock-out than control cells {numbers}"
    return f"whether restyling goes the way to the knock-out is uncertain {numbers}"


def figure_note(line: Mapping[Any, Any]) -> str:
    """What stands above a gene's figure: how far restyling goes and, below it, how far to trust the pictures."""
    found = trust(line)
    return f"{phenotype_result(line)}\n{found.words}" if found.status != "no phenotype" else phenotype_result(line)
