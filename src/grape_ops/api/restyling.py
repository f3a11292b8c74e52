"""Restyled cells as arrays, and whether they show the phenotypes of real knock-outs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops.api.inputs import FileOrFolder, Settings, names_of, path_or_none, settings_of
from grape_ops.restyle.phenotype_check import write_check
from grape_ops.restyle.phenotype_results import PHENOTYPE_TSV
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import CONTROL, draw_cells, draw_matching, gene_row


@dataclass(frozen=True)
class RestyledCells:
    """The same cells as they are and restyled, beside real knock-out cells.

    All images are float32, in standard deviations of the control cells of each cell's batch.
    Letters: n cells, C channels, H crop size in pixels.

    Attributes
    ----------
    source : whose cells they are.
    channels : (C,) names.
    real : (n, C, H, H) the cells as they are.
    unchanged : (n, C, H, H) the cells restyled to where they come from: what the generator does to every cell.
    restyled : gene -> (n, C, H, H) the cells restyled to it.
    knockout : gene -> (at most n, C, H, H) real cells of the gene, from the same batches.
    cells : one row per cell, with its gene, guide, well and place.
    """

    source: str
    channels: tuple[str, ...]
    real: np.ndarray
    unchanged: np.ndarray
    restyled: dict[str, np.ndarray]
    knockout: dict[str, np.ndarray]
    cells: pd.DataFrame


def restyle_cells(
    run: FileOrFolder,
    genes: str | Iterable[str],
    *,
    source: str = CONTROL,
    cells: int = 8,
    store: FileOrFolder | None = None,
    ema: bool = True,
    seed: int | None = None,
) -> RestyledCells:
    """Restyle cells to genes: what would these cells look like with the gene knocked out?

    Whether to believe them is what ``check_phenotypes`` tests.

    Parameters
    ----------
    run : str or Path
        Folder of the run.
    genes : str or several
        Genes to restyle to.
    source : str
        Whose cells are restyled: a gene, or ``control``.
    cells : int
        How many; they are drawn, not picked.
    store : str or Path, optional
        The run's crop store, if it has moved.
    ema : bool
        Use averaged weights where the run has them.
    seed : int, optional
        Draws the cells; the run's seed if None.

    Returns
    -------
    RestyledCells
        Arrays (cells, channels, height, width) in standard deviations of controls.

    Raises
    ------
    GrapeOpsError
        The run has no checkpoint, the store is another one, or a gene is unknown.

    Examples
    --------
    >>> made = go.restyle_cells("run", ["AAA", "BBB"], cells=3)
    >>> made.restyled["AAA"].shape
    (3, 2, 32, 32)
    """
    restyler = Restyler.open(Path(run), path_or_none(store), ema=ema)
    names, held = restyler.names, restyler.store
    number = restyler.run.config.seed if seed is None else seed
    origin = gene_row(names, source)
    rows = list(dict.fromkeys(gene_row(names, gene) for gene in names_of(genes)))
    drawn = draw_cells(held, origin, cells, number)
    unchanged, *made = restyler.images(drawn, restyler.styles([origin, *rows]))
    return RestyledCells(
        names[origin],
        held.channels,
        held.standardized(drawn),
        unchanged,
        {names[row]: images for row, images in zip(rows, made, strict=True)},
        {names[row]: held.standardized(draw_matching(held, row, drawn, number)) for row in rows},
        held.cells.iloc[drawn].reset_index(drop=True),
    )


def check_phenotypes(
    run: FileOrFolder,
    store: FileOrFolder,
    out: FileOrFolder,
    config: Settings = None,
    *,
    genes: str | Iterable[str] = (),
) -> pd.DataFrame:
    """Test whether restyled control cells show the phenotypes of real knock-outs.

    Parameters
    ----------
    run, store : str or Path
        Folder of the run, and of the store it was trained on.
    out : str or Path
        Folder for tables and figures.
    config : Config, str or Path, optional
        Settings; ``generate``, ``features`` and ``seed`` are read.
    genes : str or several
        Genes to check; all if none.

    Returns
    -------
    DataFrame
        One row per gene: ``separable`` (real cells differ significantly from controls), ``restyling_significant``,
        ``share`` and ``direction`` of the change, and more.

    Raises
    ------
    GrapeOpsError
        The extra ``features`` is not installed, the store is another one, or a gene is unknown.

    Examples
    --------
    >>> table = go.check_phenotypes("run", "store", "check", go.load_config(
    ...     overrides=["generate={cells: 12, trees: 10, bootstrap: 20, folds: 2}", "features.workers=1"]
    ... ), genes="AAA")  # doctest: +SKIP
    """
    settings = settings_of(config)
    chosen = names_of(genes)
    more = {"genes": chosen, "where": settings.where, "seed": settings.seed}
    write_check(Path(run), Path(store), Path(out), settings.generate, settings.features, **more)  # type: ignore[arg-type]
    return pd.read_csv(Path(out) / PHENOTYPE_TSV, sep="\t", keep_default_na=False, na_values=[""])
