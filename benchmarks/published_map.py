"""Score a published learned embedding of the paper's screen, and hold it against the reference numbers.

The embedding is a multi-contrastive VAE's (3,090 genes x 64), the truth the built-in complexes. Random vectors of the
same genes are evaluated beside it, so that every score is seen with a map that knows nothing.
"""

import argparse
from dataclasses import asdict
from itertools import groupby

import numpy as np
import pandas as pd
from anndata import AnnData
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from grape_ops.config import EvaluateSettings
from grape_ops.evaluate.clustering import kmeans_scores, summary
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.evaluate.print_scores import print_scores
from grape_ops.groundtruth import load_truth, membership
from grape_ops.groundtruth.truth import load_pairs
from real_data import real_data
from record import write_record

REFERENCE = {"map": (0.5713, None), "purity": (0.658, 0.034), "nmi": (0.696, 0.029), "ari": (0.403, 0.063)}
PAIRS = ("HuMAP", "Reactome", "StringDB")


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer permutations and draws, no lists of pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()

    table = pd.read_parquet(real_data("funk2022/mcvae_gene_embeddings_3090x64.parquet"))
    vectors = table[[str(column) for column in range(64)]].to_numpy(np.float32)
    noise = np.random.default_rng(arguments.seed).random((len(table), 500), dtype=np.float32)
    obs = pd.DataFrame(index=[str(gene) for gene in table.index])
    maps = {"multi-contrastive VAE": AnnData(vectors, obs=obs), "random": AnnData(noise, obs=obs.copy())}
    few = {"permutations": 500, "bootstrap": 200, "leiden_runs": 2, "shuffles": 20} if arguments.quick else {}
    names = () if arguments.quick else PAIRS
    pairs = [load_pairs(real_data(f"groundtruth/pairs_{name}.txt.gz")) for name in names]
    truth = load_truth("complexes-14x106")
    with threadpool_limits(1):
        scores = evaluate_maps(maps, truth, EvaluateSettings(**few), arguments.seed, pairs=pairs)

    print_scores(scores)
    published, random = scores
    figures: dict[str, object] = {"n_genes": published.n_genes, "map_p_value": published.map.p_value}
    shown = Table("score", "reference", "here", "distance", "allowed")
    for name, (reference, sd) in REFERENCE.items():
        value = published.map.value if name == "map" else getattr(published.kmeans, name).mean
        allowed = sd or 1e-4
        figures |= {name: value, f"{name}_distance": abs(value - reference), f"{name}_allowed": allowed}
        shown.add_row(name, f"{reference}", f"{value:.4f}", f"{abs(value - reference):.5f}", f"{allowed}")
    # The mean over 100 starts still wavers by a tenth of their sd; this one hardly does.
    genes = [gene for gene in truth.genes if gene in table.index]
    labels, rows = membership(truth, genes).argmax(axis=1), vectors[table.index.get_indexer(genes)]
    with threadpool_limits(1):
        many = summary(kmeans_scores(rows, labels, 14, 2000, np.random.default_rng(arguments.seed)))
    figures["over_2000_starts"] = {name: many[name] for name in REFERENCE if name in many}
    figures["map_interval"] = [published.map.low, published.map.high]
    figures["map_minus_random"] = next(asdict(gap) for gap in published.differences if gap.score == "map")
    figures["recall"] = {
        name: {f"{line.side} {line.quantiles[-1]:g}": [line.value, line.chance] for line in lines}
        for name, lines in groupby(published.recall, key=lambda line: line.pairs)
    }
    figures["random"] = {"map": random.map.value, "nmi": random.kmeans.nmi.mean}
    figures["truth_sha256"] = truth.sha256
    Console(width=110).print(shown)
    write_record(arguments.out, "published_map", figures)


if __name__ == "__main__":
    main()
