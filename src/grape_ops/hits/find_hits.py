"""All that is known of the genes and guides of a store, from features of single cells to tables.

Where networks read cells that they have not seen, each half of the cells has features of its own: each is tested, and
p-values are combined. Letters: U guides, V features, G genes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.cosine import floored_unit_rows
from grape_ops.errors import NothingToTest
from grape_ops.features.channels import feature_channels, feature_compartments
from grape_ops.hits.calibration import dealt_pseudo_genes, in_words, pseudo_gene_p_values
from grape_ops.hits.cell_features import CellFeatures, cell_features
from grape_ops.hits.cell_scores import cell_scores
from grape_ops.hits.gene_test import GeneTest, Tests, combined, gene_metric, gene_tests
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.hits.guides import Guides

CHANNEL, COMPARTMENT = "channel", "compartment"
INACTIVE_P = 0.2  # a guide with a larger p by itself is less than one standard deviation beyond non-targeting guides
ONE_BATCH = 0.8  # share of its cells from which on a gene lies on one batch


@dataclass(frozen=True)
class Hits:
    """What is known of genes and guides.

    Attributes
    ----------
    genes : one row per gene, the most significant first.
    guides : one row per guide.
    channels : one row per gene and channel, or compartment of the cell; empty where features name none.
    pseudo_genes : their p-values.
    pseudo_by_channel : the same by channel and compartment, which are tested alone.
    notes : sentences on what was left out.
    q_value : below it a gene is a hit.
    """

    genes: pd.DataFrame
    guides: pd.DataFrame
    channels: pd.DataFrame
    pseudo_genes: np.ndarray
    pseudo_by_channel: dict[str, np.ndarray]
    notes: tuple[str, ...]
    q_value: float

    def __str__(self) -> str:
        hits = self.genes[self.genes["is_hit"]]
        first = ": " + ", ".join(hits["gene_symbol"][:5]) + (", …" if len(hits) > 5 else "") if len(hits) else ""
        found = f"{len(hits)} of {len(self.genes)} genes have a phenotype (q < {self.q_value:g}){first}."
        calibration = [in_words(self.pseudo_genes)]
        if rates := self.channel_rates():
            calibration += ["Of each channel alone: " + ", ".join(f"{n} {rate:.1%}" for n, rate in rates.items()) + "."]
        return "\n".join([found, *calibration, *(f"{note}." for note in self.notes)])

    def channel_rates(self) -> dict[str, float]:
        """Share of pseudo-genes with p < 0.05 by channel and compartment, where there are enough control guides."""
        return {name: float((found < 0.05).mean()) for name, found in self.pseudo_by_channel.items() if len(found)}


@dataclass(frozen=True)
class _Part:
    """The tests on one set of features.

    Attributes
    ----------
    rows : guides of each gene.
    tests : of genes and guides.
    genes : ``guides_agree``, ``auc`` and ``share_of_cells`` by gene.
    guides : (U,) ``n_cells``, ``effect``, ``p_value`` and ``agreement``.
    subsets : tests of genes on some of the features: by channel, and by compartment.
    pseudo_genes : their p-values.
    pseudo_of_subsets : the same by the name of the subset.
    """

    rows: dict[str, list[int]]
    tests: Tests
    genes: pd.DataFrame
    guides: pd.DataFrame
    subsets: dict[str, dict[str, dict[str, GeneTest]]]
    pseudo_genes: np.ndarray
    pseudo_of_subsets: dict[str, np.ndarray]


def find_hits(store: CropStore, config: Config) -> Hits:
    """Test all genes and guides of a store.

    Raises
    ------
    NothingToTest : the cells name no guides, there are fewer than two control guides, no gene has cells, or no
        feature can be tested.
    """
    guides = Guides.of(store)
    sets = cell_features(store, config)
    dealt = _dealt(guides, sets, config)
    parts = [_tested(store, guides, features, dealt, config) for features in sets]
    names = [name for name in parts[0].rows if all(name in part.rows for part in parts)]
    if not names:
        raise NothingToTest("No gene has a guide with two cells or more: there is nothing to test.")
    cells = np.concatenate([features.cells for features in sets])
    genes = _gene_table(store, cells, parts, names, config.hits.q_value)
    channels = _channel_table(parts[0], genes["gene_symbol"])
    pseudo = combined(np.array([part.pseudo_genes for part in parts]))
    notes = [*_on_guides(guides, genes), *_on_batches(store, config), *(note for part in sets for note in part.notes)]
    level = config.hits.q_value
    of_guides = _guide_table(guides, parts, level)
    of_guides["inactive"] = inactive_guides(of_guides, set(genes.loc[genes["is_hit"], "gene_symbol"]), level)
    return Hits(genes, of_guides, channels, pseudo, parts[0].pseudo_of_subsets, tuple(dict.fromkeys(notes)), level)


def _on_guides(guides: Guides, genes: pd.DataFrame) -> list[str]:
    """Sentences on guides that limit what the test can say."""
    unnamed = np.isin(guides.codes, [row for row, name in enumerate(guides.names) if not name]).sum()
    alone = (genes["n_guides"] == 1).sum()
    found = []
    if unnamed:
        cells = f"{unnamed:,} of {len(guides.codes):,} cells"
        found.append(f"{cells} name no guide; those of one gene are tested as if they had the same guide")
    if alone:
        few = f"{alone:,} of {len(genes):,} genes have a single guide"
        found.append(f"{few}: a phenotype of such a gene may be an off-target effect of the guide")
    return found


def _on_batches(store: CropStore, config: Config) -> list[str]:
    """A sentence where a network may have learnt batches in place of phenotypes."""
    if config.hits.features != "learned" or len(store.batches) == 1:
        return []
    cells = np.zeros((len(store.perturbations), len(store.batches)))
    np.add.at(cells, (store.labels, store.batch_codes), 1)
    genes = np.delete(cells, store.control_label, axis=0)
    largest = genes.max(axis=1) / np.maximum(genes.sum(axis=1), 1)
    if np.median(largest) < ONE_BATCH:
        return []
    return [
        f"half of the genes or more have {ONE_BATCH:.0%} of their cells in one batch: a classifier can learn the batch "
        "for the gene, and too many genes then seem to have a phenotype; compare with --features statistics"
    ]


def _dealt(guides: Guides, sets: Sequence[CellFeatures], config: Config) -> list[np.ndarray]:
    """Pseudo-genes of as many guides as genes have: the same ones for all features, all halves and all channels."""
    counts = [np.bincount(guides.codes[features.cells], minlength=len(guides.names)) for features in sets]
    cells = np.min(counts, axis=0)
    of_genes = [len(rows) for rows in guides.of_genes(cells).values()]
    controls = np.flatnonzero(guides.controls & (cells > 0))
    median = int(np.median(of_genes)) if of_genes else 1
    return dealt_pseudo_genes(controls, median, config.hits.pseudo_genes, config.seed)


def _tested(
    store: CropStore, guides: Guides, features: CellFeatures, dealt: Sequence[np.ndarray], config: Config
) -> _Part:
    sums = features.sums(guides.codes, f"hits by {config.hits.features}")
    profiles = GuideProfiles.of(sums, guides.controls)
    rows = guides.of_genes(profiles.cells)
    tests, metric = gene_tests(profiles, rows, config.seed), gene_metric(profiles, rows)
    agreement, agree = _agreement(profiles, rows, metric)
    scores = cell_scores(features, guides, profiles, rows, metric, config.hits.control_cells, config.seed)
    own = pd.DataFrame({"n_cells": profiles.cells.astype(int), "agreement": agreement})
    own["effect"] = pd.Series({row: _effect(test.distance) for row, test in tests.guides.items()}, dtype=float)
    own["p_value"] = pd.Series({row: test.p_value for row, test in tests.guides.items()}, dtype=float)
    pseudo = pseudo_gene_p_values(profiles, dealt, metric)
    pseudo_of: dict[str, np.ndarray] = {}
    kinds = {
        CHANNEL: feature_channels(features.names, store.channels),
        COMPARTMENT: feature_compartments(features.names),
    }
    subsets: dict[str, dict[str, dict[str, GeneTest]]] = {kind: {} for kind in kinds}
    for kind, found in kinds.items():
        for name, columns in found.items():
            part = GuideProfiles.of(sums.columns(columns), guides.controls)
            subsets[kind][name] = gene_tests(part, rows, config.seed).genes
            pseudo_of[name] = pseudo_gene_p_values(part, dealt, gene_metric(part, rows))
    return _Part(rows, tests, scores.assign(guides_agree=pd.Series(agree)), own, subsets, pseudo, pseudo_of)


def _gene_table(
    store: CropStore, cells: np.ndarray, parts: Sequence[_Part], names: Sequence[str], q_value: float
) -> pd.DataFrame:
    about = pd.DataFrame({"gene": store.labels[cells], "batch": store.batch_codes[cells]})
    counts = about.groupby("gene").agg(n_cells=("gene", "size"), n_batches=("batch", "nunique"))
    table = counts.loc[[store.perturbations.index(name) for name in names]].reset_index(drop=True)
    table.insert(0, "gene_symbol", list(names))
    table.insert(2, "n_guides", [len({row for part in parts for row in part.rows[name]}) for name in names])
    table["effect"] = _effect(np.mean([[part.tests.genes[name].distance for name in names] for part in parts], axis=0))
    table["p_value"] = combined(np.array([[part.tests.genes[name].p_value for name in names] for part in parts]))
    table["q_value"] = false_discovery_control(table["p_value"])
    table["is_hit"] = table["q_value"] < q_value
    for column in ("guides_agree", "auc", "share_of_cells"):
        table[column] = np.mean([part.genes[column].loc[list(names)] for part in parts], axis=0)
    for kind, subsets in parts[0].subsets.items():
        if subsets:  # learned features name none
            strength = {name: [own[gene].statistic for gene in names] for name, own in subsets.items()}
            table[f"top_{kind}"] = pd.DataFrame(strength).idxmax(axis=1)
    for channel, own in parts[0].subsets[CHANNEL].items():
        table[f"p_{channel}"] = [own[name].p_value for name in names]
    return table.sort_values(["p_value", "effect"], ascending=[True, False], ignore_index=True)


def _channel_table(part: _Part, genes: pd.Series) -> pd.DataFrame:
    """One row per gene and channel or compartment; q-values are over all rows, for whoever takes the rows below one."""
    tables = []
    for kind, subsets in part.subsets.items():
        for name, own in subsets.items():
            table = pd.DataFrame({"gene_symbol": genes, "kind": kind, "name": name})
            table["effect"] = _effect(np.array([own[gene].distance for gene in genes]))
            table["p_value"] = [own[gene].p_value for gene in genes]
            tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["gene_symbol", "kind", "name", "effect", "p_value", "q_value"])
    every = pd.concat(tables, ignore_index=True)
    return every.assign(q_value=false_discovery_control(every["p_value"]))


def _guide_table(guides: Guides, parts: Sequence[_Part], q_value: float) -> pd.DataFrame:
    table = pd.DataFrame({"guide": guides.names, "gene_symbol": guides.genes})
    table["n_cells"] = np.sum([part.guides["n_cells"] for part in parts], axis=0)
    table["effect"] = np.mean([part.guides["effect"] for part in parts], axis=0)
    table["p_value"] = combined(np.array([part.guides["p_value"] for part in parts]))
    tested = table["p_value"].notna()
    table["q_value"] = np.nan
    table.loc[tested, "q_value"] = false_discovery_control(table.loc[tested, "p_value"])
    table["agreement"] = np.mean([part.guides["agreement"] for part in parts], axis=0)
    table["outlier"] = (table["q_value"] < q_value) & (table["agreement"] < 0)
    return table


def inactive_guides(guides: pd.DataFrame, hits: set[str], q_value: float) -> pd.Series:
    """Guides without a sign of the effect that other guides of their gene have: (U,) bool.

    By itself such a guide is within what chance makes of a non-targeting guide, and it agrees with the others less than
    half as much as those do that are significant by themselves. Genes of weak phenotypes, none of whose guides is
    significant by itself, have no guide that can be told to do nothing.
    """
    works = (guides["q_value"] < q_value) & (guides["agreement"] > 0)
    agreement = guides["agreement"].where(works).groupby(guides["gene_symbol"]).transform("mean")
    silent = (guides["p_value"] > INACTIVE_P) & (guides["agreement"] < agreement / 2)
    return silent & guides["gene_symbol"].isin(hits)


def _effect(distance: np.ndarray | float) -> np.ndarray:
    return np.sqrt(np.maximum(distance, 0))


def _agreement(
    profiles: GuideProfiles, rows: dict[str, list[int]], metric: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Cosine of each guide with the mean of its gene's others (U,), and the mean cosine over pairs of each gene."""
    values = profiles.profiles @ np.linalg.cholesky(metric)
    guides, genes = np.full(len(values), np.nan), dict.fromkeys(rows, np.nan)
    for name, own in rows.items():
        if len(own) > 1:
            unit = floored_unit_rows(values[own])
            guides[own] = (unit * floored_unit_rows(values[own].sum(axis=0) - values[own])).sum(axis=1)
            total = unit.sum(axis=0)
            genes[name] = float((total @ total - len(own)) / (len(own) * (len(own) - 1)))
    return guides, genes
