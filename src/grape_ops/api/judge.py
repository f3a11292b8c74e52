"""What can be believed: genes with a phenotype, scores of maps, neighbours and clusters."""

from collections.abc import Iterable, Sequence
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
    path_or_none,
    paths_of,
    runs_of,
    settings_of,
    store_of,
    truth_of,
)
from grape_ops.evaluate.evaluate_files import (
    find_clusters,
    find_neighbours,
    is_simulated,
    score_maps,
    write_details,
)
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import score_table, tables, write_scores
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.groundtruth.chromosome_arms import load_arms
from grape_ops.groundtruth.truth import load_pairs
from grape_ops.hits import find_hits as testing
from grape_ops.hits.write_hits import write_hits

if TYPE_CHECKING:
    from grape_ops.api.inputs import GeneMaps, NamedMaps


@dataclass(frozen=True)
class Scores:
    """Scores of gene maps.

    Attributes
    ----------
    records : one per method: everything that ``scores.json`` holds.
    simulated : whether a map is of a simulated screen, as figures then say.
    """

    records: Sequence[MethodScores]
    simulated: bool = False

    @property
    def table(self) -> pd.DataFrame:
        """One row per method and score, with interval, chance and definition."""
        return score_table(self.records)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Further tables by name: genes, complexes, differences, sweep, recall, leiden, unmatched."""
        return tables(self.records)

    def write(self, folder: FileOrFolder) -> Path:
        """Write ``scores.json``, ``scores.csv``, all tables and figures into a folder."""
        write_scores(self.records, Path(folder))
        write_details(self.records, Path(folder), simulated=self.simulated)
        return Path(folder)

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False)


def find_hits(store: Store, config: Settings = None, *, out: FileOrFolder | None = None) -> testing.Hits:
    """Test which genes have a phenotype, by what their guides share.

    Parameters
    ----------
    store : str, Path or CropStore
        The cells; no training is needed.
    config : Config, str or Path, optional
        Settings; ``hits``, ``seed``, and those of the features are read (``hits.features``, ``features.channels``).
    out : str or Path, optional
        Folder for the tables and figures that ``grape-ops hits`` writes.

    Returns
    -------
    Hits
        ``genes``: a DataFrame with one row per gene, the most significant first (effect in standard deviations of
        single cells, ``p_value``, ``q_value``, ``is_hit``, ...); ``guides``: one row per guide; ``pseudo_genes``:
        p-values of groups of non-targeting guides, which are uniform where the test is calibrated; ``channels``: one
        row per gene and channel. ``print`` says in a few lines what was found.

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
    settings = settings_of(config)
    cells = store_of(store, settings.where)
    return testing.find_hits(cells, settings) if out is None else write_hits(cells, Path(out), settings)


