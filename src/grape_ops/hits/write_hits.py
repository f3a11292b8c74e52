"""``grape-ops hits``: which genes have a phenotype, and which guides carry it.

out/
  genes.tsv          one row per gene, the most significant first
  guides.tsv         one row per guide
  hits.json          settings, definitions, and how the test fares on pseudo-genes
  volcano.png, .pdf  effect and significance of each gene
  calibration.png, .pdf  p-values of pseudo-genes of non-targeting guides beside those expected
  channels.tsv       the same test on the features of one channel, or one compartment, at a time
  channels.png, .pdf  its q-values for the genes with a phenotype; both where features name channels
"""

from pathlib import Path
from typing import Any

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of, write_json
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config
from grape_ops.hits.calibration import in_words
from grape_ops.hits.feature_sources import what_decides
from grape_ops.hits.find_hits import INACTIVE_P, Hits, find_hits
from grape_ops.plotting.figure import save_figure
from grape_ops.plotting.hits_figures import calibration_figure, channels_figure, volcano_figure
from grape_ops.schema import HITS_CHANNELS, HITS_GENES, HITS_GUIDES, HITS_JSON

# What a call that was killed before its last file has written.
_FIGURES = ("volcano", "calibration", "channels")
_OURS = (HITS_GENES, HITS_GUIDES, HITS_CHANNELS, *(f"{name}.{kind}" for name in _FIGURES for kind in ("png", "pdf")))

DEFINITIONS = {
    "n_cells, n_guides, n_batches": "cells, guides with cells, and batches of the gene",
    "effect": "distance of the gene's guides from the non-targeting guides, in standard deviations of single cells, "
    "over all directions of the features; its square is estimated without bias, and 0 stands for a negative square",
    "p_value": "of the null that the gene's guides are non-targeting guides; the guide is the unit",
    "q_value": "Benjamini and Hochberg over genes",
    "is_hit": "q_value below hits.q_value",
    "guides_agree": "mean cosine between profiles of two guides of the gene; empty for one guide",
    "auc": "area under the ROC curve of the gene's cells against control cells, along the profile of its other guides; "
    "empty for one guide",
    "share_of_cells": "share of cells beyond the 95th percentile of control cells along that profile, less the 5 % of "
    "controls, as a share of the rest",
    "top_channel, top_compartment": "channel, and compartment of the cell, in which the gene is most significant",
    "p_CHANNEL": "the same test on the features of one channel",
    "channels.tsv": "effect, p_value and q_value of the same test on the features of one channel or compartment; "
    "q_value is over all rows of this table",
    "agreement": "of a guide: cosine of its profile with the mean of the gene's other guides",
    "outlier": "of a guide: significant by itself, and pointing away from the gene's other guides",
    "inactive": f"of a guide of a gene with a phenotype: it seems to do nothing, since its p_value by itself is above "
    f"{INACTIVE_P:g} and its agreement is below half the mean agreement of the gene's guides that are significant by "
    "themselves (q_value below hits.q_value); never where the gene has no such guides",
}


def write_hits(store: CropStore, out: Path, config: Config) -> Hits:
    """Test the genes of a store and write tables and figures.

    Parameters
    ----------
    store : the cells.
    out : folder for the results; an earlier result is replaced.
    config : ``hits`` says how; ``seed`` deals guides and folds.

    Returns
    -------
    What was found; as text, a few lines.

    Raises
    ------
    GrapeOpsError : the cells name no guides, there are fewer than two control guides, or no feature can be tested.
    """
    check_folder(out, "hits", marker=HITS_JSON, ours=_OURS)
    found = find_hits(store, config)
    with locked(out, "hits"):
        _write(found, store, out, config)
    return found


def _write(found: Hits, store: CropStore, out: Path, config: Config) -> None:
    for stale in (HITS_CHANNELS, "channels.png", "channels.pdf"):  # of features that name channels
        (out / stale).unlink(missing_ok=True)
    tables = {HITS_GENES: found.genes, HITS_GUIDES: found.guides}
    for name, table in (tables | ({} if found.channels.empty else {HITS_CHANNELS: found.channels})).items():
        with draft_of(out / name) as draft:
            spreadsheet_safe(table).to_csv(draft, sep="\t", index=False, float_format="%.6g")
    save_figure(volcano_figure(found.genes, config.hits.q_value), out / "volcano", simulated=store.simulated)
    if len(found.pseudo_genes):
        save_figure(calibration_figure(found.pseudo_genes), out / "calibration", simulated=store.simulated)
    if figure := channels_figure(found.genes, found.channels):
        save_figure(figure, out / "channels", simulated=store.simulated)
    rate = float((found.pseudo_genes < 0.05).mean()) if len(found.pseudo_genes) else None
    facts: dict[str, Any] = {
        "version": __version__,
        "store": store_fingerprint(store),
        "seed": config.seed,
        "settings": config.hits.model_dump(mode="json"),
        "feature_settings": what_decides(config),
        "channels": list(config.features.channels) or list(store.channels),
        "left_out": list(found.notes),
        "definitions": DEFINITIONS,
        "genes": len(found.genes),
        "hits": int(found.genes["is_hit"].sum()),
        "calibration": {
            "pseudo_genes": len(found.pseudo_genes),
            "rate_at_05": rate,
            "in_words": in_words(found.pseudo_genes),
            "by_channel": found.channel_rates(),
        },
    }
    facts |= {"where": store.where} if store.where else {}
    write_json(out / HITS_JSON, facts)  # last: it says that all is there
