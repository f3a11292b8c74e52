"""A whole submission of the OPS Data Standard 0.1.0: one collection of one experiment with one visualization.

    OUT/collection_metadata.yaml
    OUT/{run}/metadata/{experimental_metadata.yaml, perturbation_library.csv}
    OUT/{run}/cell_data.parquet
    OUT/{run}/visualizations/gene_map/{aggregated_data.h5ad, examples.zarr}

Letters: P perturbations, K features.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from anndata import AnnData

from grape_ops.artifacts.atomic import draft_folder_of
from grape_ops.artifacts.hdf5 import write_anndata
from grape_ops.config import Config, ExportSettings
from grape_ops.embed import run_store
from grape_ops.errors import GrapeOpsError
from grape_ops.export.gene_map import number_clusters, read_gene_map
from grape_ops.export.standard_examples import write_examples
from grape_ops.export.standard_features import measure_perturbations
from grape_ops.export.standard_library import PERTURBATION, describe_cells, describe_guides
from grape_ops.export.standard_metadata import EXPERIMENT_TEMPLATE
from grape_ops.report.projection import umap
from grape_ops.train.run import open_run

SCHEMA_VERSION = "0.1.0"
FDR_THRESHOLD = 1.30103  # -log10 of 0.05, as the standard writes it
VISUALIZATION = "gene_map"
VECTORS = "grape"  # in obsm; keys that begin with X_ are reserved for planes
_FEWEST_FOR_UMAP = 4


def write_standard(run_path: Path, out: Path, settings: Config) -> None:
    """Write the submission into a new or empty folder; it appears when it is complete.

    Raises
    ------
    GrapeOpsError : ``out`` holds something, umap-learn or cp-measure is missing, or guides, wells or names cannot be
        written in the standard's form.
    """
    out = out.resolve()  # `.` has no name
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GrapeOpsError(f"{out} is not empty; name a new folder for the submission with --out.")
    run = open_run(run_path)
    store = run_store(run)
    guides = describe_guides(store, settings.export)
    cells = describe_cells(store, guides, settings.export)
    adata = read_gene_map(run_path)
    if "X_umap" not in adata.obsm:
        adata.obsm["X_umap"] = _small_umap(np.asarray(adata.X), run.config.seed)
    if list(adata.obs_names) != list(store.perturbations):
        raise GrapeOpsError(f"{run_path} and its crop store name different perturbations.")
    measured = measure_perturbations(store, settings, run.config.seed)
    aggregated = _aggregated(adata, cells, measured, number_clusters(adata, run_path, settings), settings.export)

    with draft_folder_of(out) as draft:
        experiment = draft / (re.sub(r"[^A-Za-z0-9._-]+", "-", run_path.resolve().name) or "screen")
        (experiment / "metadata").mkdir(parents=True)
        shown = experiment / "visualizations" / VISUALIZATION
        shown.mkdir(parents=True)
        guides.library.to_csv(experiment / "metadata" / "perturbation_library.csv", index=False)
        cells.to_parquet(experiment / "cell_data.parquet", index=False)
        write_anndata(aggregated, shown / "aggregated_data.h5ad")
        write_examples(store, cells, settings.export, run.config.seed, shown / "examples.zarr")
        _write_metadata(draft, experiment, settings.export)


def _small_umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    if find_spec("umap") is None:
        raise GrapeOpsError("The OPS standard wants a UMAP of the genes: pip install 'grape-ops[umap]'.")
    if len(vectors) < _FEWEST_FOR_UMAP:
        raise GrapeOpsError(f"A UMAP of {len(vectors)} perturbations says nothing; the OPS standard wants one.")
    return umap(vectors, seed).astype(np.float32)


def _aggregated(
    genes: AnnData,
    cells: pd.DataFrame,
    measured: tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray],
    clusters: np.ndarray | None,
    settings: ExportSettings,
) -> AnnData:
    """Join the features (P, K) with the map."""
    features, mean, p_values, levels = measured
    names = genes.obs_names.astype(str)
    counts = cells[PERTURBATION].value_counts()
    obs = pd.DataFrame(
        {PERTURBATION: names.to_numpy(object), "n_cells": counts.reindex(names).fillna(0).to_numpy(np.int64)},
        index=pd.Index(names, name="aggregate_id"),
    )
    if clusters is not None:
        obs["cluster_group_1"] = clusters
    adata = AnnData(mean, obs=obs, var=features)
    adata.layers["p_values"], adata.layers["neg_log10_fdr"] = p_values, levels
    adata.obsm["X_umap"] = np.asarray(genes.obsm["X_umap"], np.float32)
    adata.obsm[VECTORS] = np.asarray(genes.X, np.float32)
    adata.uns |= {
        "observation_unit": [PERTURBATION],
        "default_embedding": "X_umap",
        "schema_version": SCHEMA_VERSION,
        "title": settings.title,
        "neg_log10_fdr_threshold": FDR_THRESHOLD,
    }
    return adata


def _write_metadata(collection: Path, experiment: Path, settings: ExportSettings) -> None:
    target = experiment / "metadata" / "experimental_metadata.yaml"
    if settings.experimental_metadata:
        target.write_text(_given(settings.experimental_metadata, "experimental_metadata"))
    else:
        target.write_text(EXPERIMENT_TEMPLATE.format(title=yaml.safe_dump(settings.title).splitlines()[0]))
    target = collection / "collection_metadata.yaml"
    if settings.collection_metadata:
        target.write_text(_given(settings.collection_metadata, "collection_metadata"))
    else:
        target.write_text(yaml.safe_dump({"collection": {"title": settings.title}}))


def _given(file: Path, setting: str) -> str:
    try:
        text = file.read_text()
        yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GrapeOpsError(f"export.{setting} names {file}, which cannot be read: {error}") from None
    return text
