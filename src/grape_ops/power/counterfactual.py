"""True counterfactuals: control cells that no planted store holds, untouched and with each pseudo-gene's effect.

The effect is planted on the very cells that are to be restyled, so what restyling should have made of each of them is
known. Effects are planted in full, whatever the penetrance of the screen. Letters: n cells, G pseudo-genes, T traits,
C channels, s crop size of the planted store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grape_ops.artifacts.atomic import draft_of
from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.power.design import Design
from grape_ops.power.planted_store import Source, changed_crop
from grape_ops.progress import progress
from grape_ops.randomness import PlantingStream, generator

Reshape = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Counterfactuals:
    """Cells as they are, and as they would be with each effect.

    Attributes
    ----------
    genes : (G,) names, in the order of the store's perturbations.
    shifts : (G, T) change of each trait, in natural standard deviations.
    cells : (n,) index of each cell in the store it was taken from.
    batches : (n,) batch of each cell, a code of the planted store.
    background : (n, C) pixels without light, of each cell's batch.
    untouched : (n, C, s, s) pixels.
    planted : (G, n, C, s, s) pixels.
    """

    genes: np.ndarray
    shifts: np.ndarray
    cells: np.ndarray
    batches: np.ndarray
    background: np.ndarray
    untouched: np.ndarray
    planted: np.ndarray

    def save(self, file: Path) -> None:
        """Write to an ``.npz`` that appears when it is complete."""
        with draft_of(file) as draft:
            np.savez(draft, **vars(self))

    @classmethod
    def load(cls, file: Path) -> "Counterfactuals":
        """Read what ``save`` wrote."""
        with np.load(file) as found:
            return cls(**{name: found[name] for name in found.files})


def choose_cells(design: Design, n_candidates: int, n: int) -> np.ndarray:
    """Draw candidates that the design does not use: -> (n,) places among the usable control cells.

    Raises
    ------
    GrapeOpsError : fewer than n are left.
    """
    free = np.setdiff1d(np.arange(n_candidates), design.source)
    if len(free) < n:
        raise GrapeOpsError(
            f"Of {n_candidates} usable control cells the planted screen takes {len(design.source)}, which leaves "
            f"{len(free)} to be restyled; calibrate.restyled_cells asks for {n}. Lower calibrate.cells_per_gene, "
            "calibrate.genes_per_complex, calibrate.complexes, calibrate.control_cells or calibrate.restyled_cells."
        )
    return generator(design.seed, PlantingStream.COUNTERFACTUAL_CELLS).permutation(free)[:n]


def plant_counterfactuals(
    source: Source, design: Design, store: CropStore, n: int, reshape: Reshape | None = None
) -> Counterfactuals:
    """Plant every effect of a design on n cells that its store does not hold.

    Parameters
    ----------
    source, design : the control cells, and what was planted where.
    store : the planted store that was written from them; its batches number those of the cells.
    n : cells.
    reshape : what was done to the store's crops before they were written.
    """
    places = choose_cells(design, len(source.cells), n)
    shaped = reshape or (lambda crops: crops)
    planted = []
    with progress("Counterfactuals", len(design.genes) * n, "cell") as advance:
        for gene, shifts in enumerate(design.shifts):
            rngs = [generator(design.seed, PlantingStream.COUNTERFACTUAL_SPOTS, gene, int(place)) for place in places]
            drawn = [changed_crop(source, int(place), shifts, rng) for place, rng in zip(places, rngs, strict=True)]
            planted.append(shaped(np.stack(drawn)))
            advance(n)
    codes = {name: code for code, name in enumerate(store.batches)}
    batches = source.batch_codes[places]
    return Counterfactuals(
        genes=np.array(design.genes),
        shifts=design.shifts,
        cells=source.cells[places],
        batches=np.array([codes[source.store.batches[code]] for code in batches]),
        background=source.background[batches],
        untouched=shaped(source.store.read(source.cells[places])),
        planted=np.stack(planted),
    )
