"""The contact sheet of ``grape-ops inspect --pictures``: sample crops before anything is computed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from grape_ops.artifacts.locks import locked
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
    covered = [well.covered(settings.cut_size) for well in sample]
    crops, controls, genes = (
        np.concatenate([values[own] for values, own in zip(parts, covered, strict=True)])
        for parts in (
            [well.crops(settings) for well in sample],
            [well.cells[IS_CONTROL].to_numpy(bool) for well in sample],
            [well.cells[GENE].astype(str).to_numpy() for well in sample],
        )
    )
    if not len(crops):
        raise GrapeOpsError("There are no sample crops to draw: all would hold pixels of zarr chunks that are absent.")
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
    stem = out.with_suffix("") if _is_file(out) else out / FILE
    save_figure(figure, stem, simulated=found.screen.simulated)
    note(f"sample crops: {stem}.png, and .pdf beside it.")


@contextmanager
def kept_pictures(out: Path | None) -> Iterator[None]:
    """Lock the folder of sample crops, if they get one, until all else that the block writes is written.

    Raises
    ------
    GrapeOpsError : as for ``locked``.
    """
    if out is None or _is_file(out):
        yield
    else:
        with locked(out, "sample crops"):
            yield


def _is_file(out: Path) -> bool:
    return out.suffix.lstrip(".") in FORMATS
