"""Results for others: the report, and files for other tools."""

from pathlib import Path

from grape_ops.api.inputs import FileOrFolder, Settings, path_or_none, settings_of
from grape_ops.export import formats
from grape_ops.report import html


def write_report(
    run: FileOrFolder,
    out: FileOrFolder = "report.html",
    *,
    store: FileOrFolder | None = None,
    scores: FileOrFolder | None = None,
    phenotype: FileOrFolder | None = None,
    hits: FileOrFolder | None = None,
    truth: FileOrFolder | None = None,
) -> Path:
    """Write one self-contained page: scores, gene map, clusters, restyled cells, training, data quality.

    Parameters
    ----------
    run : str or Path
        Folder of the run.
    out : str or Path
        The HTML file.
    store : str or Path, optional
        The run's crop store, if it has moved.
    scores : str or Path, optional
        ``scores.json``; one beside the report or the run if None.
    phenotype : str or Path, optional
        Folder of a phenotype check; one beside the report or the run if None.
    hits : str or Path, optional
        Folder of ``grape-ops hits``; one beside the report or the run if None.
    truth : str or Path, optional
        Known complexes; those the training was watched by if None.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    GrapeOpsError
        It is no run folder, or something that was named cannot be used.

    Examples
    --------
    >>> go.write_report("run", "page.html").name
    'page.html'
    """
    html.write_report(
        Path(run),
        Path(out),
        store_path=path_or_none(store),
        scores=path_or_none(scores),
        truth=str(truth) if truth is not None else None,
        phenotype=path_or_none(phenotype),
        hits=path_or_none(hits),
    )
    return Path(out)


def export_run(run: FileOrFolder, out: FileOrFolder, form: str = "h5ad", config: Settings = None) -> Path:
    """Write a run's gene map, clusters or crops for other tools.

    Parameters
    ----------
    run : str or Path
        Folder of the run.
    out : str or Path
        File to write; a folder for ``ops-standard``.
    form : {"h5ad", "ops-standard", "clusters", "h5sc"}
        The format.
    config : Config, str or Path, optional
        Settings; ``export`` and ``evaluate`` are read.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    GrapeOpsError
        There is no such format, or something it needs is missing.

    Examples
    --------
    >>> two = go.load_config(overrides=["evaluate.k=2"])
    >>> go.export_run("run", "clusters.tsv", "clusters", two).name
    'clusters.tsv'
    """
    formats.export_run(Path(run), form, Path(out), settings_of(config))
    return Path(out)
