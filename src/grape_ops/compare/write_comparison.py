"""``grape-ops compare``: what differs between two runs or maps, and which genes' neighbours moved.

out/
  compare.json           everything in numbers, with definitions
  genes.tsv              one row per gene of either map, those whose neighbours changed most first
  settings.tsv           one row per setting, fact about the cells, or version that differs
  neighbours.png, .pdf   neighbours kept by each gene
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import draft_of, write_json
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder, warn_replaced
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.compare.differences import differing_settings, shared_cells
from grape_ops.compare.moved import Q_VALUE, fewest_moved, moved_genes, pair_shares
from grape_ops.compare.null import NullMaps, null_maps
from grape_ops.compare.side import Side, open_side
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.reproducibility import map_agreement
from grape_ops.evaluate.retrieval import neighbour_count
from grape_ops.evaluate.scores import without_nan
from grape_ops.plotting.comparison_figures import neighbours_figure
from grape_ops.plotting.figure import FORMATS, save_figure
from grape_ops.schema import GENE
from grape_ops.words import counted

RECORD_FILE = "compare.json"
GENES_FILE, SETTINGS_FILE, FIGURE = "genes.tsv", "settings.tsv", "neighbours"
# What a call that was killed before its last file has written.
_OURS = (GENES_FILE, SETTINGS_FILE, *(f"{FIGURE}.{kind}" for kind in FORMATS))
PERMUTATIONS = 200
_LEAST_GENES = 4
_SHOWN = 12  # genes in the printed summary

DEFINITIONS = {
    "neighbours": "The n nearest genes by cosine similarity, among the genes that all maps compared have.",
    "kept": "How many of a gene's n nearest genes in A are among its n nearest in B.",
    "expected_at_random": "What a gene keeps on average if neighbours in B are drawn at random: n * n / (genes - 1), "
    "the mean of the hypergeometric distribution.",
    "correlation": "Spearman's correlation of a gene's cosines to all other genes in A with those in B; for the "
    "whole map, of the cosines of all pairs, with the p-value of dealing the genes of one map out anew.",
    "rank": "1 for the gene that keeps fewest neighbours; ties by the correlation.",
    "kept_within": "Neighbours kept between two maps of one side, on average.",
    "kept_between": "Neighbours kept between a map of A and one of B, on average, for the same maps.",
    "p_value": "How often kept_within - kept_between is as large for any gene when the maps are divided otherwise into "
    "two sides of these sizes; one-sided, pooled over genes, (1 + hits) / (1 + values).",
    "q_value": "Benjamini and Hochberg, over genes.",
    "moved": f"yes: q_value below {Q_VALUE:g}, the neighbours differ between A and B by more than between two maps of "
    "one side; no: no evidence of it; empty: there is no null.",
}


def write_comparison(first: Sequence[Path], second: Sequence[Path], out: Path, config: Config) -> str:
    """Compare two sides and write what differs; -> the summary, to print.

    Parameters
    ----------
    first, second : folders of `grape-ops run` or `grape-ops train`, or files of gene vectors; several of one side are
        runs of the same screen and settings that differ by their seed.
    out : folder for the results.
    config : ``evaluate.neighbours`` and the seed.

    Raises
    ------
    GrapeOpsError : a side cannot be read, or the maps share fewer than four genes.
    """
    check_folder(out, "a comparison", marker=RECORD_FILE, ours=_OURS)
    _check_seeds([*first], [*second])
    a, b = open_side("A", first), open_side("B", second)
    null = null_maps(a, b)
    rng = np.random.default_rng(config.seed)
    common = sorted(set.intersection(*(set(part.genes) for part in (a.maps[0], b.maps[0], *null.maps))))
    if len(common) < _LEAST_GENES:
        raise GrapeOpsError(f"{a.called} and {b.called} share {counted(len(common), 'genes')}; it takes four.")
    n = neighbour_count(len(common), config.evaluate.neighbours)
    vectors = [side.maps[0].vectors[side.maps[0].rows(common)] for side in (a, b)]
    agreement, of_genes = map_agreement(vectors[0], vectors[1], n, PERMUTATIONS, rng)
    tested, limits = _tested(null, common, n, rng)
    table = _gene_table(a, b, common, n, of_genes, tested)
    settings, cells = differing_settings(a, b), shared_cells(a, b)
    record = {
        "sides": {side.name: _described(side) for side in (a, b)},
        "genes": {"compared": len(common), "only_a": _only(a, b), "only_b": _only(b, a)},
        "cells": cells,
        "settings_that_differ": len(settings),
        "map": agreement,
        "null": {"kind": null.kind, "in_words": null.in_words, **limits},
        "moved": int((table["moved"] == "yes").sum()) if null.kind else None,
        "simulated": a.simulated or b.simulated,
        "definitions": DEFINITIONS,
    }
    figure = neighbours_figure(table[table["kept"].notna()], n, n * n / (len(common) - 1))
    with locked(out, "a comparison"):
        warn_replaced(out / RECORD_FILE)
        for name, content in ((GENES_FILE, table), (SETTINGS_FILE, settings)):
            with draft_of(out / name) as draft:
                spreadsheet_safe(content).to_csv(draft, sep="\t", index=False, float_format="%.4g")
        save_figure(figure, out / FIGURE, simulated=a.simulated or b.simulated)
        write_json(out / RECORD_FILE, without_nan(record))  # last: it says that all is there
    return "\n".join([*_differences(a, b, settings, record), *_neighbours(table, n, null, record)])


def _check_seeds(first: Sequence[Path], second: Sequence[Path]) -> None:
    """Refuse several maps of a side among which one comes twice: it would agree with itself, and genes seem to move."""
    places = [place.resolve() for place in (*first, *second)]
    twice = [place for place in places if places.count(place) > 1]
    if len(places) > 2 and twice:
        raise GrapeOpsError(f"{twice[0].name} is named twice; the seeds of A and B must be runs or maps of their own.")


def _tested(
    null: NullMaps, genes: Sequence[str], n: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Columns of the test, in neighbours, and what limits it; both empty without a null."""
    if not null.kind:
        return {}, {}
    shares = pair_shares([part.vectors[part.rows(genes)] for part in null.maps], n)
    found, values = moved_genes(shares, null.n_first, null.comparable, rng)
    columns = {
        "kept_within": found["within"] * n,
        "kept_between": found["between"] * n,
        "p_value": found["p_value"],
        "q_value": found["q_value"],
        "moved": np.where(found["q_value"] < Q_VALUE, "yes", "no"),
    }
    limits = {
        "values": values,
        "fewest_that_can_be_seen": fewest_moved(len(genes), values),
        "kept_within": float(columns["kept_within"].mean()),
        "kept_between": float(columns["kept_between"].mean()),
    }
    return columns, limits


