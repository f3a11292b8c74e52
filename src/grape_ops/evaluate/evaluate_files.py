"""Maps in, tables and files out: what the commands `evaluate`, `neighbours` and `clusters` do."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.atomic import drafts_of, write_text
from grape_ops.artifacts.hdf5 import opened_anndata
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder, check_table, warn_replaced, what_lies_at
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import discovery
from grape_ops.evaluate.chromosome_arms import corrected_maps, write_corrected
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.evaluate.maps import GeneMap, gene_map, known_hits, with_phenotype
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import score_table, tables, write_scores
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.groundtruth.names import cleaned_names
from grape_ops.groundtruth.truth import GroundTruth, KnownPairs, load_pairs, load_truth
from grape_ops.plotting.figure import save_figure
from grape_ops.plotting.score_figures import complexes_figure, differences_figure, scores_figure, sweep_figure
from grape_ops.progress import note
from grape_ops.schema import SCORES_JSON, UNS_METHOD, UNS_SIMULATED

if TYPE_CHECKING:
    from anndata import AnnData


def read_map(path: Path) -> "AnnData":
    """Read gene vectors.

    Raises
    ------
    GrapeOpsError : the file is missing or not an AnnData.
    """
    import anndata

    if not path.is_file():
        raise GrapeOpsError(
            f"Gene vectors are read from an .h5ad file, and at {path} there is {what_lies_at(path)}. "
            "`grape-ops embed RUN --out genes.h5ad` makes one."
        )
    with opened_anndata(path, "an AnnData file (.h5ad) of gene vectors"), warnings.catch_warnings():
        # A gene twice is refused with a sentence later on.
        warnings.filterwarnings("ignore", message="Observation names are not unique")
        adata = anndata.read_h5ad(path)
        adata.obs_names = pd.Index(cleaned_names(adata.obs_names.astype(str), path), name=adata.obs_names.name)
        return adata


def score_maps(
    named: "Mapping[str, AnnData | Sequence[AnnData]]",
    truth: GroundTruth,
    settings: EvaluateSettings,
    seed: int,
    *,
    out: Path | None = None,
    details: Path | None = None,
    pairs: Sequence[KnownPairs] = (),
    aliases: Aliases | None = None,
    hits_only: bool = False,
    arms: Mapping[str, str] | None = None,
    correct_arms: bool = False,
) -> list[MethodScores]:
    """Evaluate gene vectors; with ``out``, write all tables and figures.

    Parameters
    ----------
    named : name of each method -> its map, or those of several runs.
    truth : known complexes.
    settings, seed : of every number drawn.
    out : folder for ``scores.json`` and ``scores.csv``, and for tables and figures.
    details : another folder for tables and figures.
    pairs : lists of known pairs, for recall.
    aliases : other names of genes.
    hits_only : only genes with a phenotype.
    arms : gene -> chromosome arm, a further nuisance.
    correct_arms : evaluate each map without its arms' means beside the map, and write it to ``out``.

    Returns
    -------
    The records that ``scores.json`` holds.

    Raises
    ------
    GrapeOpsError : maps cannot be evaluated by this truth, or ``out`` holds something that is no evaluation.
    """
    if out is not None and details is None:
        check_folder(out, "an evaluation", marker=SCORES_JSON)
    if correct_arms and arms is None:
        raise GrapeOpsError("--correct-arms needs --arms TABLE, which says on which arm each gene lies.")
    corrected = corrected_maps(named, arms, aliases) if arms is not None and correct_arms else {}
    more = {"pairs": pairs, "aliases": aliases, "hits_only": hits_only, "arms": arms}
    scores = evaluate_maps({**named, **corrected}, truth, settings, seed, **more)  # type: ignore[arg-type]
    if out is None:
        return scores
    runs = (run for entry in named.values() for run in (entry if isinstance(entry, Sequence) else [entry]))
    with locked(details or out, "an evaluation"):
        warn_replaced(out / SCORES_JSON)
        write_scores(scores, out)  # first: it tells a later call that the rest is ours
        write_corrected(corrected, out)
        write_details(scores, details or out, simulated=is_simulated(runs))
    return scores


def is_simulated(maps: "Iterable[AnnData]") -> bool:
    """Whether any of the maps is of a screen that `grape-ops simulate` made."""
    return any(adata.uns.get(UNS_SIMULATED, False) for adata in maps)


def named_maps(
    maps: Sequence[Path] | None, groups: Sequence[str] | None = None
) -> "dict[str, AnnData | list[AnnData]]":
    """Read maps and groups of runs under the names they will have in the tables."""
    named: dict[str, AnnData | list[AnnData]] = {}
    for path in maps or ():
        adata = read_map(Path(path))
        method = str(adata.uns.get(UNS_METHOD, Path(path).stem))
        if method in named:
            method = f"{method} ({Path(path).stem})"
        _check_named_once(method, named)
        named[method] = adata
    for group in groups or ():
        method, equals, files = group.partition("=")
        runs = [Path(file.strip()) for file in files.split(",") if file.strip()]
        if not equals or not method.strip() or not runs:
            raise GrapeOpsError(f"--group needs NAME=A.h5ad,B.h5ad, the runs of one method; got {group!r}.")
        _check_named_once(method.strip(), named)
        named[method.strip()] = [read_map(run) for run in runs]
    return named


def _check_named_once(method: str, named: dict[str, Any]) -> None:
    if method in named:
        raise GrapeOpsError(f"Two maps are named {method}; rename a file, or make runs of one method a --group.")


def write_details(scores: Sequence[MethodScores], folder: Path, *, simulated: bool) -> None:
    """Write the tables of genes, complexes, differences, sweep, recall, clusters, unmatched genes, and the figures."""
    written = tables(scores)
    with drafts_of(*(folder / f"{name}.tsv" for name in written)) as drafts:
        for draft, table in zip(drafts, written.values(), strict=True):
            spreadsheet_safe(table).to_csv(draft, sep="\t", index=False)
    figures = {
        "sweep": sweep_figure(written["sweep"], scores[0].kmeans.k),
        "complexes": complexes_figure(written["complexes"]),
        "scores": scores_figure(score_table(scores)),
        "differences": differences_figure(written["differences"]),
    }
    for name, figure in figures.items():
        if figure is not None:
            save_figure(figure, folder / name, dpi=150, simulated=simulated)


def find_neighbours(
    gene: str,
    maps: "Sequence[Path | AnnData]",
    n: int = 20,
    *,
    truth: str | None = None,
    pairs: Sequence[Path] = (),
    aliases: Path | None = None,
    hits_only: bool = False,
    out: Path | None = None,
) -> pd.DataFrame:
    """Look up a gene's neighbours in a map, or in several runs of one method; see ``discovery.neighbours``.

    ``out`` is a file for the table.
    """
    names = load_aliases(aliases) if aliases is not None else Aliases()
    known = load_truth(truth).renamed(names) if truth is not None else None
    lists: list[KnownPairs] = [load_pairs(path, names) for path in pairs]
    runs, gene = _runs(maps, names), names.symbol.get(gene, gene)
    is_hit = known_hits(runs)
    if is_hit is not None and is_hit.get(gene) is False:
        if hits_only:
            raise GrapeOpsError(f"{gene} is no gene with a phenotype, and --hits-only leaves such genes out.")
        note(f"No evidence that {gene} has a phenotype: its neighbours mean little.")
    table = discovery.neighbours(_only(runs, hits_only), gene, n, known, lists)
    if out is not None:
        write_table(table, out)
    return table


def find_clusters(
    maps: "Sequence[Path | AnnData]",
    settings: EvaluateSettings,
    seed: int,
    *,
    resolution: float = 1.0,
    truth: str | None = None,
    aliases: Path | None = None,
    hits_only: bool = False,
    out: Path | None = None,
) -> pd.DataFrame:
    """Cluster the genes of a map, or of several runs of one method; see ``discovery.clusters``.

    k-means takes the place of Leiden when ``settings.k`` is set. With a truth and ``out``, what each cluster is
    enriched for goes to ``NAME.enrichment.tsv`` beside ``out``.
    """
    if truth is not None and out is None:
        raise GrapeOpsError("--truth needs --out FILE: what the clusters are enriched for is a table beside it.")
    names = load_aliases(aliases) if aliases is not None else Aliases()
    known = load_truth(truth).renamed(names) if truth is not None else None
    runs = _only(_runs(maps, names), hits_only)
    table = discovery.clusters(runs, settings, resolution, settings.k, np.random.default_rng(seed))
    if out is not None:
        write_table(table, out)
    if known is not None and out is not None:
        write_table(discovery.cluster_enrichment(table, known), out.with_suffix(".enrichment.tsv"))
    return table


def _runs(maps: "Sequence[Path | AnnData]", aliases: Aliases) -> list[GeneMap]:
    if not maps:
        raise GrapeOpsError("Name at least one .h5ad of gene vectors.")
    return [
        gene_map(read_map(source), str(source), aliases)
        if isinstance(source, Path)
        else gene_map(source, str(source.uns.get(UNS_METHOD, "the map")), aliases)
        for source in maps
    ]


def _only(runs: list[GeneMap], hits_only: bool) -> list[GeneMap]:
    """Restrict the runs of a map to genes with a phenotype, where that is asked for."""
    if not hits_only:
        return runs
    restricted, sentence = with_phenotype({"": runs})
    note(sentence)
    return restricted[""]


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table of genes as TSV; one of somebody else is not replaced."""
    check_table(out, [str(name) for name in table])
    write_text(out, as_tsv(table), tell=True)


def as_tsv(table: pd.DataFrame) -> str:
    """Show a table of genes as text."""
    return spreadsheet_safe(table).to_csv(sep="\t", index=False, float_format="%.6g")
