"""What each number means, written beside the numbers so that no score travels without its definition."""

from grape_ops.config import EvaluateSettings
from grape_ops.evaluate.clustering import REFERENCE_DIMENSIONS, REFERENCE_MAPS
from grape_ops.evaluate.maps import Task


def definitions(task: Task, settings: EvaluateSettings, seed: int, main_k: int) -> dict[str, str]:
    """Spell out the scores of one evaluation: key of the record -> sentence."""
    inner = f"{len(task.labelled)} genes in {len(task.complexes)} complexes of {task.truth.name}"
    return {
        "genes": f"Scored on the genes that all methods have: {inner} (content hash {task.truth.sha256}); "
        f"{len(task.genes)} common genes with the unlabelled ones; non-targeting controls left out.",
        "map": "Mean average precision: cosine similarity on vectors as they are, the query left out, all other "
        "labelled genes ranked, relevant is a gene that shares any complex, ties counted in front. Chance is the "
        "exact expectation under a random ranking; chance_corrected is the mean of (AP - chance) / (1 - chance).",
        "p_value": f"{settings.permutations} permutations of the complex labels over the labelled genes, "
        "similarities fixed, one-sided, (1 + hits) / (1 + permutations); q-values by Benjamini-Hochberg.",
        "kmeans": f"Lloyd's k-means, Euclidean, vectors as they are (no normalisation), init=random, n_init=1, "
        f"{settings.kmeans_runs} runs, k = {main_k}, on the {len(task.single)} genes of exactly one complex. "
        "mean and sd over runs; low and high bound the mean by the bootstrap over complexes; k is the setting, or the "
        "number of complexes with a gene of their own.",
        "agreement": "Purity: share of genes in their cluster's commonest complex. NMI and AMI: arithmetic mean of "
        "the entropies. ARI: Hubert and Arabie.",
        "random": f"{min(REFERENCE_MAPS, settings.kmeans_runs)} random maps, uniform [0, 1) in {REFERENCE_DIMENSIONS} "
        "dimensions, the same number of genes and runs.",
        "leiden": f"Modularity communities of the graph of nearest genes (cosine, Jaccard weights), "
        f"{settings.leiden_runs} seeds; resolutions {', '.join(f'{r:g}' for r in settings.leiden_resolutions)} are "
        "settings, not chosen by the truth. stability is the mean ARI between seeds; random is the same clusters with "
        "their genes dealt out anew.",
        "recall": f"Share of known pairs in the tails of the cosines of all pairs of the {len(task.genes)} common "
        "genes; chance is the share of all pairs counted; n_pairs of the n_pairs_listed have both genes in the maps.",
        "enrichment": "Hypergeometric test of each cluster with each complex, background all common genes, "
        f"Benjamini-Hochberg, q < 0.05; shuffled_mean from {settings.shuffles} shuffles of the cluster labels.",
        "nuisance": "R squared of predicting a gene's batch shares, or the logarithm of its cell number, from the "
        f"mean of its nearest genes (cosine); chance is the mean over {settings.shuffles} shuffles. Batches should not "
        "be predictable; cell numbers are in part biology, as related knock-outs cost cells alike.",
        "complexes": "Mean over the genes of a complex of AP, of its chance and of its chance-corrected value.",
        "intervals": f"Bootstrap over complexes, {settings.bootstrap} draws freed from their bias, expanded "
        f"percentiles (Student's tails for the number of complexes), {settings.confidence:.0%}; for these runs of a "
        "method, and as if complexes shared no gene.",
        "differences": "This method minus the other, the same draws for both; p-values two-sided by the same "
        "bootstrap, not corrected for the number of comparisons.",
        "seed_sd": "Standard deviation between runs of one method (divisor runs - 1); sd is within runs.",
        "seed": f"All draws from seed {seed}.",
    }
