"""The gene map as one file that scanpy, cellxgene and Vitessce open, and its clusters as a table.

Letters: P perturbations.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.ownership import check_table
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.genes import write_gene_vectors
from grape_ops.config import Config
from grape_ops.embed import embed
from grape_ops.evaluate import discovery
from grape_ops.evaluate.leiden import available
from grape_ops.evaluate.maps import control_rows, gene_map
from grape_ops.report.projection import projections
from grape_ops.schema import GENE
from grape_ops.train.run_folder import open_run

if TYPE_CHECKING:
    from anndata import AnnData

CLUSTER = "cluster"
_FEWEST = 4  # rows that a graph of neighbours can be drawn of


def read_gene_map(run_path: Path) -> "AnnData":
    """Gene vectors of a run, at the position and with the weights its configuration says, with ``obsm["X_umap"]``.

    Without umap-learn, or with fewer than four genes, ``obsm["X_pca"]`` alone is there.
    """
    adata = _vectors(run_path)
    for name, plane in projections(np.asarray(adata.X), open_run(run_path).config.seed, fewest=_FEWEST).items():
        adata.obsm["X_umap" if name == "UMAP" else "X_pca"] = plane.astype(np.float32)
    return adata


def _vectors(run_path: Path) -> "AnnData":
    config = open_run(run_path).config
    return embed(run_path, config.embed, seed=config.seed)


def cluster_genes(adata: "AnnData", run_path: Path, settings: Config) -> pd.DataFrame:
    """Cluster all genes: gene_symbol, cluster (from 1, the largest first); controls are left out.

    Raises
    ------
    GrapeOpsError : igraph is not installed, and no number of clusters is set (``evaluate.k``).
    """
    seed = open_run(run_path).config.seed
    rng = np.random.default_rng(seed)
    found = discovery.clusters(
        [gene_map(adata, "the run")], settings.evaluate, settings.export.resolution, settings.evaluate.k, rng
    )
    return found[[GENE, CLUSTER]]


def number_clusters(adata: "AnnData", run_path: Path, settings: Config) -> np.ndarray | None:
    """Cluster of each perturbation, 0 for controls: (P,) int64; None if nothing can be clustered here."""
    genes = int((~control_rows(adata, "the run")).sum())
    if genes < _FEWEST or not (available() or settings.evaluate.k):
        return None
    of_gene = cluster_genes(adata, run_path, settings).set_index(GENE)[CLUSTER]
    return of_gene.reindex(adata.obs_names).fillna(0).to_numpy(np.int64)


def write_genes(run_path: Path, out: Path, settings: Config) -> None:
    """Write ``genes.h5ad``."""
    adata = read_gene_map(run_path)
    clusters = number_clusters(adata, run_path, settings)
    if clusters is not None:
        adata.obs[CLUSTER] = pd.Categorical(clusters)
    write_gene_vectors(adata, out)


def write_cluster_table(run_path: Path, out: Path, settings: Config) -> None:
    """Write gene_symbol and cluster as TSV, for tools that annotate clusters."""
    check_table(out, (GENE, CLUSTER))
    table = cluster_genes(_vectors(run_path), run_path, settings)
    write_text(out, spreadsheet_safe(table).to_csv(sep="\t", index=False), tell=True)
