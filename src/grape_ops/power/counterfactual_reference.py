"""Counterfactuals as measured: what restyled cells of any run on one planted store are compared with.

Measured once a store and kept in a file, since measuring takes longer than all the rest. Letters: n cells, N control
cells of the store, G pseudo-genes, T traits, K features as measured, F features kept.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config, FeatureSettings
from grape_ops.power.closeness import mean_change
from grape_ops.power.counterfactual import Counterfactuals
from grape_ops.power.traits import TINY, Trait, find_anatomy, list_traits, measure, natural_spread
from grape_ops.progress import progress
from grape_ops.restyle.measure import Measurer
from grape_ops.restyle.phenotype import FURTHEST, FeatureSpace

MOST_CONTROLS = 500  # cells of the store that scale the features


@dataclass(frozen=True)
class CounterfactualReference:
    """Measured counterfactuals, in standard deviations of the store's control cells.

    Attributes
    ----------
    pictures : the counterfactuals themselves.
    space : the features.
    untouched : (n, F), NaN for a cell without a nucleus; so below.
    planted : (G, n, F).
    changes : (G, F) mean change that planting makes.
    traits : what can be changed.
    spread : (T,) natural standard deviation of each trait of the untouched cells, as they are in the store.
    trait_changes : (G, T) mean change of the traits that planting makes, in these.
    """

    pictures: Counterfactuals
    space: FeatureSpace
    untouched: np.ndarray
    planted: np.ndarray
    changes: np.ndarray
    traits: tuple[Trait, ...]
    spread: np.ndarray
    trait_changes: np.ndarray

    def scaled(self, measured: np.ndarray) -> np.ndarray:
        """Features as measured of the same cells: (..., n, K) -> (..., n, F)."""
        return in_controls(self.space, measured, self.pictures.batches)


def in_controls(space: FeatureSpace, measured: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Features in standard deviations of controls, NaN without a nucleus: (..., n, K), (n,) -> (..., n, F)."""
    flat = measured.reshape(-1, measured.shape[-1])
    codes = np.broadcast_to(batches, measured.shape[:-1]).reshape(-1)
    scaled = np.where(np.isfinite(flat).any(axis=1, keepdims=True), space(flat, codes), np.nan)
    return scaled.reshape(*measured.shape[:-1], -1)


def read_reference(
    pictures: Counterfactuals, store: CropStore, config: Config, folder: Path
) -> CounterfactualReference:
    """Measure counterfactuals and control cells, or read what an earlier call measured in ``folder``."""
    measurer = Measurer(store, config.features)
    traits = list_traits(store.channels, measurer.nucleus)
    traits_of = partial(cell_traits, background=pictures.background, traits=traits, nuclear=measurer.nucleus)
    controls = control_cells(store)
    key = measuring_key(store, config.features, [pictures.cells, controls])
    file = folder / f"counterfactual_features-{key}.npz"
    if not file.is_file():
        sets = [store.read(controls), pictures.untouched, *pictures.planted]
        features = _measured(measurer, sets, "Measuring counterfactuals")
        _save_sets(file, [*features, *(traits_of(crops) for crops in sets[1:])])
    of_controls, *parts = _load_sets(file)
    batches = store.batch_codes[controls]
    space = FeatureSpace.of(measurer.names, of_controls, batches, len(store.batches), config.generate.redundant)
    untouched, *planted = (in_controls(space, part, pictures.batches) for part in parts[: len(parts) // 2])
    own, *moved = parts[len(parts) // 2 :]
    there = np.isfinite(own).all(axis=1)
    spread = np.maximum(natural_spread(own[there], pictures.batches[there]), TINY)
    return CounterfactualReference(
        pictures=pictures,
        space=space,
        untouched=untouched,
        planted=np.stack(planted),
        changes=mean_change(untouched, np.stack(planted)),
        traits=traits,
        spread=spread,
        trait_changes=trait_changes(own, np.stack(moved), spread),
    )


def cell_traits(crops: np.ndarray, background: np.ndarray, traits: Sequence[Trait], nuclear: int) -> np.ndarray:
    """Traits of cells, NaN for one without a whole nucleus: (n, C, s, s) pixels, (n, C) -> (n, T)."""
    rows = []
    for crop, floor in zip(crops, background, strict=True):
        anatomy = find_anatomy(crop[nuclear])
        light = crop.astype(np.float32) - floor[:, None, None]
        rows.append(np.full(len(traits), np.nan) if anatomy is None else measure(light, anatomy, traits, nuclear))
    return np.stack(rows)


def trait_changes(before: np.ndarray, after: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Mean change of the traits of the same cells: (n, T), (..., n, T), (T,) -> (..., T).

    No cell counts as moved by more than ``FURTHEST`` standard deviations.
    """
    change = np.clip((after - before) / spread, -FURTHEST, FURTHEST)
    return mean_change(np.zeros_like(before), change)


def knockout_changes(reference: CounterfactualReference, store: CropStore, config: Config, folder: Path) -> np.ndarray:
    """Mean of each pseudo-gene's own cells in the store less that of its controls: -> (G, F)."""
    cells = [np.flatnonzero(store.labels == gene) for gene in range(len(reference.pictures.genes))]
    cells.append(control_cells(store))
    file = folder / f"knockouts-{measuring_key(store, config.features, cells)}.npz"
    if not file.is_file():
        measurer = Measurer(store, config.features)
        _save_sets(file, _measured(measurer, [store.read(own) for own in cells], "Measuring planted cells"))
    scaled = [
        in_controls(reference.space, part, store.batch_codes[own])
        for part, own in zip(_load_sets(file), cells, strict=True)
    ]
    means = np.stack([np.nanmean(part, axis=0) for part in scaled])
    return np.asarray(means[:-1] - means[-1])


def control_cells(store: CropStore) -> np.ndarray:
    """The control cells of a store that features are scaled by: -> (N,)."""
    controls = np.flatnonzero(store.labels == store.control_label)
    if len(controls) <= MOST_CONTROLS:
        return controls
    return np.sort(np.random.default_rng(0).permutation(controls)[:MOST_CONTROLS])


def measuring_key(store: CropStore, settings: FeatureSettings, more: Sequence[object]) -> str:
    """Hash of what decides measured features: the store, the settings, and which cells."""
    listed = [part.tolist() if isinstance(part, np.ndarray) else part for part in more]
    facts = [__version__, store_fingerprint(store), settings.decisive(), listed]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _measured(measurer: Measurer, sets: Sequence[np.ndarray], what: str) -> list[np.ndarray]:
    measured = []
    with progress(what, sum(map(len, sets)), "cell") as advance:
        for values in measurer.crops(sets):
            measured.append(values)
            advance(len(values))
    return measured


def _save_sets(file: Path, sets: Sequence[np.ndarray]) -> None:
    with draft_of(file) as draft:
        np.savez(draft, *sets)


def _load_sets(file: Path) -> list[np.ndarray]:
    with np.load(file) as found:
        return [found[f"arr_{place}"] for place in range(len(found.files))]
