"""A smaller planted screen, where a screen has fewer control cells than the settings take."""

from grape_ops.config import CalibrateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note

LEAST_CELLS, LEAST_CONTROLS = 10, 10  # of a pseudo-gene, and of each batch
LEAST = 2  # complexes, and genes of each: fewer hold nothing to recover


def cells_taken(settings: CalibrateSettings) -> int:
    """Control cells that the largest planted screen of all curves takes."""
    cells = max(settings.cells_per_gene, *settings.cells_tried)
    return settings.complexes * settings.genes_per_complex * cells + settings.control_cells


def within_controls(settings: CalibrateSettings, usable: int, batches: int) -> CalibrateSettings:
    """Take fewer cells per gene, then fewer genes, until there are control cells enough; a note says so.

    Parameters
    ----------
    usable : control cells with a whole nucleus.
    batches : of the store; each keeps some controls.

    Raises
    ------
    GrapeOpsError : there are too few for the smallest screen; the message says how many it takes.
    """
    wanted = cells_taken(settings)
    if wanted <= usable:
        return settings
    least_controls = min(settings.control_cells, LEAST_CONTROLS * batches)
    controls = max(usable * settings.control_cells // wanted, least_controls)
    complexes, members = settings.complexes, settings.genes_per_complex
    while (cells := (usable - controls) // (complexes * members)) < LEAST_CELLS:
        if members > LEAST:
            members -= 1
        elif complexes > LEAST:
            complexes -= 1
        else:
            least = least_controls + complexes * members * LEAST_CELLS
            raise GrapeOpsError(
                f"{usable} control cells with a whole nucleus can be used, and the smallest planted screen takes "
                f"{least}: {complexes} x {members} pseudo-genes of {LEAST_CELLS} cells, and {least_controls} controls. "
                f"The settings (calibrate.cells_per_gene and others) take {wanted:,}."
            )
    fewer = {
        "complexes": complexes,
        "genes_per_complex": members,
        "control_cells": controls,
        "cells_per_gene": min(cells, settings.cells_per_gene),
        "cells_tried": tuple(sorted({min(count, cells) for count in (*settings.cells_tried, settings.cells_per_gene)})),
    }
    note(
        f"{usable:,} control cells can be used, where the settings take {wanted:,}. Planted are {complexes} complexes "
        f"of {members} pseudo-genes with up to {cells} cells each, and {controls} controls: limits are of a screen of "
        f"this size. For what the settings say, {wanted - usable:,} more control cells are needed."
    )
    return settings.model_copy(update=fewer)