def _gene_table(
    a: Side, b: Side, common: Sequence[str], n: int, of_genes: dict[str, np.ndarray], tested: dict[str, np.ndarray]
) -> pd.DataFrame:
    """One row per gene of either map; numbers only for those that all maps have."""
    kept = (of_genes["neighbours"] * n).round().astype(int)
    table = pd.DataFrame({GENE: common, "neighbours": n, "kept": kept, "expected_at_random": n * n / (len(common) - 1)})
    table = table.assign(correlation=of_genes["correlation"], moved="")
    for name, values in tested.items():
        table[name] = values
    table = table.sort_values(["kept", "correlation", GENE], ignore_index=True)
    table.insert(1, "rank", np.arange(1, len(table) + 1))
    names = [set(side.maps[0].genes) for side in (a, b)]
    others = sorted((names[0] | names[1]) - set(common))
    table = pd.concat([table, pd.DataFrame({GENE: others})], ignore_index=True)
    in_a, in_b = table[GENE].isin(names[0]), table[GENE].isin(names[1])
    table.insert(1, "maps", np.where(in_a & in_b, "both", np.where(in_a, "A", "B")))
    for name in ("rank", "neighbours", "kept"):
        table[name] = table[name].astype("Int64")
    for side in (a, b):
        table[f"n_cells_{side.name}"] = table[GENE].map(side.cells).astype("Int64")
        table[f"is_hit_{side.name}"] = table[GENE].map(side.is_hit).map({True: "yes", False: "no"})
    return table


