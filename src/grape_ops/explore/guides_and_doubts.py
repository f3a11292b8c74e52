"""What the page shows of one gene: its guides and whether they agree, and what to doubt.

Guides are compared by simple image statistics of real cells, which no network has learnt. Statistics are
standardised and whitened by control cells. The profile of a guide is the mean over its cells. Its effect is the
profile's length over what as many control cells would give by chance, about 1 for a guide that does nothing; its
agreement is the cosine with the mean profile of the gene's other guides, about 0 by chance.

Letters: n cells, V statistics, d dimensions kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from grape_ops.cells.store import CropStore
from grape_ops.config import EvaluateSettings
from grape_ops.cosine import cosine
from grape_ops.explore.map_view import MapView
from grape_ops.hits.find_hits import ONE_BATCH
from grape_ops.methods.statistics import crop_statistics
from grape_ops.randomness import ExploreStream, generator
from grape_ops.report.data_quality import FEW_CELLS
from grape_ops.schema import GUIDE

SAME_BATCHES = 3.0  # standard errors above what random genes share
DISAGREES = 0.0


def cell_warnings(
    n_cells: int,
    guides: list[dict[str, Any]] | None,
    quiet_effect: float | None,
    tested: Mapping[str, str] | None = None,
) -> list[str]:
    """Doubts that the gene's own cells raise.

    Parameters
    ----------
    n_cells : cells of the gene.
    guides : ``guide_table``; None without a store.
    quiet_effect : effect that nearly all non-targeting guides stay below.
    tested : what ``grape-ops hits`` says of guides, which the page then shows in place of doubts of its own.
    """
    found = []
    if n_cells < FEW_CELLS:
        found.append(f"Only {n_cells} cells: vector and neighbours are uncertain.")
    if guides is None:
        return found
    if len(guides) == 1:
        found.append("One guide only: an off-target effect cannot be separated from the gene's.")
    if tested:
        return found
    measured = [guide for guide in guides if guide["effect"] is not None]
    quiet = [guide for guide in measured if quiet_effect is not None and guide["effect"] <= quiet_effect]
    if measured and len(quiet) == len(measured):
        found.append(
            "No evidence that any guide changes the cells more than non-targeting guides do (simple image statistics)."
        )
    elif len(quiet) * 2 >= len(measured) > 1:
        found.append(
            f"No evidence that {len(quiet)} of {len(measured)} guides change cells more than non-targeting guides do."
        )
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


CELLS_PER_GUIDE = 64
CONTROL_GUIDES = 24
DIMENSIONS = 24
FEWEST = 5  # cells below which a profile says nothing


@dataclass(frozen=True)
class Reference:
    """What control cells look like: centre (V,), whitening (V, d), and the effects of the control guides."""

    centre: np.ndarray
    whitening: np.ndarray
    effects: np.ndarray

    @classmethod
    def of(cls, store: CropStore, seed: int) -> "Reference":
        """Measure control cells, at most 64 of each of 24 guides."""
        drawn = list(_draw(store, store.control_label, seed).values())[:CONTROL_GUIDES]
        measured = [crop_statistics(store.standardized(cells)).astype(np.float64) for cells in drawn]
        features = np.concatenate(measured)
        centre, sd = features.mean(axis=0), features.std(axis=0)
        scale = np.where(sd > 1e-6, 1 / np.maximum(sd, 1e-6), 0)
        _, singular, axes = np.linalg.svd((features - centre) * scale, full_matrices=False)
        kept = int(min(DIMENSIONS, max(1, len(features) // 10), np.sum(singular > 1e-6 * singular[0])))
        spread = singular[:kept] / np.sqrt(len(features))
        whitening = scale[:, None] * axes[:kept].T / spread
        profiles = [(f - centre).mean(axis=0) @ whitening for f in measured]
        effects = [_effect(profile, len(f)) for profile, f in zip(profiles, measured, strict=True) if len(f) >= FEWEST]
        return cls(centre, whitening, np.array(effects))


def guide_table(store: CropStore, row: int, reference: Reference, seed: int) -> list[dict[str, Any]]:
    """One entry per guide of a perturbation: guide, n_cells, effect, agreement; None where too few cells say."""
    drawn = _draw(store, row, seed)
    counts = store.cells.loc[store.labels == row, GUIDE].astype(str).value_counts()
    profiles, effects = {}, {}
    for guide, cells in drawn.items():
        if len(cells) >= FEWEST:
            features = crop_statistics(store.standardized(cells))
            profiles[guide] = (features - reference.centre).mean(axis=0) @ reference.whitening
            effects[guide] = _effect(profiles[guide], len(cells))
    table = []
    for guide in drawn:
        others = [profile for name, profile in profiles.items() if name != guide]
        agreement = None
        if guide in profiles and others:
            agreement = float(np.nan_to_num(cosine(profiles[guide], np.mean(others, axis=0))))
        entry = {"guide": guide, "n_cells": int(counts[guide]), "effect": effects.get(guide), "agreement": agreement}
        table.append({k: round(v, 3) if isinstance(v, float) else v for k, v in entry.items()})
    return table


def _draw(store: CropStore, row: int, seed: int) -> dict[str, np.ndarray]:
    """Random cells of each guide of a perturbation, the guide of most cells first."""
    rng = generator(seed, ExploreStream.GUIDES, row)
    cells = np.flatnonzero(store.labels == row)
    guides = store.cells[GUIDE].to_numpy()[cells].astype(str)
    names, counts = np.unique(guides, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(name): rng.permutation(cells[guides == name])[:CELLS_PER_GUIDE] for name in names[order]}


def _effect(profile: np.ndarray, n: int) -> float:
    return float(np.linalg.norm(profile) / np.sqrt(len(profile) / n))
