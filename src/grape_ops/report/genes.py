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
from grape_ops.report.material import Material
from grape_ops.schema import COMPLEX, GENE, OBS_N_CELLS, OBS_N_GUIDES, UNS_METHOD

RESOLUTION = 1.0


def gene_tables(material: Material) -> dict[str, Any] | None:
    """Rows of both tables, ready for JSON; None without vectors.

    Returns
    -------
    ``genes``: name, complexes, n_cells, n_guides, cluster and support (None without clusters). ``clusters``: number,
    genes in order of support, support, and enriched (complex, genes shared, size, q). ``note``: why there are no
    clusters, or how they were made.
    """
    if material.vectors is None:
        return None
    clusters, note = _clusters(material)
    place = {} if clusters is None else dict(zip(clusters[GENE], clusters.index, strict=True))
    genes = []
    for name in material.genes:
        row = material.run.genes.loc[[name]].iloc[0]
        own = clusters.loc[place[name]] if clusters is not None else None
        genes.append(
            {
                "name": name,
                "complexes": material.complexes_of(name),
                "n_cells": int(row[OBS_N_CELLS]),
                "n_guides": int(row[OBS_N_GUIDES]),
                "cluster": int(own["cluster"]) if own is not None else None,
                "support": round(float(own["support"]), 2) if own is not None else None,
            }
        )
    return {"genes": genes, "clusters": _cluster_rows(clusters, material), "note": note}


def _clusters(material: Material) -> tuple[pd.DataFrame | None, str]:
    if not leiden.available():
        return None, leiden.MISSING
    settings, seed = material.run.config.evaluate, material.run.config.seed
    assert material.vectors is not None
    try:
        own = gene_map(material.vectors, str(material.vectors.uns[UNS_METHOD]))
    except GrapeOpsError as error:  # a map too small to be clustered
        return None, str(error)
    table = discovery.clusters([own], settings, RESOLUTION, None, np.random.default_rng(seed))
    runs = settings.leiden_runs
    return table, (
        f"Clusters are Leiden's on the graph of nearest genes, resolution {RESOLUTION:g}, which known complexes had no "
        f"part in choosing; support is how firmly genes stay together over {runs} seeds."
    )


def _cluster_rows(table: pd.DataFrame | None, material: Material) -> list[dict[str, Any]]:
    if table is None:
        return []
    enriched: dict[int, list[tuple[str, int, int, float]]] = {}
    if material.truth is not None:
        found = discovery.cluster_enrichment(table, material.truth)
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
