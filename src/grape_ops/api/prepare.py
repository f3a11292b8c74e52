"""From the images of a screen to a crop store."""

from collections.abc import Iterable
from pathlib import Path

from grape_ops.api.inputs import FileOrFolder, Settings, paths_of, settings_of
from grape_ops.preprocess.contact_sheet import draw_sample
from grape_ops.preprocess.crop_choice import choose_crops
from grape_ops.preprocess.pipeline import PreprocessReport, preprocess_folder
from grape_ops.preprocess.sample import sample_wells
from grape_ops.screen import layouts
from grape_ops.screen.inspect import inspect_screen as look_over
from grape_ops.screen.inspection import Inspection
from grape_ops.screen.screen import Screen
from grape_ops.simulate.write_screen import simulate_screen as write_screen


def open_screen(folder: FileOrFolder, config: Settings = None) -> Screen:
    """Open the images and cells of a screen; no pixel is read yet.

    Parameters
    ----------
    folder : str or Path
        Folder of the screen, or a file of crops. Its layout is recognised, or named by ``screen.layout``.
    config : Config, str or Path, optional
        Settings, a file of them, or the name of a preset; ``screen`` is read.

    Returns
    -------
    Screen
        ``channels``, ``tiles``, and ``cells``: ``cells.wells`` lists (plate, well), ``cells.of(plate, well)`` is a
        DataFrame with one row per cell. Places are in pixels, ``pixel_size`` in µm where it is known.

    Raises
    ------
    GrapeOpsError
        There is no such folder, it has no known layout, or its tables do not fit.

    Examples
    --------
    >>> screen = go.open_screen("screen")
    >>> screen.channels
    ('DNA', 'gammaH2AX', 'tubulin', 'actin')
    >>> screen.cells.wells
    [('P1', 'A1')]
    """
    return layouts.open_screen(folder, settings_of(config).screen)


def simulate_screen(out: FileOrFolder, config: Settings = None) -> Path:
    """Simulate a small screen with known complexes, to try everything on.

    Parameters
    ----------
    out : str or Path
        Folder to write: tiles (uint16), ``cells.parquet``, ``library.csv`` and ``truth.tsv``.
    config : Config, str or Path, optional
        Settings; ``simulate`` is read.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    GrapeOpsError
        The settings contradict each other, or the folder holds something else.

    Examples
    --------
    >>> small = go.load_config("tiny.yaml", ["simulate.seed=1"])
    >>> go.simulate_screen("another_screen", small).name
    'another_screen'
    """
    write_screen(Path(out), settings_of(config).simulate)
    return Path(out)


def inspect_screen(
    folder: FileOrFolder, config: Settings = None, *, pictures: FileOrFolder | None = None
) -> Inspection:
    """Say what a screen holds, and what is doubtful, before anything is computed.

    Parameters
    ----------
    folder : str or Path
        Folder of the screen, or a file of crops.
    config : Config, str or Path, optional
        Settings; ``screen`` and ``preprocess`` are read.
    pictures : str or Path, optional
        Where to draw sample crops as preprocessing will make them: a file .png or .pdf, both are written, or a folder.

    Returns
    -------
    Inspection
        Counts of plates, wells, tiles, cells, genes and guides, the size of a tile in pixels, and ``doubts``, a list
        of sentences; ``crops`` is the size of crops that fits the nuclei of sampled cells. ``print`` shows all of it.

    Raises
    ------
    GrapeOpsError
        The folder has no known layout, or its tables do not fit.

    Examples
    --------
    >>> found = go.inspect_screen("screen")
    >>> found.layout, found.wells, len(found.genes)
    ('table', 1, 4)
    """
    settings = settings_of(config)

    def look_at_cells(found: Inspection) -> None:
        sample = sample_wells(found.screen)
        choose_crops(found, sample, settings)
        if pictures is not None:
            draw_sample(found, sample, settings.preprocess, Path(pictures))

    return look_over(Path(folder), settings.screen, settings.preprocess.batch_columns, look_at_cells)


def preprocess_screen(
    screen: FileOrFolder | Iterable[FileOrFolder],
    out: FileOrFolder,
    config: Settings = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    scheduler: str | None = None,
) -> PreprocessReport:
    """Correct, rescale and crop the tiles of a screen, or of several, into a crop store.

    Parameters
    ----------
    screen : str or Path, or several
        Folder of the screen. The batches of several screens are kept apart, and a column ``screen`` names them.
    out : str or Path
        Folder of the store.
    config : Config, str or Path, optional
        Settings; ``screen`` and ``preprocess`` are read. Crops are ``preprocess.crop_size`` pixels wide.
    resume : bool
        Go on with an interrupted call.
    overwrite : bool
        Replace an existing store.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://HOST:PORT``.

    Returns
    -------
    PreprocessReport
        Cells kept and dropped, and why; ``print`` shows it. ``CropStore.open(out)`` opens the store.

    Raises
    ------
    GrapeOpsError
        The screen cannot be read, no cell is left, or the folder is in use.

    Examples
    --------
    >>> report = go.preprocess_screen("screen", "new_store", "tiny.yaml")
    >>> report.genes
    4
    >>> go.CropStore.open("new_store").crop_size
    32
    """
    return preprocess_folder(paths_of(screen), Path(out), settings_of(config), resume, overwrite, scheduler)