def evaluate_maps(
    maps: "GeneMaps | NamedMaps",
    truth: Truth,
    config: Settings = None,
    *,
    pairs: FileOrFolder | Iterable[FileOrFolder] = (),
    aliases: FileOrFolder | None = None,
    hits_only: bool = False,
    arms: FileOrFolder | None = None,
    correct_arms: bool = False,
    out: FileOrFolder | None = None,
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
    hits_only : bool
        Keep only the genes with a phenotype, which the ``is_hit`` of a map names.
    arms : str or Path, optional
        Table of genes and their chromosome arms, or locations such as 17q21.31: scored as a nuisance.
    correct_arms : bool
        Score each map without the means of its arms as well; these maps are written to ``out``.
    out : str or Path, optional
        Folder for the scores, tables and figures that ``grape-ops evaluate`` writes.

    Returns
    -------
    Scores
        ``table``: a DataFrame with one row per method and score; ``tables``: those of genes, complexes, differences
        and more; ``write(folder)`` writes what the command writes.

    Raises
    ------
    GrapeOpsError
        Maps or truth cannot be evaluated; the message says why.

    Examples
    --------
    >>> scores = go.evaluate_maps(["genes.h5ad", "statistics.h5ad"], "truth.tsv", "tiny.yaml")
    >>> sorted(set(scores.table["method"]))
    ['GRAPE M', 'statistics']
    >>> sorted(scores.tables)
    ['complexes', 'differences', 'genes', 'leiden', 'recall', 'sweep', 'unmatched']
    """
    settings, names = settings_of(config), load_aliases(Path(aliases)) if aliases is not None else None
    lists = [load_pairs(file, names) for file in paths_of(pairs)]
    known, named = truth_of(truth), maps_of(maps)
    of_genes = load_arms(arms, names) if arms is not None else None
    records = score_maps(
        named,
        known,
        settings.evaluate,
        settings.seed,
        out=path_or_none(out),
        pairs=lists,
        aliases=names,
        hits_only=hits_only,
        arms=of_genes,
        correct_arms=correct_arms,
    )
    return Scores(records, is_simulated(run for runs in named.values() for run in runs))


def nearest_genes(
    gene: str,
    maps: "GeneMaps",
    *,
    n: int = 20,
    truth: FileOrFolder | None = None,
    pairs: FileOrFolder | Iterable[FileOrFolder] = (),
    aliases: FileOrFolder | None = None,
    hits_only: bool = False,
    out: FileOrFolder | None = None,
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
    hits_only : bool
        Keep only the genes with a phenotype, which the map's ``is_hit`` names.
    out : str or Path, optional
        File (.tsv) to write as well.

    Returns
    -------
    DataFrame
        One row per neighbour: ``gene_symbol``, ``rank``, ``cosine``, ``mutual_rank``, ``support`` (0 to 1; empty for
        one run), ``relation``. Genes that point away (a negative cosine) are no neighbours, so there may be fewer.

    Raises
    ------
    GrapeOpsError
        The gene is not in every map; the message proposes similar symbols.

    Examples
    --------
    >>> near = go.nearest_genes("AAA", "genes.h5ad", n=2)
    >>> list(near)[:3]
    ['gene_symbol', 'rank', 'cosine']
    """
    known, lists, names = str(truth) if truth is not None else None, paths_of(pairs), path_or_none(aliases)
    more = {"aliases": names, "hits_only": hits_only, "out": path_or_none(out)}
    return find_neighbours(gene, runs_of(maps), n, truth=known, pairs=lists, **more)  # type: ignore[arg-type]


def cluster_genes(
    maps: "GeneMaps",
    config: Settings = None,
    *,
    resolution: float = 1.0,
    truth: FileOrFolder | None = None,
    aliases: FileOrFolder | None = None,
    hits_only: bool = False,
    out: FileOrFolder | None = None,
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
    truth : str or Path, optional
        Known complexes; what the clusters are enriched for is then written beside ``out``.
    aliases : str or Path, optional
        Table of other names of genes.
    hits_only : bool
        Keep only the genes with a phenotype, which the map's ``is_hit`` names.
    out : str or Path, optional
        File (.tsv) to write as well.

    Returns
    -------
    DataFrame
        ``gene_symbol``, ``cluster`` (from 1, the largest first), ``support`` (0 to 1).

    Raises
    ------
    GrapeOpsError
        igraph is not installed, and ``evaluate.k`` is not set; or there is a truth and no ``out``.

    Examples
    --------
    >>> clusters = go.cluster_genes("genes.h5ad", go.load_config(overrides=["evaluate.k=2"]))
    >>> sorted(clusters["cluster"].unique().tolist())
    [1, 2]
    """
    settings, known = settings_of(config), str(truth) if truth is not None else None
    asked = {"resolution": resolution, "truth": known, "aliases": path_or_none(aliases), "hits_only": hits_only}
    asked["out"] = path_or_none(out)
    return find_clusters(runs_of(maps), settings.evaluate, settings.seed, **asked)  # type: ignore[arg-type]