def _described(side: Side) -> dict[str, Any]:
    return {
        "places": [str(place) for place in side.places],
        "method": side.maps[0].method if side.run is None else side.run.path.name,
        "genes": len(side.maps[0].genes),
        "cells": sum(side.cells.get(gene, 0) for gene in side.maps[0].genes) or None,
        "maps": len(side.maps),
        "halves": len(side.halves),
    }


def _only(one: Side, other: Side) -> int:
    return len(set(one.maps[0].genes) - set(other.maps[0].genes))


def _differences(a: Side, b: Side, settings: pd.DataFrame, record: dict[str, Any]) -> list[str]:
    """Sentences about settings, cells and genes."""
    lines = []
    if a.run is None or b.run is None:
        lines.append("Settings cannot be compared: a map alone does not hold them. Name folders of runs instead.")
    else:
        own = settings[(settings["kind"] == "setting") & (settings["changes_results"] == "yes")]
        shown = "".join(f"\n  {row.name_}: {row.A or 'unset'} -> {row.B or 'unset'}" for row in _rows(own))
        lines.append(f"Settings that differ and change results: {len(own)}{shown}")
    if record["cells"] is not None:
        cells = record["cells"]
        lines.append(f"Cells: {cells['both']:,} in both, {cells['only_a']:,} only in A, {cells['only_b']:,} only in B.")
    genes = record["genes"]
    lines.append(
        f"Genes: {genes['compared']:,} compared, {genes['only_a']:,} only in A, {genes['only_b']:,} only in B."
    )
    return lines


def _rows(table: pd.DataFrame) -> Any:
    return table.rename(columns={"name": "name_"}).head(_SHOWN).itertuples()


def _neighbours(table: pd.DataFrame, n: int, null: NullMaps, record: dict[str, Any]) -> list[str]:
    """Sentences about the genes' neighbours."""
    both = table[table["kept"].notna()]
    chance = both["expected_at_random"].iloc[0]
    lines = [
        f"Of its {n} nearest genes a gene keeps {both['kept'].mean():.1f} on average from A to B; at random it would "
        f"keep {chance:.2g}. Cosines of all pairs correlate by {record['map']['correlation']:.2f}.",
        null.in_words,
    ]
    if not null.kind:
        lost = both.loc[both["kept"] < n, GENE].head(_SHOWN)
        few = f"Fewest neighbours kept, which need not mean anything: {', '.join(lost)}."
        return [*lines, few if len(lost) else "Every gene keeps all of them."]
    limits = record["null"]
    moved = both.loc[both["moved"] == "yes", GENE]
    lines.append(
        f"Two maps of one side share {limits['kept_within']:.1f} of {n} neighbours on average, two maps of different "
        f"sides {limits['kept_between']:.1f}."
    )
    named = f": {', '.join(moved.head(_SHOWN))}{', …' if len(moved) > _SHOWN else ''}" if len(moved) else ""
    lines.append(f"Neighbours moved beyond that: {len(moved)} of {counted(len(both), 'genes')}{named}.")
    least = limits["fewest_that_can_be_seen"]
    if not len(moved) and least > 1:
        can = f"only if {least} or more move" if least <= len(both) else "of no gene, however far it moves"
        lines.append(f"With so few maps and genes this can be seen {can}; more seeds show it for fewer genes.")
    return lines
