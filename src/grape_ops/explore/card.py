"""What the page shows of one gene: its cells, guides, batches, nearest genes in every map, and what to doubt."""

from typing import Any

import numpy as np

from grape_ops.config import EvaluateSettings
from grape_ops.explore.map_view import MapView
from grape_ops.report.data_quality import FEW_CELLS

ONE_BATCH = 0.8  # share of a gene's cells in one batch from which on there is a warning
SAME_BATCHES = 3.0  # standard errors above what random genes share
DISAGREES = 0.0


def cell_warnings(n_cells: int, guides: list[dict[str, Any]] | None, quiet_effect: float | None) -> list[str]:
    """Doubts that the gene's own cells raise.

    Parameters
    ----------
    n_cells : cells of the gene.
    guides : ``guides.guide_table``; None without a store.
    quiet_effect : effect that nearly all non-targeting guides stay below.
    """
    found = []
    if n_cells < FEW_CELLS:
        found.append(f"Only {n_cells} cells: vector and neighbours are uncertain.")
    if guides is None:
        return found
    if len(guides) == 1:
        found.append("One guide only: an off-target effect cannot be separated from the gene's.")
    measured = [guide for guide in guides if guide["effect"] is not None]
    quiet = [guide for guide in measured if quiet_effect is not None and guide["effect"] <= quiet_effect]
    if measured and len(quiet) == len(measured):
        found.append("No guide changes the cells more than non-targeting guides do, by simple image statistics.")
    elif len(quiet) * 2 >= len(measured) > 1:
        found.append(f"{len(quiet)} of {len(measured)} guides change the cells no more than non-targeting guides do.")
    # A guide without effect points anywhere; only one that does something can contradict the others.
    against = [g for g in measured if g not in quiet and g["agreement"] is not None and g["agreement"] < DISAGREES]
    if against and len(measured) > 2:
        which = f"Guide {against[0]['guide']} changes" if len(against) == 1 else f"{len(against)} guides change"
        found.append(f"{which} the cells in another direction than the gene's other guides.")
    return found


def batch_warnings(view: MapView, gene: str, settings: EvaluateSettings) -> list[str]:
    """Doubts that batches raise: one batch holds nearly all cells, or neighbours come from the same batches."""
    shares = view.shares()
    if shares is None or gene not in shares.index:
        return []
    table, row = shares.to_numpy(), view.genes.index(gene)
    found = []
    if table[row].max() >= ONE_BATCH:
        found.append(
            f"{table[row].max():.0%} of its cells are from batch {shares.columns[int(table[row].argmax())]}: "
            "what the batch does to cells may look like the gene's effect."
        )
    shared = np.minimum(table, table[row]).sum(axis=1)
    near = view.near(settings)[row]
    others = np.delete(shared, row)
    error = others.std() / np.sqrt(len(near))
    if error > 0 and shared[near].mean() - others.mean() > SAME_BATCHES * error:
        found.append(
            f"Its nearest genes come from the same batches as it does (overlap {shared[near].mean():.0%}, "
            f"any gene {others.mean():.0%})."
        )
    return found
