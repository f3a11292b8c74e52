"""A whole submission of the OPS Data Standard 0.1.0: one collection of one experiment with one visualization.

    OUT/collection_metadata.yaml
    OUT/{title}/metadata/{experimental_metadata.yaml, perturbation_library.csv, feature_definitions.csv}
    OUT/{title}/cell_data.parquet
    OUT/{title}/{title}.zarr on wish, of several plates {plate}.zarr each
    OUT/{title}/visualizations/gene_map/{aggregated_data.h5ad, examples.zarr}

Letters: P perturbations, K features.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from anndata import AnnData

from grape_ops.artifacts.atomic import draft_folder_of
from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.hdf5 import write_anndata
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.config import Config, ExportSettings
from grape_ops.embed import run_store
from grape_ops.errors import GrapeOpsError
from grape_ops.export.gene_map import number_clusters, read_gene_map
from grape_ops.export.standard_cells import describe_cells
from grape_ops.export.standard_examples import write_examples
from grape_ops.export.standard_features import Measured, feature_definitions, measure_perturbations
from grape_ops.export.standard_images import find_plate_images, write_plate_images
from grape_ops.export.standard_library import PERTURBATION, describe_guides
from grape_ops.schema import IS_CONTROL
from grape_ops.train.run_folder import open_run

SCHEMA_VERSION = "0.1.0"
FDR_THRESHOLD = 1.30103  # -log10 of 0.05, as the standard writes it
VISUALIZATION = "gene_map"
VECTORS = "grape"  # in obsm; keys that begin with X_ are reserved for planes


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
    if run.simulated:
        named = settings.export.model_copy(update={"title": f"Simulated: {settings.export.title}"})
        settings = settings.model_copy(update={"export": named})
    texts = _metadata(settings.export)
    store = run_store(run, where=settings.where)
    if store.unit != "gene":
        raise GrapeOpsError(f"The OPS standard is written for a map of genes; {run_path} maps guides.")
    guides = describe_guides(store, settings.export)
    cells = describe_cells(store, guides, settings.export)
    images = find_plate_images(store, cells, settings) if settings.export.images else None
    adata = read_gene_map(run_path)
    if "X_umap" not in adata.obsm:
        raise GrapeOpsError(_no_umap(len(adata)))
    if list(adata.obs_names) != list(store.perturbations):
        raise GrapeOpsError(f"{run_path} and its crop store name different perturbations.")
    # All control guides share the controls' row of the map.
    names = [*store.perturbations[:-1], *sorted(cells.loc[cells[IS_CONTROL], PERTURBATION].unique())]
    genes = len(store.perturbations) - 1
    labels = pd.Index(names).get_indexer(pd.Index(cells[PERTURBATION]))
    measured = measure_perturbations(store, labels, genes, settings, run.config.seed)
    clusters = number_clusters(adata, run_path, settings)
    rows = np.minimum(np.arange(len(names)), genes)
    counts = np.bincount(labels, minlength=len(names))
    aggregated = _aggregated(adata[rows], names, counts, measured, None if clusters is None else clusters[rows])
    aggregated.uns["title"] = settings.export.title
    cells = pd.concat([cells, pd.DataFrame(measured.values, columns=list(measured.features.index))], axis=1)

    with draft_folder_of(out) as draft:
        experiment = draft / texts.folder
        (experiment / "metadata").mkdir(parents=True)
        shown = experiment / "visualizations" / VISUALIZATION
        shown.mkdir(parents=True)
        spreadsheet_safe(guides.library).to_csv(experiment / "metadata" / "perturbation_library.csv", index=False)
        definitions = feature_definitions(measured.features, store.channels)
        spreadsheet_safe(definitions).to_csv(experiment / "metadata" / "feature_definitions.csv", index=False)
        cells.to_parquet(experiment / "cell_data.parquet", index=False)
        write_anndata(aggregated, shown / "aggregated_data.h5ad")
        write_examples(store, cells, settings.export, run.config.seed, shown / "examples.zarr")
        if images:
            write_plate_images(images, experiment)
        (experiment / "metadata" / "experimental_metadata.yaml").write_text(texts.experiment, encoding="utf-8")
        (draft / "collection_metadata.yaml").write_text(texts.collection, encoding="utf-8")


def _no_umap(rows: int) -> str:
    if find_spec("umap") is None:
        return "The OPS standard requires a UMAP of the genes: pip install 'grape-ops[umap]'."
    return f"A UMAP of {rows} perturbations says nothing; the OPS standard requires one."


def _aggregated(
    genes: AnnData, names: list[str], counts: np.ndarray, measured: Measured, clusters: np.ndarray | None
) -> AnnData:
    """Join the features (P, K) with the map."""
    obs = pd.DataFrame(
        {PERTURBATION: np.array(names, object), "n_cells": counts}, index=pd.Index(names, name="aggregate_id")
    )
    if clusters is not None:
        obs["cluster_group_1"] = clusters
    adata = AnnData(measured.effect, obs=obs, var=measured.features)
    adata.layers["mean"] = measured.mean
    adata.layers["p_values"], adata.layers["neg_log10_fdr"] = measured.p_values, measured.levels
    adata.obsm["X_umap"] = np.asarray(genes.obsm["X_umap"], np.float32)
    adata.obsm[VECTORS] = np.asarray(genes.X, np.float32)
    adata.uns |= {
        "observation_unit": [PERTURBATION],
        "default_embedding": "X_umap",
        "schema_version": SCHEMA_VERSION,
        "neg_log10_fdr_threshold": FDR_THRESHOLD,
    }
    return adata


@dataclass(frozen=True)
class _Metadata:
    """Texts of the two metadata files, and the folder's name that follows from the experiment's title."""

    experiment: str
    collection: str
    folder: str


def _metadata(settings: ExportSettings) -> _Metadata:
    """Take the user's metadata or write templates, before anything is measured."""
    quoted = yaml.safe_dump(settings.title, width=10_000).splitlines()[0]
    experiment, collection = (
        EXPERIMENT_TEMPLATE.format(title=quoted),
        yaml.safe_dump({"collection": {"title": settings.title}}),
    )
    title = settings.title
    if settings.experimental_metadata:
        experiment, title = _given(settings.experimental_metadata, "experimental_metadata", "experiment")
    if settings.collection_metadata:
        collection, _ = _given(settings.collection_metadata, "collection_metadata", "collection")
    return _Metadata(experiment, collection, re.sub(r"[^A-Za-z0-9_-]+", "-", title).strip("-") or "screen")


