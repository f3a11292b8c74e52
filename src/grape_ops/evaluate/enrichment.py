"""Which complexes are enriched in the clusters, compared with chance?

Hypergeometric test of every cluster with every complex it shares at least two genes with; Benjamini-Hochberg over
all cluster-complex pairs that could have shared two. The control deals the cluster labels out anew and counts
again: what it finds is what such clusters would show without any knowledge.

Letters: N genes, c clusters, K complexes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import hypergeom

from grape_ops.evaluate import leiden
from grape_ops.evaluate.records import EnrichmentScores
from grape_ops.evaluate.significance import add_one_p, benjamini_hochberg
from grape_ops.randomness import EvaluationStream

if TYPE_CHECKING:
    from grape_ops.evaluate.context import MethodRuns

LEVEL = 0.05  # a cluster counts as enriched when a q-value is below


def enrichment(labels: np.ndarray, membership: np.ndarray) -> dict[str, np.ndarray]:
    """Test clusters against complexes: (N,) int, (N, K) bool -> columns of equal length, best first.

    Returns
    -------
    cluster, complex (indices), overlap, cluster_size, complex_size, p_value, q_value.
    """
    genes = len(labels)
    gene, member_of = np.nonzero(membership)
    shape = (int(labels.max()) + 1, membership.shape[1])
    cells = labels[gene] * shape[1] + member_of
    overlap = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    sizes, complex_sizes = np.bincount(labels), membership.sum(axis=0)
    p_values = np.ones(overlap.shape)
    shared = overlap >= 2
    cluster, complex_ = np.nonzero(shared)
    p_values[shared] = hypergeom.sf(overlap[shared] - 1, genes, complex_sizes[complex_], sizes[cluster])
    testable = (sizes[:, None] >= 2) & (complex_sizes >= 2)
    q_values = np.full(overlap.shape, np.nan)
    q_values[testable] = benjamini_hochberg(p_values[testable])
    order = np.lexsort((complex_, cluster, p_values[shared]))
    cluster, complex_ = cluster[order], complex_[order]
    return {
        "cluster": cluster,
        "complex": complex_,
        "overlap": overlap[cluster, complex_],
        "cluster_size": sizes[cluster],
        "complex_size": complex_sizes[complex_],
        "p_value": p_values[cluster, complex_],
        "q_value": q_values[cluster, complex_],
    }


def enriched_clusters(labels: np.ndarray, membership: np.ndarray) -> tuple[int, int]:
    """Count clusters enriched for a complex, and complexes some cluster is enriched for, at q < 0.05."""
    found = enrichment(labels, membership)
    hit = found["q_value"] < LEVEL
    return len(np.unique(found["cluster"][hit])), len(np.unique(found["complex"][hit]))


def enrichment_scores(
    labels: np.ndarray, membership: np.ndarray, shuffles: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Count enriched clusters, and the same after shuffling the cluster labels: (N,) int, (N, K) bool."""
    clusters, complexes = enriched_clusters(labels, membership)
    control = np.array([enriched_clusters(rng.permutation(labels), membership)[0] for _ in range(shuffles)])
    return {
        "n_clusters": int(labels.max()) + 1,
        "enriched_clusters": clusters,
        "enriched_complexes": complexes,
        "shuffled_mean": float(control.mean()),
        "p_value": float(add_one_p(np.count_nonzero(control >= clusters), shuffles)),
        "shuffles": shuffles,
    }


def enrichment_of_clusters(method: "MethodRuns") -> tuple[EnrichmentScores, ...]:
    """Enrichment of Leiden clusters at each resolution; without igraph, of those of k-means."""
    task, shuffles = method.context.task, method.context.settings.shuffles
    clusterings = {f"leiden {resolution:g}": found for resolution, found in method.communities.items()}
    member = task.all_membership
    if not leiden.available():
        member = task.membership[task.single]
        clusterings = {"k-means": method.kmeans_labels} if method.kmeans_labels else {}
    scores = []
    for name, found in clusterings.items():
        labels = leiden.consensus(np.concatenate(found))[0]
        tested = enrichment_scores(labels, member, shuffles, method.context.rng(EvaluationStream.SHUFFLES))
        scores.append(EnrichmentScores(clusters=name, **tested))
    return tuple(scores)
