"""From a crop store to gene vectors: GRAPE, and every other method."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from grape_ops.api.inputs import (
    FileOrFolder,
    Settings,
    Store,
    path_of,
    path_or_none,
    settings_of,
    settings_to_train,
)
from grape_ops.embed import embed_run, write_embedding
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import read_map
from grape_ops.methods import METHODS, find_method, reads_all_channels, write_baseline
from grape_ops.train.loop import train

if TYPE_CHECKING:
    from anndata import AnnData


def train_model(
    store: Store,
    out: FileOrFolder,
    config: Settings = None,
    *,
    truth: FileOrFolder | None = None,
    resume: bool = False,
) -> Path:
    """Train GRAPE on the cells of a store.

    Ctrl-C, or the stop button of a notebook, ends the training after the step it is in; everything is saved, and
    ``resume=True`` goes on.

    Parameters
    ----------
    store : str, Path or CropStore
        The cells.
    out : str or Path
        Folder of the run.
    config : Config, str or Path, optional
        Settings; if None, a preset that suits the number of cells, their size and this machine, named in a note.
    truth : str or Path, optional
        Known complexes, to log mean average precision along training; never learnt from.
    resume : bool
        Go on with an interrupted training.

    Returns
    -------
    Path
        The run folder: ``config.yaml`` with all settings, ``metrics.jsonl``, ``checkpoints/``.

    Raises
    ------
    GrapeOpsError
        The store or the settings do not fit, the folder holds another run, or memory runs out.

    Examples
    --------
    >>> go.train_model("store", "new_run", "tiny.yaml").name
    'new_run'
    """
    known = str(truth) if truth is not None else None
    settings = settings_to_train(config, store, resumed=Path(out) if resume else None)
    return train(path_of(store), Path(out), settings, truth=known, resume=resume).path


def embed_genes(
    run: FileOrFolder,
    *,
    out: FileOrFolder | None = None,
    position: int | None = None,
    ema: bool | None = None,
    store: FileOrFolder | None = None,
    checkpoint: FileOrFolder | None = None,
    hits: FileOrFolder | None = None,
) -> "AnnData":
    """Read the gene vectors of a run.

    Parameters
    ----------
    run : str or Path
        Folder of the run.
    out : str or Path, optional
        File (.h5ad) to write as well.
    position : {1, 2, 3}, optional
        1: rows of M; 2: style codes F(M); 3: codes that E reads from restyled cells. If None, as the run says.
    ema : bool, optional
        Averaged weights, or those of the last step. If None, as the run says.
    store : str or Path, optional
        The run's crop store, if it has moved.
    checkpoint : str or Path, optional
        Another checkpoint than the last one.
    hits : str or Path, optional
        Folder of ``grape-ops hits`` on the same store, whose findings are joined to ``obs``.

    Returns
    -------
    AnnData
        One row per gene, and one for the controls; ``X`` holds the vectors (float32), ``obs`` the numbers of cells and
        guides.

    Raises
    ------
    GrapeOpsError
        It is no run folder, or it has no checkpoint yet.

    Examples
    --------
    >>> vectors = go.embed_genes("run")
    >>> vectors.shape
    (5, 8)
    >>> list(vectors.obs_names)
    ['AAA', 'BBB', 'CCC', 'DDD', 'nontargeting']
    """
    place, at, found = path_or_none(store), path_or_none(checkpoint), path_or_none(hits)
    asked = {"position": position, "ema": ema, "store_path": place, "checkpoint": at, "hits": found}
    return embed_run(Path(run), **asked) if out is None else write_embedding(Path(run), Path(out), **asked)  # type: ignore[arg-type]


def run_method(
    method: str, store: Store, *, out: FileOrFolder | None = None, config: Settings = None, seed: int | None = None
) -> "AnnData":
    """Make the gene vectors of a method other than GRAPE on the same cells.

    Parameters
    ----------
    method : str
        Its name, such as ``statistics``, ``engineered`` or ``classifier``, or ``module:function`` for your own.
    store : str, Path or CropStore
        The cells.
    out : str or Path, optional
        File (.h5ad) to write as well.
    config : Config, str or Path, optional
        Settings; if None, the defaults, or for a method that trains GRAPE's networks a preset that suits the store.
    seed : int, optional
        Of whatever the method draws; ``config.seed`` if None.

    Returns
    -------
    AnnData
        One row per gene, and one for the controls.

    Raises
    ------
    GrapeOpsError
        There is no such method, something it needs is missing, or it cannot be restricted to ``features.channels``.

    Examples
    --------
    >>> go.run_method("statistics", "store").uns["method"]
    'statistics'
    """
    found = find_method(method)
    settings = settings_to_train(config, store) if found.trains else settings_of(config, store)
    if reads_all_channels(found, settings):
        able = ", ".join(name for name, other in METHODS.items() if other.by_channel)
        raise GrapeOpsError(
            f"{found.name} reads all channels and cannot be restricted to some (features.channels, --channels). "
            f"What can be: {able}; for any other method, make a store of these channels (screen.channels)."
        )
    number = settings.seed if seed is None else seed
    with tempfile.TemporaryDirectory() as folder:
        file = Path(out) if out is not None else Path(folder) / "genes.h5ad"
        write_baseline(method, path_of(store), file, seed=number, config=settings)
        return read_map(file)