def _given(file: Path, setting: str, block: str) -> tuple[str, str]:
    """Read a metadata file of the user's, and its title."""
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (*DAMAGE, yaml.YAMLError) as error:
        raise GrapeOpsError(f"export.{setting} names {file}, which cannot be read: {why(error)}") from None
    inner = content.get(block) if isinstance(content, dict) else None
    title = inner.get("title") if isinstance(inner, dict) else None
    if not isinstance(title, str) or not title.strip():
        raise GrapeOpsError(
            f"export.{setting} names {file}, which has no {block}.title; the OPS standard requires one."
        )
    return text, title


EXPERIMENT_TEMPLATE = """\
# Experimental metadata of the OPS Data Standard 0.1.0. Only you know these; replace every FILL IN, then validate again,
# or name your own file: --set export.experimental_metadata=FILE.
experiment:
  title: {title}
  organism_ontology_term_id: FILL IN      # NCBITaxon:9606 human, NCBITaxon:10090 mouse, NCBITaxon:7955 zebrafish
  organism: FILL IN                       # its name, as Homo sapiens
  tissue_type: FILL IN                    # tissue, organoid, cell culture, or cell line
  tissue_ontology_term_id: FILL IN        # cell line: CVCL_0030 is HeLa; culture: CL:...; tissue: UBERON:...
  tissue: FILL IN
  disease_ontology_term_id: FILL IN       # PATO:0000461 for healthy, or MONDO:...
  disease: FILL IN
  development_stage_ontology_term_id: FILL IN  # "na" for cell lines; HsapDv:... or MmusDv:... otherwise
  development_stage: FILL IN              # "na" for cell lines
  assay_ontology_term_id: FILL IN         # EFO:0022605 or a more exact term
  assay: FILL IN
cellular:
  growth_conditions: FILL IN              # medium, supplements, culture conditions
  plate_type: FILL IN                     # such as 6-well glass-bottom, with catalogue number
library:
  vector: FILL IN                         # with Addgene number
phenotype:
  objective: FILL IN                      # magnification and NA
  exposure_time_ms: []                    # one whole number per channel, in the order of the channels
microscope:
  system: FILL IN
pipeline:
  github: FILL IN                         # of the pipeline that made the cell table
  version: 1.0                            # a number
"""
