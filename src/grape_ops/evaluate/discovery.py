"""What a user looks up in a map: the neighbours of a gene, and clusters of genes, with how well each is supported.

Several runs of one method give support: how often a neighbour is found again when runs are drawn anew (a bootstrap),
or the share of runs and seeds in which a gene stays with its cluster.
"""

import difflib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from grape_ops.config import EvaluateSettings
from grape_ops.cosine import unit_rows
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.clustering import kmeans
from grape_ops.evaluate.enrichment import enrichment
from grape_ops.evaluate.leiden import consensus, leiden
from grape_ops.evaluate.maps import GeneMap, known_hits
from grape_ops.evaluate.retrieval import nearest, neighbour_count
from grape_ops.groundtruth.truth import GroundTruth, KnownPairs, membership
from grape_ops.schema import COMPLEX, GENE, OBS_IS_HIT

DRAWS = 1000  # of runs, behind the support of a neighbour


def common_vectors(runs: Sequence[GeneMap]) -> tuple[list[str], list[np.ndarray]]:
    """Bring runs to the genes they all have: N symbols, and (N, d) of each run."""
    genes = sorted(set.intersection(*(set(run.genes) for run in runs)))
    if len(genes) < 2:
        raise GrapeOpsError(f"The runs share {len(genes)} gene; are they maps of one screen?")
    return genes, [run.vectors[run.rows(genes)] for run in runs]


def neighbours(
    runs: Sequence[GeneMap],
    gene: str,
    n: int,
    truth: GroundTruth | None = None,
    pairs: Sequence[KnownPairs] = (),
) -> pd.DataFrame:
    """List a gene's n nearest genes.

    Returns
    -------
    One row a neighbour: gene_symbol, rank, cosine (mean over runs), mutual_rank (geometric mean of both genes'
    ranks for each other), support (how often it is among the n nearest when the runs are drawn anew with
    replacement, 1,000 times; empty for one run), relation (complexes and lists of pairs that hold both genes), and
    is_hit (whether it has a phenotype; empty if it was not tested) where the map says so. Genes that point away
    (a negative cosine) are no neighbours, however few are left.

    Raises
    ------
    GrapeOpsError : the gene is not in every run; the message proposes similar symbols.
    """
    genes, vectors = common_vectors(runs)
    gene = _found(gene, genes)
    rows = [unit_rows(table) for table in vectors]
    query = genes.index(gene)
    cosines = np.stack([table @ table[query] for table in rows])
    order = _ranking(cosines.mean(axis=0), query)[:n]
    back = np.mean([table[order] @ table.T for table in rows], axis=0)
    reverse = [int(np.flatnonzero(_ranking(line, row) == query)[0]) + 1 for line, row in zip(back, order, strict=True)]
    ranks = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            GENE: [genes[row] for row in order],
            "rank": ranks,
            "cosine": cosines.mean(axis=0)[order],
            "mutual_rank": np.sqrt(ranks * np.array(reverse)),
            "support": _support(cosines, query, order) if len(runs) > 1 else np.nan,
            "relation": [_relation(gene, genes[row], truth, pairs) for row in order],
        }
    )
    return _with_hits(table[table["cosine"] >= 0], runs)


def _with_hits(table: pd.DataFrame, runs: Sequence[GeneMap]) -> pd.DataFrame:
    """Say which genes have a phenotype, where the map knows; empty for genes that were not tested."""
    is_hit = known_hits(runs)
    if is_hit is None:
        return table
    return table.assign(**{OBS_IS_HIT: pd.array([is_hit.get(gene) for gene in table[GENE]], dtype="boolean")})


def _found(gene: str, genes: Sequence[str]) -> str:
    """Find a gene among others; in other upper and lower case if only one is meant."""
    folded = [name.casefold() for name in genes]
    alike = [name for name, fold in zip(genes, folded, strict=True) if fold == gene.casefold()]
    if gene in alike:
        return gene
    if len(alike) == 1:
        return alike[0]
    close = difflib.get_close_matches(gene.casefold(), folded, n=5)
    similar = ", ".join(alike or [genes[folded.index(fold)] for fold in close]) or "none"
    raise GrapeOpsError(f"{gene} is not among the {len(genes)} genes of the map. Similar symbols: {similar}.")


def _ranking(similarity: np.ndarray, own: int) -> np.ndarray:
    """Positions from the most similar on, ties by position, the gene itself left out."""
    order = np.argsort(-similarity.round(12), kind="stable")
    return order[order != own]


def _support(cosines: np.ndarray, query: int, near: np.ndarray) -> np.ndarray:
    """How often genes are among the n nearest when runs are drawn with replacement: (R, N) cosines, (n,) -> (n,)."""
    runs = len(cosines)
    weights, times = np.unique(
        np.random.default_rng(0).multinomial(runs, np.full(runs, 1 / runs), size=DRAWS), axis=0, return_counts=True
    )
    found = [np.isin(near, _ranking(draw @ cosines / runs, query)[: len(near)]) for draw in weights]
    return np.average(found, axis=0, weights=times)


def _relation(first: str, second: str, truth: GroundTruth | None, pairs: Sequence[KnownPairs]) -> str:
    complexes = truth.complexes.items() if truth is not None else ()
    known = [name for name, genes in complexes if first in genes and second in genes]
    pair = (min(first, second), max(first, second))
    return "; ".join(known + [listed.name for listed in pairs if pair in listed.index])


def clusters(
    runs: Sequence[GeneMap], settings: EvaluateSettings, resolution: float, k: int | None, rng: np.random.Generator
) -> pd.DataFrame:
    """Cluster all genes by Leiden, or by k-means if k is given.

    Returns
    -------
    gene_symbol, cluster (from 1, largest first), support (how often, over runs and seeds, a gene is found with
    the other genes of its cluster), and is_hit (whether it has a phenotype) where the map says so; sorted by cluster
    and support.
    """
    genes, vectors = common_vectors(runs)
    if k is None:
        n = neighbour_count(len(genes), settings.neighbours)
        found = [leiden(nearest(table, n), resolution, settings.leiden_runs, rng) for table in vectors]
    else:
        found = [kmeans(table, k, settings.kmeans_runs, rng) for table in vectors]
    labels, support = consensus(np.concatenate(found))
    table = pd.DataFrame({GENE: genes, "cluster": labels + 1, "support": support})
    order = ["cluster", "support", GENE]
    return _with_hits(table.sort_values(order, ascending=[True, False, True], ignore_index=True), runs)


def cluster_enrichment(table: pd.DataFrame, truth: GroundTruth) -> pd.DataFrame:
    """Test each cluster of ``clusters`` for the complexes of a truth; the background is all clustered genes."""
    genes = table[GENE].tolist()
    member = membership(truth, genes)
    found = enrichment(table["cluster"].to_numpy() - 1, member)
    names = list(truth.complexes)
    rows = pd.DataFrame(found)
    rows["cluster"] += 1
    shared = [
        " ".join(
            g for g, c in zip(genes, table["cluster"], strict=True) if c == row.cluster and g in truth.complexes[name]
        )
        for row, name in zip(rows.itertuples(), (names[c] for c in rows["complex"]), strict=True)
    ]
    return rows.assign(**{COMPLEX: [names[c] for c in rows["complex"]], "genes": shared})
