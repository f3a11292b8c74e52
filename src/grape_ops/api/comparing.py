"""Methods compared on the same cells, and maps compared with those of other cells."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from grape_ops.api.inputs import (
    FileOrFolder,
    Settings,
    Store,
    names_of,
    path_of,
    path_or_none,
    paths_of,
    settings_to_train,
    store_of,
)
from grape_ops.api.judge import Scores
from grape_ops.benchmark.run_benchmark import run_benchmark
from grape_ops.evaluate.scores import read_scores
from grape_ops.power.split_half import split_half
from grape_ops.schema import SCORES_JSON


def compare_methods(
    store: Store,
    truth: FileOrFolder,
    out: FileOrFolder,
    config: Settings = None,
    *,
    methods: str | Iterable[str] = (),
    maps: Mapping[str, FileOrFolder] | None = None,
    seeds: int = 3,
    jobs: int = 0,
    work: FileOrFolder | None = None,
    pairs: FileOrFolder | Iterable[FileOrFolder] = (),
    aliases: FileOrFolder | None = None,
) -> Scores:
    """Run GRAPE and other methods on the same cells and score them; continues if interrupted.

    Parameters
    ----------
    store : str, Path or CropStore
        The cells.
    truth : str or Path
        Known complexes: a built-in name or a file.
    out : str or Path
        Folder for the table, the scores and everything behind them.
    config : Config, str or Path, optional
        Settings; if None, a preset that suits the store.
    methods : str or several
        Their names; all that can run if none.
    maps : mapping, optional
        Gene vectors of your own: name -> file (.h5ad).
    seeds : int
        Runs of each method that draws random numbers.
    jobs : int
        Methods run at the same time; 0 takes one per core or GPU.
    work : str or Path, optional
        Folder of the single runs; calls that share it share trainings.
    pairs, aliases : str or Path
        Lists of known pairs, and a table of other names of genes.

    Returns
    -------
    Scores
        Of all methods on the same genes; ``out/table.txt`` holds the table of the paper's form.

    Raises
    ------
    GrapeOpsError
        A method is unknown or lacks what it needs, or the truth does not cover the genes.

    Examples
    --------
    >>> done = go.compare_methods("store", "truth.tsv", "comparison", "tiny.yaml", methods="random", seeds=1, jobs=1)
    >>> sorted(set(done.table["method"]))
    ['random']
    """
    chosen, folder, lists = names_of(methods), Path(out), paths_of(pairs)
    own = {name: Path(file) for name, file in (maps or {}).items()}
    settings, place, names = settings_to_train(config, store), path_or_none(work), path_or_none(aliases)
    run_benchmark(
        path_of(store),
        str(truth),
        folder,
        settings,
        methods=chosen,
        maps=own,
        seeds=seeds,
        at_a_time=jobs,
        pairs=lists,
        aliases=names,
        work=place,
    )
    return Scores(read_scores(folder / SCORES_JSON), store_of(store).simulated)


def compare_halves(
    store: Store,
    out: FileOrFolder,
    config: Settings = None,
    *,
    methods: str | Iterable[str] = "grape",
    jobs: int = 0,
) -> pd.DataFrame:
    """Make maps twice, from disjoint halves of the cells, and say whether the two agree.

    Parameters
    ----------
    store : str, Path or CropStore
        The cells.
    out : str or Path
        Folder for tables and figures; ``genes.tsv`` says which genes to believe.
    config : Config, str or Path, optional
        Settings; if None, a preset that suits the store.
    methods : str or several
        Their names.
    jobs : int
        Runs at the same time; 0 takes one per core or GPU.

    Returns
    -------
    DataFrame
        One row per map: how far its two halves agree.

    Raises
    ------
    GrapeOpsError
        A method is unknown, or cannot be made from half of the cells.

    Examples
    --------
    >>> table = go.compare_halves("store", "halves", "tiny.yaml", methods="statistics", jobs=1)
    >>> table["method"].tolist()
    ['statistics']
    """
    settings = settings_to_train(config, store)
    return split_half(path_of(store), Path(out), names_of(methods), settings, at_a_time=jobs)
