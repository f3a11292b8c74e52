"""Label permutations: could a map without any knowledge of the complexes score as high?

The similarities stay as they are and the complex labels are dealt out to the genes anew. One set of permutations
serves three levels: the whole map (mAP), each complex (mean AP of its genes) and each gene. A permutation
compares like with like: the AP of a label's new owner stands against the AP of its old one, so that the number
of relevant genes is the same. The complexes of all maps see the same permutations when the generator is the same.

Letters: N genes, K complexes, P permutations, M relevant genes of a query.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from grape_ops.cosine import unit_rows
from grape_ops.evaluate.retrieval import BLOCK, TIE, precision_of_ranks, relevant_lists

# Genes with about as many relevant genes: their indices, (n, max M) relevant genes, (n,) how many.
Group = tuple[np.ndarray, np.ndarray, np.ndarray]
CHUNK_ENTRIES = 1 << 18  # ranks looked up at a time; they should stay in the processor's cache


@dataclass(frozen=True)
class Significance:
    """What label permutations say about one map.

    Attributes
    ----------
    precision : (N,) AP of each gene, mean over runs; NaN without a relevant gene.
    complex_precision : (K,) mean AP of each complex's genes; NaN with fewer than two genes.
    mean_precision, mean_p : mAP and its p-value.
    gene_p, complex_p : p-values, NaN where there is no score.
    null : (P,) mAP under each permutation.
    """

    precision: np.ndarray
    complex_precision: np.ndarray
    mean_precision: float
    mean_p: float
    gene_p: np.ndarray
    complex_p: np.ndarray
    null: np.ndarray


def similarity_ranks(vectors: np.ndarray) -> np.ndarray:
    """Rank of every gene for every query: (N, d) -> (N, N) int, the number of others at least as similar."""
    rows = unit_rows(vectors)
    ranks = np.zeros((len(rows), len(rows)), dtype=np.uint16 if len(rows) < 2**16 else np.uint32)
    for start in range(0, len(rows), BLOCK):
        similarity = rows[start : start + BLOCK] @ rows.T
        for offset, line in enumerate(similarity):
            query = start + offset
            line[query] = -np.inf
            ranks[query] = len(line) - np.searchsorted(np.sort(line), line - TIE, side="left")
            ranks[query, query] = 0
    return ranks


def permute_labels(
    runs: Sequence[np.ndarray], membership: np.ndarray, permutations: int, rng: np.random.Generator
) -> Significance:
    """Score a map and its permuted labels.

    Parameters
    ----------
    runs : vectors (N, d) of each run of the method; scores are means over runs, and all runs see the same
        permutations, so that the spread between training runs does not count as evidence.
    membership : (N, K) bool.
    permutations : P.
    rng : source of the permutations.
    """
    relevant, counts = relevant_lists(membership)
    groups = _by_count(relevant, counts)
    ranks = [similarity_ranks(vectors) for vectors in runs]
    identity = np.arange(len(counts))[None]
    # Sparse, as most genes are in few of many complexes.
    shares = csr_array(complex_shares(membership))
    has_score = counts > 0

    observed = _mean_precision(ranks, identity, groups)
    observed_complex = observed @ shares
    precision = observed[0]
    gene_hits = np.zeros(len(counts))
    complex_hits = np.zeros(shares.shape[1])
    null = np.empty(permutations)
    chunk = max(1, CHUNK_ENTRIES // max(sum(part.size for _, part, _ in groups), len(counts)))
    for start in range(0, permutations, chunk):
        size = min(chunk, permutations - start)
        owners = rng.permuted(np.repeat(identity, size, axis=0), axis=1)
        permuted = _mean_precision(ranks, owners, groups)
        gene_hits += (permuted >= precision - TIE).sum(axis=0)
        complex_hits += (permuted @ shares >= observed_complex - TIE).sum(axis=0)
        null[start : start + size] = permuted[:, has_score].mean(axis=1) if has_score.any() else np.nan
    has_complex = shares.sum(axis=0) > 0
    mean = float(precision[has_score].mean()) if has_score.any() else float("nan")
    return Significance(
        precision=np.where(has_score, precision, np.nan),
        complex_precision=np.where(has_complex, observed_complex[0], np.nan),
        mean_precision=mean,
        mean_p=float(add_one_p(np.count_nonzero(null >= mean - TIE), permutations))
        if has_score.any()
        else float("nan"),
        gene_p=np.where(has_score, add_one_p(gene_hits, permutations), np.nan),
        complex_p=np.where(has_complex, add_one_p(complex_hits, permutations), np.nan),
        null=null,
    )


def _by_count(relevant: np.ndarray, counts: np.ndarray) -> list[Group]:
    """Part genes by how many relevant genes they have, up to a power of two, so that little padding is looked up."""
    size = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    groups = []
    for power in np.unique(size[counts > 0]):
        rows = np.flatnonzero((size == power) & (counts > 0))
        groups.append((rows, relevant[rows, : counts[rows].max()], counts[rows]))
    return groups


def _mean_precision(ranks: Sequence[np.ndarray], owners: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """AP of each label's owner, mean over runs: owners (P, N) -> (P, N), 0 where there is no relevant gene."""
    total = np.zeros(owners.shape)
    for rows, relevant, counts in groups:
        queries, members = owners[:, rows, None], owners[:, relevant]
        for table in ranks:
            total[:, rows] += precision_of_ranks(table[queries, members], counts)
    return total / len(ranks)


def complex_shares(membership: np.ndarray) -> np.ndarray:
    """Weights that average a score over a complex: (N, K) bool -> (N, K), 0 for complexes of one gene."""
    sizes = membership.sum(axis=0)
    return np.where(sizes > 1, membership / np.maximum(sizes, 1), 0.0)


def add_one_p(hits: ArrayLike, permutations: int) -> np.ndarray:
    """p-value (1 + hits) / (1 + permutations): never 0, and valid at any number of permutations."""
    return (1 + np.asarray(hits, dtype=np.float64)) / (1 + permutations)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q-values of a family of tests, NaN left out: (n,) -> (n,)."""
    # Not scipy's false_discovery_control, as elsewhere: it takes no NaN, and multiplies by n / rank, which differs from
    # these q-values in the last bit.
    q_values = np.full(np.shape(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    q_values[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)
    return q_values
