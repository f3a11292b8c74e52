"""The registry of metrics: what each means, how it is computed, and its rows in ``scores.csv``.

A metric is a function and a line in ``METRICS``. The function takes the runs of one method and gives the record that
``records.MethodScores`` has under the metric's name; or plain numbers by name, which are kept under ``more``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from grape_ops.evaluate.clustering import kmeans_agreement, kmeans_sweep, random_sweep
from grape_ops.evaluate.confounding import nuisance
from grape_ops.evaluate.context import EvaluationContext, MethodRuns
from grape_ops.evaluate.enrichment import enrichment_of_clusters
from grape_ops.evaluate.leiden import leiden_agreement
from grape_ops.evaluate.mean_average_precision import complex_precision, gene_precision, mean_average_precision
from grape_ops.evaluate.recall import pair_recall
from grape_ops.evaluate.score_rows import (
    ScoreRow,
    enrichment_rows,
    in_own_table,
    kmeans_rows,
    leiden_rows,
    map_rows,
    nuisance_rows,
    plain_rows,
    recall_rows,
)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : of its field in ``MethodScores``; any other name is a key of ``MethodScores.more``.
    definition : term -> what it means, in a sentence; words in braces are filled in from ``EvaluationContext.facts``.
        It is written beside the scores, so that no score travels without it.
    compute : its record, or numbers by name, of one method.
    rows : name and what ``compute`` gave -> rows of ``scores.csv``.
    """

    name: str
    definition: Mapping[str, str]
    compute: Callable[[MethodRuns], Any]
    rows: Callable[[str, Any], list[ScoreRow]] = plain_rows


METRICS: tuple[Metric, ...] = (
    Metric(
        "map",
        {
            "map": "Mean average precision: cosine similarity on vectors as they are, the query left out, all other "
            "labelled genes ranked, relevant is a gene that shares any complex, ties counted in front. Chance is the "
            "exact expectation under a random ranking; chance_corrected is the mean of (AP - chance) / (1 - chance).",
            "p_value": "{permutations} permutations of the complex labels over the labelled genes, "
            "similarities fixed, one-sided, (1 + hits) / (1 + permutations); q-values by Benjamini-Hochberg.",
        },
        mean_average_precision,
        map_rows,
    ),
    Metric(
        "kmeans",
        {
            "kmeans": "Lloyd's k-means, Euclidean, vectors as they are (no normalisation), init=random, n_init=1, "
            "{kmeans_runs} runs, k = {main_k}, on the {single} genes of exactly one complex. "
            "mean and sd over runs; low and high bound the mean by the bootstrap over complexes; k is the setting, or "
            "the number of complexes with a gene of their own.",
            "agreement": "Purity: share of genes in their cluster's commonest complex. NMI and AMI: arithmetic mean of "
            "the entropies. ARI: Hubert and Arabie.",
            "random": "{random_maps} random maps, uniform [0, 1) in {random_dimensions} dimensions, the same number of "
            "genes and runs.",
        },
        kmeans_agreement,
        kmeans_rows,
    ),
    Metric("sweep", {}, kmeans_sweep, in_own_table),
    Metric("sweep_random", {}, random_sweep, in_own_table),
    Metric(
        "leiden",
        {
            "leiden": "Modularity communities of the graph of nearest genes (cosine, Jaccard weights), {leiden_runs} "
            "seeds; resolutions {resolutions} are settings, not chosen by the truth. stability is the mean ARI between "
            "seeds; random is the same clusters with their genes dealt out anew.",
        },
        leiden_agreement,
        leiden_rows,
    ),
    Metric(
        "recall",
        {
            "recall": "Share of known pairs in the tails of the cosines of all pairs of the {genes} common genes; "
            "chance is the share of all pairs counted; n_pairs of the n_pairs_listed have both genes in the maps.",
        },
        pair_recall,
        recall_rows,
    ),
    Metric(
        "enrichment",
        {
            "enrichment": "Hypergeometric test of each cluster with each complex, background all common genes, "
            "Benjamini-Hochberg, q < 0.05; shuffled_mean from {shuffles} shuffles of the cluster labels.",
        },
        enrichment_of_clusters,
        enrichment_rows,
    ),
    Metric(
        "nuisance",
        {
            "nuisance": "R squared of predicting a gene's batch shares, or the logarithm of its cell number, from the "
            "mean of its nearest genes (cosine); chance is the mean over {shuffles} shuffles. Batches should not be "
            "predictable; cell numbers are in part biology, as related knock-outs cost cells alike.",
            "arm": "R squared of predicting a gene's chromosome arm from the mean of its nearest genes (cosine), where "
            "a table of arms is given; chance is the mean over {shuffles} shuffles. Genes that share a complex are not "
            "taken for neighbours, shuffles deal complexes out as wholes, and variance is the adjusted R squared of "
            "arms in the vectors less the means of complexes.",
        },
        nuisance,
        nuisance_rows,
    ),
    Metric(
        "complexes",
        {"complexes": "Mean over the genes of a complex of AP, of its chance and of its chance-corrected value."},
        complex_precision,
        in_own_table,
    ),
    Metric("genes", {}, gene_precision, in_own_table),
)

# Of the evaluation as a whole, before and after those of the metrics.
_GENES = {
    "genes": "Scored on the genes that all methods have: {labelled} genes in {complexes} complexes of {truth} (content "
    "hash {truth_sha256}); {genes} common genes with the unlabelled ones; non-targeting controls left out."
}
_COMPARISON = {
    "intervals": "Bootstrap over complexes, {bootstrap} draws freed from their bias, expanded percentiles (Student's "
    "tails for the number of complexes), {confidence:.0%}; for these runs of a method, and as if complexes shared no "
    "gene.",
    "differences": "This method minus the other, the same draws for both; p-values two-sided by the same "
    "bootstrap, not corrected for the number of comparisons.",
    "seed_sd": "Standard deviation between runs of one method (divisor runs - 1); sd is within runs.",
    "seed": "All draws from seed {seed}.",
}


def definitions(context: EvaluationContext) -> dict[str, str]:
    """Spell out what each number of an evaluation means: term -> sentence."""
    facts = context.facts()
    texts = _GENES.copy()
    for metric in METRICS:
        texts |= metric.definition
    return {term: text.format_map(facts) for term, text in (texts | _COMPARISON).items()}
