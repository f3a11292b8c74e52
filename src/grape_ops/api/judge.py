"""What can be believed: genes with a phenotype, scores of maps, neighbours, clusters, and methods compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from grape_ops.api.inputs import (
    FileOrFolder,
    Settings,
    Store,
    Truth,
    maps_of,
    names_of,
    path_of,
    path_or_none,
    paths_of,
    runs_of,
    settings_of,
    settings_to_train,
    store_of,
    truth_of,
)
from grape_ops.benchmark.compare import run_benchmark
from grape_ops.evaluate import evaluate_maps as scoring
from grape_ops.evaluate.evaluate_files import find_clusters, find_neighbours, write_details
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import read_scores, score_table, tables, write_scores
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.groundtruth.truth import load_pairs
from grape_ops.hits import find_hits as testing
from grape_ops.power.split_half import split_half
from grape_ops.schema import SCORES_JSON

if TYPE_CHECKING:
    from grape_ops.api.inputs import GeneMaps, NamedMaps


@dataclass(frozen=True)
class Scores:
    """Scores of gene maps.

    Attributes
    ----------
    records : one per method: everything that ``scores.json`` holds.
    """

    records: Sequence[MethodScores]

    @property
    def table(self) -> pd.DataFrame:
        """One row per method, one column per number."""
        return score_table(self.records)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Further tables by name: genes, complexes, differences, sweep, recall, leiden, unmatched."""
        return tables(self.records)

    def write(self, folder: FileOrFolder) -> Path:
        """Write ``scores.json``, ``scores.csv``, all tables and figures into a folder."""
        write_scores(self.records, Path(folder))
        write_details(self.records, Path(folder))
        return Path(folder)

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False)


def find_hits(store: Store, config: Settings = None) -> testing.Hits:
    """Test which genes have a phenotype, by what their guides share.

    Parameters
    ----------
    store : str, Path or CropStore
        The cells; no training is needed.
    config : Config, str or Path, optional
        Settings; ``hits`` and ``seed`` are read.

    Returns
    -------
    Hits
        ``genes``: a DataFrame with one row per gene, the most significant first (effect in standard deviations of
        single cells, ``p_value``, ``q_value``, ``is_hit``, ...); ``guides``: one row per guide; ``pseudo_genes``:
        p-values of groups of non-targeting guides, which are uniform where the test is calibrated.

    Raises
    ------
    GrapeOpsError
        The cells name no guides, there are fewer than two control guides, or nothing can be tested.

    Examples
    --------
    >>> hits = go.find_hits("store")
    >>> sorted(hits.genes["gene_symbol"])
    ['AAA', 'BBB', 'CCC', 'DDD']
    >>> int(hits.guides["n_cells"].sum())
    60
    """
    return testing.find_hits(store_of(store), settings_of(config))


def evaluate_maps(
    maps: "GeneMaps | NamedMaps",
    truth: Truth,
    config: Settings = None,
    *,
    pairs: FileOrFolder | Iterable[FileOrFolder] = (),
    aliases: FileOrFolder | None = None,
) -> Scores:
    """Score gene vectors by known complexes.

    Parameters
    ----------
    maps : AnnData, str or Path, several of them, or a mapping
        Gene vectors (``obs_names`` are symbols); a mapping gives names, and a list in it several runs of one method.
    truth : str, Path or DataFrame
        Known complexes: a built-in name, a file, or a table with columns ``gene_symbol`` and ``complex``.
    config : Config, str or Path, optional
        Settings; ``evaluate`` and ``seed`` are read.
    pairs : str or Path, or several
        Lists of known pairs, for recall.
    aliases : str or Path, optional
        Table of other names of genes.

    Returns
    -------
    Scores
        ``table``: a DataFrame with one row per method; ``tables``: those of genes, complexes, differences and more;
        ``write(folder)`` writes what the command writes.

    Raises
    ------
    GrapeOpsError
        Maps or truth cannot be evaluated; the message says why.

    Examples
    --------
    >>> scores = go.evaluate_maps(["genes.h5ad", "statistics.h5ad"], "truth.tsv", "tiny.yaml")
    >>> scores.table["method"].tolist()
    ['GRAPE M', 'statistics']
    >>> sorted(scores.tables)
    ['complexes', 'differences', 'genes', 'leiden', 'recall', 'sweep', 'unmatched']
    """
    settings, names = settings_of(config), load_aliases(Path(aliases)) if aliases is not None else None
    lists = [load_pairs(file, names) for file in paths_of(pairs)]
    known = truth_of(truth)
    return Scores(
        scoring.evaluate_maps(maps_of(maps), known, settings.evaluate, settings.seed, pairs=lists, aliases=names)
    )


def nearest_genes(
    gene: str,
    maps: "GeneMaps",
    *,
    n: int = 20,
    truth: FileOrFolder | None = None,
    pairs: FileOrFolder | Iterable[FileOrFolder] = (),
    aliases: FileOrFolder | None = None,
) -> pd.DataFrame:
    """List the nearest genes of a gene.

    Parameters
    ----------
    gene : str
        Symbol.
    maps : AnnData, str or Path, or several
        Gene vectors; several runs of one method give support.
    n : int
        How many.
    truth, pairs, aliases : str or Path
        Known complexes and pairs, which name relations, and other names of genes.

    Returns
    -------
    DataFrame
        One row per neighbour: ``gene_symbol``, ``rank``, ``cosine``, ``mutual_rank``, ``support`` (0 to 1; empty for
        one run), ``relation``.

    Raises
    ------
    GrapeOpsError
        The gene is not in every map; the message proposes similar symbols.

    Examples
    --------
    >>> near = go.nearest_genes("AAA", "genes.h5ad", n=2)
    >>> near["rank"].tolist()
    [1, 2]
    """
    known, lists = str(truth) if truth is not None else None, paths_of(pairs)
    return find_neighbours(gene, runs_of(maps), n, truth=known, pairs=lists, aliases=path_or_none(aliases))


def cluster_genes(
    maps: "GeneMaps",
    config: Settings = None,
    *,
    resolution: float = 1.0,
    aliases: FileOrFolder | None = None,
) -> pd.DataFrame:
    """Cluster all genes of a map.

    Parameters
    ----------
    maps : AnnData, str or Path, or several
        Gene vectors; several runs of one method give support.
    config : Config, str or Path, optional
        Settings; with ``evaluate.k`` k-means is used in place of Leiden.
    resolution : float
        Of Leiden; larger gives more clusters.
    aliases : str or Path, optional
        Table of other names of genes.

    Returns
    -------
    DataFrame
        ``gene_symbol``, ``cluster`` (from 1, the largest first), ``support`` (0 to 1).

    Raises
    ------
    GrapeOpsError
        igraph is not installed, and ``evaluate.k`` is not set.

    Examples
    --------
    >>> clusters = go.cluster_genes("genes.h5ad", go.load_config(overrides=["evaluate.k=2"]))
    >>> sorted(clusters["cluster"].unique().tolist())
    [1, 2]
    """
    settings, names = settings_of(config), path_or_none(aliases)
    return find_clusters(runs_of(maps), settings.evaluate, settings.seed, resolution=resolution, aliases=names)


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
    >>> done.table["method"].tolist()
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
    return Scores(read_scores(folder / SCORES_JSON))


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
    split_half(path_of(store), Path(out), names_of(methods), settings_to_train(config, store), at_a_time=jobs)
    return pd.read_csv(Path(out) / "reproducibility.tsv", sep="\t")
