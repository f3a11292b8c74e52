"""The contact sheet of ``grape-ops inspect --pictures``: sample crops before anything is computed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.plotting.contact_sheet import contact_sheet
from grape_ops.plotting.figure import FORMATS, save_figure
from grape_ops.preprocess.sample import SampledWell
from grape_ops.preprocess.store_folder import pixel_size_of_crops
from grape_ops.progress import note
from grape_ops.schema import GENE, IS_CONTROL
from grape_ops.screen.inspection import Inspection

CELLS_OF_KIND = 6  # control cells, and others, that are shown
FILE = "sample_crops"  # within a folder


def draw_sample(found: Inspection, sample: Sequence[SampledWell], settings: PreprocessSettings, out: Path) -> None:
    """Draw some control and some perturbed cells with the size of crops that was chosen, or that the settings name.

    Parameters
    ----------
    out : a file .png or .pdf, of which both are written, or a folder.

    Raises
    ------
    GrapeOpsError : no cell could be read, or the crops are too small for the size.
    """
    if not sample:
        raise GrapeOpsError("There are no sample crops to draw: no cell of the sampled wells could be read.")
    if found.crops is not None:
        settings = settings.model_copy(update={"crop_size": found.crops.crop_size, "shrink": found.crops.shrink})
    crops = np.concatenate([well.crops(settings) for well in sample])
    controls = np.concatenate([well.cells[IS_CONTROL].to_numpy(bool) for well in sample])
    genes = np.concatenate([well.cells[GENE].astype(str).to_numpy() for well in sample])
    kinds = [np.flatnonzero(kind) for kind in (controls, ~controls)]
    shown = np.concatenate(
        [rows[np.linspace(0, len(rows) - 1, CELLS_OF_KIND, dtype=int)] for rows in kinds if len(rows)]
    )
    shown = shown[np.sort(np.unique(shown, return_index=True)[1])]
    labels = ["control" if controls[row] else genes[row] for row in shown]
    binned = f", binned by {settings.shrink} to {settings.crop_size} px" if settings.shrink > 1 else ""
    plain = "; without a flat field" if found.screen.read_crops is None and not found.screen.corrected else ""
    title = f"Crops of {settings.cut_size} px{binned}{plain}"
    pixel_size = pixel_size_of_crops(found.screen, settings.shrink)
    figure = contact_sheet(crops[shown], found.screen.channels, labels, title, pixel_size)
    stem = out.with_suffix("") if out.suffix.lstrip(".") in FORMATS else out / FILE
    save_figure(figure, stem, simulated=found.screen.simulated)
    note(f"sample crops: {stem}.png, and .pdf beside it.")
