"""Evaluate a run's restyled cells by true counterfactuals (docs/calibrate.md).

Letters: n cells, G pseudo-genes, K features as measured, F features kept, P perturbations.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData, read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, EmbedSettings, GenerateSettings
from grape_ops.embed import embed
from grape_ops.groundtruth import load_truth
from grape_ops.power import closeness
from grape_ops.power.closeness import mean_change
from grape_ops.power.counterfactual import Counterfactuals, Reshape, plant_counterfactuals
from grape_ops.power.counterfactual_reference import (
    CounterfactualReference,
    cell_traits,
    knockout_changes,
    measuring_key,
    trait_changes,
)
from grape_ops.power.design import Design
from grape_ops.power.planted_store import Source
from grape_ops.power.recovery import mean_precision
from grape_ops.progress import progress
from grape_ops.randomness import RestylingScoreStream, generator
from grape_ops.restyle.content import compare_content
from grape_ops.restyle.measure import Measurer
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import INIT_FILE, TRUTH_FILE

RESTYLED_CELLS = 96
READ_BY_E = 150  # real cells of each gene whose codes E reads, at most


def counterfactuals_of(
    source: Source, design: Design, store: CropStore, folder: Path, n: int, reshape: Reshape | None = None
) -> Counterfactuals:
    """Plant counterfactuals, or read those that an earlier call left in ``folder``."""
    settings = store.meta["provenance"]["planted"]
    file = folder / f"counterfactual_crops-{measuring_key(store, Config().features, [settings, n])}.npz"
    if not file.is_file():
        plant_counterfactuals(source, design, store, n, reshape).save(file)
    return Counterfactuals.load(file)


def restyled_scores(
    restyler: Restyler, reference: CounterfactualReference, config: Config, seed: int
) -> dict[str, Any]:
    """Restyle the cells to every gene and to control, measure them, and score them."""
    pictures, store = reference.pictures, restyler.store
    measurer = Measurer(store, config.features)
    crops = restyled_pixels(restyler, pictures)
    contents = [compare_content(pictures.untouched, own, measurer.find) for own in crops[:-1]]
    measured = []
    with progress("Measuring restyled cells", crops.shape[0] * crops.shape[1], "cell") as advance:
        for values in measurer.crops(crops):
            measured.append(values)
            advance(len(values))
    scaled = reference.scaled(np.stack(measured))
    traits = [cell_traits(own, pictures.background, reference.traits, measurer.nucleus) for own in crops]
    made = trait_changes(traits[-1], np.stack(traits[:-1]), reference.spread)
    return scores_of(reference, scaled[:-1], scaled[-1], config.generate, seed) | {
        "by_kind": kinds_of(reference, made),
        "surroundings": float(np.nanmean([content.surroundings for content in contents])),
        "nuclei_lost": float(np.nanmean([content.nuclei_lost for content in contents])),
    }


def restyled_pixels(restyler: Restyler, pictures: Counterfactuals) -> np.ndarray:
    """The untouched cells in every style, that of the control last: -> (G + 1, n, C, s, s) pixels of the store."""
    store = restyler.store
    rows = [restyler.names.index(gene) for gene in pictures.genes] + [store.control_label]
    styles = restyler.styles(rows)
    made: list[list[np.ndarray]] = [[] for _ in rows]
    for start in range(0, len(pictures.cells), restyler.batch_size):
        own = slice(start, start + restyler.batch_size)
        codes = pictures.batches[own]
        scaled = store.standardize(pictures.untouched[own], codes)
        images = torch.from_numpy(scaled).to(restyler.device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for place, image in enumerate(restyler.restyle_images(images, styles)):
                made[place].append(restyler.stored_by_batch(image, codes)[0])
    return np.stack([np.concatenate(parts) for parts in made])


def scores_of(
    reference: CounterfactualReference, restyled: np.ndarray, back: np.ndarray, settings: GenerateSettings, seed: int
) -> dict[str, Any]:
    """Score features of restyled cells.

    Parameters
    ----------
    reference : what they are compared with.
    restyled : (G, n, F) the cells restyled to each gene, NaN where the nucleus was lost.
    back : (n, F) the cells restyled to control: what restyling does to every cell is no gene's direction.
    settings, seed : of the side effect.

    Returns
    -------
    ``scores_of_changes``, with ``distance_left`` from the raw change, and ``side_effect``, the mean over genes.
    """
    against_control = mean_change(back, restyled)
    raw = mean_change(reference.untouched, restyled)
    sides = [
        closeness.side_effect(
            reference.untouched,
            own,
            planted,
            settings,
            generator(seed, RestylingScoreStream.SIDE_EFFECT, gene),
        )
        for gene, (own, planted) in enumerate(zip(restyled, reference.planted, strict=True))
    ]
    known = [side for side in sides if np.isfinite(side)]
    scores = scores_of_changes(reference, against_control, raw)
    scores["side_effect"] = float(np.mean(known)) if known else None
    scores["by_gene"] |= {"side_effect": [side if np.isfinite(side) else None for side in sides]}
    return scores


def scores_of_changes(
    reference: CounterfactualReference, made: np.ndarray, raw: np.ndarray | None = None
) -> dict[str, Any]:
    """Score mean changes alone: (G, F), from cells restyled to control, and raw ones, from untouched cells.

    Returns
    -------
    ``direction``, ``own_direction``, ``top1``, ``top1_chance``, ``distance_left`` (the median), and ``by_gene`` with
    each gene's own numbers.
    """
    planted = reference.changes
    cosine = closeness.direction(made, planted)
    nearest = closeness.own_is_nearest(made, planted)
    left = closeness.distance_left(made if raw is None else raw, planted)
    return {
        "direction": float(cosine.mean()),
        "own_direction": float(closeness.own_direction(made, planted).mean()),
        "top1": float(nearest.mean()),
        "top1_chance": 1 / len(planted),
        "distance_left": float(np.median(left)),
        "by_gene": {"direction": cosine.tolist(), "top1": nearest.tolist(), "distance_left": left.tolist()},
    }


def kinds_of(reference: CounterfactualReference, made: np.ndarray) -> dict[str, float]:
    """How strongly each kind of trait is restyled, by mean changes of traits: (G, T) -> kind -> strength."""
    kinds = [trait.kind for trait in reference.traits]
    return closeness.strength_by_kind(made, reference.trait_changes, reference.pictures.shifts, kinds)


def reference_scores(
    reference: CounterfactualReference, store: CropStore, config: Config, folder: Path
) -> dict[str, dict[str, Any]]:
    """What restyled cells are read against: name -> scores.

    ``unrestyled``: cells left as they are. ``mean_knockout``: the mean of all planted changes, whatever the gene.
    ``real_knockouts``: the gene's own cells in the store, other cells than those restyled and fewer than all of them
    showing the phenotype.
    """
    planted, traits = reference.changes, reference.trait_changes
    left = scores_of_changes(reference, np.zeros_like(planted)) | {"by_kind": kinds_of(reference, 0 * traits)}
    mean = scores_of_changes(reference, np.tile(planted.mean(axis=0), (len(planted), 1)))
    return {
        "unrestyled": left | {"side_effect": 0.0, "surroundings": 1.0, "nuclei_lost": 0.0},
        "mean_knockout": mean | {"by_kind": kinds_of(reference, np.tile(traits.mean(axis=0), (len(traits), 1)))},
        "real_knockouts": scores_of_changes(reference, knockout_changes(reference, store, config, folder)),
    }


def map_scores(restyler: Restyler, seed: int) -> dict[str, float | None]:
    """mAP of the planted complexes: of the initial M, of M, of F(M), and of the codes that E reads from real cells."""
    store, run = restyler.store, restyler.run
    truth = load_truth(str(store.path / TRUTH_FILE))
    start = run.path / INIT_FILE
    ema = restyler.averaged
    return {
        "map_start": mean_precision(read_h5ad(start), truth) if start.exists() else None,
        "map_M": mean_precision(embed(run.path, EmbedSettings(position=1, ema=ema)), truth),
        "map_F": mean_precision(embed(run.path, EmbedSettings(position=2, ema=ema)), truth),
        "map_E": mean_precision(codes_of_cells(restyler, seed), truth),
    }


def codes_of_cells(restyler: Restyler, seed: int) -> AnnData:
    """Style codes that E reads from real cells of each perturbation, averaged: P rows."""
    rows = []
    for row in range(len(restyler.names)):
        own = np.flatnonzero(restyler.store.labels == row)
        rng = generator(seed, RestylingScoreStream.CODES, row)
        drawn = np.sort(rng.permutation(own)[:READ_BY_E])
        with torch.inference_mode():
            rows.append(restyler.nets.style_encoder(restyler.crops(drawn)).float().mean(dim=0).cpu().numpy())
    return AnnData(np.stack(rows), obs=pd.DataFrame(index=restyler.names))
