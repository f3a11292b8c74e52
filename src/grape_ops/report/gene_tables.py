"""The tables of genes and of clusters: what is near to what, and what the groups of the map hold.

Clusters are Leiden's at resolution 1, which no truth chose; a truth only says what they are enriched for.
"""

from typing import Any

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import discovery, leiden
from grape_ops.evaluate.enrichment import LEVEL
from grape_ops.evaluate.maps import gene_map
from grape_ops.report.inputs import ReportInputs
from grape_ops.schema import COMPLEX, GENE, OBS_N_CELLS, OBS_N_GUIDES, UNS_METHOD

RESOLUTION = 1.0


def gene_tables(inputs: ReportInputs) -> dict[str, Any] | None:
    """Rows of both tables, ready for JSON; None without vectors.

    Returns
    -------
    ``genes``: name, complexes, n_cells, n_guides, cluster and support (None without clusters). ``clusters``: number,
    genes in order of support, support, and enriched (complex, genes shared, size, q). ``note``: why there are no
    clusters, or how they were made.
    """
    if inputs.vectors is None:
        return None
    clusters, note = _clusters(inputs)
    own = {} if clusters is None else clusters.set_index(GENE)[["cluster", "support"]].to_dict("index")
    counts = inputs.run.genes.loc[inputs.genes, [OBS_N_CELLS, OBS_N_GUIDES]].to_numpy(int).tolist()
    genes = [
        {
            "name": name,
            "complexes": inputs.complexes_of(name),
            "n_cells": n_cells,
            "n_guides": n_guides,
            "cluster": int(own[name]["cluster"]) if own else None,
            "support": round(float(own[name]["support"]), 2) if own else None,
        }
        for name, (n_cells, n_guides) in zip(inputs.genes, counts, strict=True)
    ]
    return {"genes": genes, "clusters": _cluster_rows(clusters, inputs), "note": note}


def _clusters(inputs: ReportInputs) -> tuple[pd.DataFrame | None, str]:
    if not leiden.available():
        return None, leiden.MISSING
    settings, seed = inputs.run.config.evaluate, inputs.run.config.seed
    assert inputs.vectors is not None
    try:
        own = gene_map(inputs.vectors, str(inputs.vectors.uns[UNS_METHOD]))
    except GrapeOpsError as error:  # a map too small to be clustered
        return None, str(error)
    table = discovery.clusters([own], settings, RESOLUTION, None, np.random.default_rng(seed))
    runs = settings.leiden_runs
    if table["cluster"].nunique() == 1:
        return table, f"Leiden at resolution {RESOLUTION:g} finds no groups: all genes are one cluster."
    return table, (
        f"Clusters are Leiden's on the graph of nearest genes, resolution {RESOLUTION:g}, which known complexes had no "
        f"part in choosing; support is how firmly genes stay together over {runs} seeds."
    )


def _cluster_rows(table: pd.DataFrame | None, inputs: ReportInputs) -> list[dict[str, Any]]:
    if table is None:
        return []
    enriched: dict[int, list[tuple[str, int, int, float]]] = {}
    if inputs.truth is not None:
        found = discovery.cluster_enrichment(table, inputs.truth)
        for row in found[found["q_value"] < LEVEL].to_dict("records"):
            what = (str(row[COMPLEX]), int(row["overlap"]), int(row["complex_size"]), float(row["q_value"]))
            enriched.setdefault(int(row["cluster"]), []).append(what)
    rows = []
    for number in sorted(set(table["cluster"].tolist())):
        own = table[table["cluster"] == number]
        support = round(float(own["support"].mean()), 2)
        rows.append(
            {"cluster": number, "genes": own[GENE].tolist(), "support": support, "enriched": enriched.get(number, [])}
        )
    return rows
