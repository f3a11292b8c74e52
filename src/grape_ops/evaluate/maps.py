"""From tables to arrays: gene vectors of several methods and runs, brought to one set of genes."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.cells.genes import BATCH_COMPOSITION
from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.hits_results import is_hit_of
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.truth import GroundTruth, membership
from grape_ops.schema import OBS_IS_CONTROL, OBS_IS_HIT, OBS_N_CELLS
from grape_ops.words import counted, some_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


CONTROL = re.compile(ScreenSettings().control_pattern, re.IGNORECASE)


@dataclass(frozen=True)
class GeneMap:
    """One run's vectors, controls left out.

    Attributes
    ----------
    method : the entry it belongs to.
    genes : symbols, each once.
    vectors : (N, d) float64, all finite.
    nuisance : what vectors should not predict: "batch" (N, batches) and "cells" (N, 1), where the map holds them.
    is_hit : whether genes have a phenotype, of those that were tested; None where the map does not say.
    """

    method: str
    genes: tuple[str, ...]
    vectors: np.ndarray
    nuisance: dict[str, np.ndarray] = field(default_factory=dict)
    is_hit: dict[str, bool] | None = None

    def rows(self, genes: Sequence[str]) -> np.ndarray:
        """Positions of some of its genes."""
        position = {gene: row for row, gene in enumerate(self.genes)}
        return np.array([position[gene] for gene in genes], dtype=np.int64)

    def of(self, genes: Collection[str]) -> "GeneMap":
        """Take some of its genes; what it has not is left out."""
        kept = [row for row, gene in enumerate(self.genes) if gene in genes]
        nuisance = {kind: values[kept] for kind, values in self.nuisance.items()}
        return replace(
            self, genes=tuple(self.genes[row] for row in kept), vectors=self.vectors[kept], nuisance=nuisance
        )


def gene_map(adata: "AnnData", method: str, aliases: Aliases | None = None) -> GeneMap:
    """Take the vectors out of an AnnData and check them.

    Raises
    ------
    GrapeOpsError : a gene twice, fewer than two genes, no columns, or vectors that are not finite numbers.
    """
    names = [str(name) for name in adata.obs_names]
    kept = np.flatnonzero(~control_rows(adata, method))
    genes = [names[row] for row in kept]
    _check_unique(genes, method)
    if adata.X is None or adata.shape[1] == 0:
        raise GrapeOpsError(f"{method} holds no vectors: they belong into X of the AnnData, one row per gene.")
    matrix = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    vectors = matrix[kept].astype(np.float64)
    if len(genes) < 2:
        raise GrapeOpsError(
            f"{method} holds {counted(len(genes), 'genes')} besides controls; evaluating a map takes at least two."
        )
    broken = [genes[row] for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1))]
    if broken:
        raise GrapeOpsError(
            f"{method}: vectors with numbers that are not finite: {len(broken)} of {counted(len(genes), 'genes')} "
            f"({some_of(broken, 8)}). Leave these out or fill the gaps before evaluating."
        )
    renamed = (aliases or Aliases()).rename(genes)
    nuisance = _nuisance(adata, kept, method)
    is_hit = is_hit_of(adata, method)
    if is_hit is not None:
        is_hit = {renamed[gene]: is_hit[gene] for gene in genes if gene in is_hit}
    return GeneMap(method, tuple(renamed[gene] for gene in genes), vectors, nuisance, is_hit)


def control_rows(adata: "AnnData", method: str) -> np.ndarray:
    """Which rows are controls, by their name or by their mark: (rows,) bool."""
    control = np.array([CONTROL.match(str(name)) is not None for name in adata.obs_names], dtype=bool)
    if OBS_IS_CONTROL in adata.obs:
        control |= _marked(adata.obs[OBS_IS_CONTROL], method)
    return control


def _marked(column: "pd.Series", method: str) -> np.ndarray:
    """Rows marked as controls: booleans, 0 and 1, or the words true and false."""
    words = column.astype(str).str.lower()
    if not words.isin(["true", "false", "1", "0", "1.0", "0.0"]).all():
        raise GrapeOpsError(f'{method}: obs["{OBS_IS_CONTROL}"] needs true or false in every row.')
    return words.isin(["true", "1", "1.0"]).to_numpy()


def _nuisance(adata: "AnnData", kept: np.ndarray, method: str) -> dict[str, np.ndarray]:
    """What the map holds of its genes' batches and cells, for the rows kept.

    Raises
    ------
    GrapeOpsError : a table that is there holds something else than counts or shares.
    """
    tables = {}
    if BATCH_COMPOSITION in adata.obsm:
        name = f'{method}: obsm["{BATCH_COMPOSITION}"] (shares of batches)'
        shares = _numbers(adata.obsm[BATCH_COMPOSITION], kept, name)
        tables["batch"] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    if OBS_N_CELLS in adata.obs:
        name = f'{method}: obs["{OBS_N_CELLS}"] (cells of each gene)'
        tables["cells"] = np.log1p(_numbers(adata.obs[[OBS_N_CELLS]], kept, name))
    return tables


def _numbers(table: Any, kept: np.ndarray, name: str) -> np.ndarray:
    """Read a table as numbers from 0 on: (rows, t) -> (kept rows, t) float64."""
    try:
        numbers = np.asarray(table.toarray() if hasattr(table, "toarray") else table, dtype=np.float64)[kept]
    except (TypeError, ValueError):
        raise GrapeOpsError(f"{name} needs numbers.") from None
    wrong = int((~(np.isfinite(numbers) & (numbers >= 0)).all(axis=1)).sum())
    if wrong:
        raise GrapeOpsError(
            f"{name} needs a number from 0 on for every gene; missing for {wrong} of {counted(len(kept), 'genes')}. "
            "Fill the gaps or remove it."
        )
    return numbers


def _check_unique(genes: Sequence[str], method: str) -> None:
    seen: set[str] = set()
    twice = sorted({gene for gene in genes if gene in seen or seen.add(gene)})  # type: ignore[func-returns-value]
    if twice:
        raise GrapeOpsError(
            f"{method} holds {counted(len(twice), 'gene symbols')} more than once ({some_of(twice, 8)}); "
            "average or drop the extra rows."
        )


def _case_hint(genes: Sequence[str], truth: GroundTruth) -> str:
    folded = {gene.casefold() for gene in truth.genes}
    alike = sum(gene.casefold() in folded for gene in genes)
    if alike:
        return f"{counted(alike, 'genes')} would be if case did not count: write symbols as the truth does."
    return "If they name genes differently, give an alias table."


def gene_maps(
    maps: "Mapping[str, AnnData | Sequence[AnnData]]", aliases: Aliases | None = None
) -> dict[str, list[GeneMap]]:
    """Check the maps of every method; a method is one AnnData or several runs of it."""
    if not maps:
        raise GrapeOpsError("There is no gene map to evaluate: name .h5ad files, or give --group NAME=A.h5ad,B.h5ad.")
    methods = {}
    for method, runs in maps.items():
        several = list(runs) if isinstance(runs, list | tuple) else [runs]
        if not several:
            raise GrapeOpsError(f"{method} has no run.")
        methods[method] = [gene_map(run, method, aliases) for run in several]
    return methods


def known_hits(maps: Sequence[GeneMap]) -> dict[str, bool] | None:
    """Whether genes have a phenotype, by the first map that says so; it belongs to the screen, and not to a map."""
    return next((run.is_hit for run in maps if run.is_hit is not None), None)


def with_phenotype(methods: Mapping[str, Sequence[GeneMap]]) -> tuple[dict[str, list[GeneMap]], str]:
    """Restrict maps to genes with a phenotype (``--hits-only``), and say in a sentence how many remain.

    Raises
    ------
    GrapeOpsError : no map says which genes have a phenotype, or fewer than two have.
    """
    is_hit = known_hits([run for runs in methods.values() for run in runs])
    if is_hit is None:
        raise GrapeOpsError(
            f'--hits-only: no map has a column "{OBS_IS_HIT}" in obs, which says which genes have a phenotype. '
            "`grape-ops embed RUN --hits HITS` writes it, with HITS from `grape-ops hits STORE --out HITS`."
        )
    kept = {gene for gene, hit in is_hit.items() if hit}
    if len(kept) < 2:
        raise GrapeOpsError(
            f"--hits-only: {len(kept)} of {len(is_hit)} tested genes are hits, and a map takes at least two."
        )
    restricted = {method: [run.of(kept) for run in runs] for method, runs in methods.items()}
    return restricted, f"Only genes with a phenotype are in the map: {len(kept)} of {len(is_hit)} tested."


@dataclass(frozen=True)
class EvaluationTask:
    """What all methods are evaluated on.

    Attributes
    ----------
    truth : the ground truth, genes renamed by the aliases.
    genes : genes that every run of every method has, sorted.
    labelled : positions, among these, of the genes in any complex.
    complexes : names of the complexes with at least one labelled gene.
    membership : (labelled genes, complexes) bool.
    single : positions, among the labelled, of the genes in exactly one complex; clusterings are scored on them.
    single_complex : their complex, numbered from 0 without gaps.
    """

    truth: GroundTruth
    genes: tuple[str, ...]
    labelled: np.ndarray
    complexes: tuple[str, ...]
    membership: np.ndarray
    single: np.ndarray
    single_complex: np.ndarray

    @property
    def labelled_genes(self) -> list[str]:
        """Symbols of the labelled genes."""
        return [self.genes[row] for row in self.labelled]

    @property
    def all_membership(self) -> np.ndarray:
        """(all common genes, complexes) bool."""
        table = np.zeros((len(self.genes), len(self.complexes)), dtype=bool)
        table[self.labelled] = self.membership
        return table


def make_task(methods: Mapping[str, Sequence[GeneMap]], truth: GroundTruth) -> EvaluationTask:
    """Find the common genes and their complexes.

    Raises
    ------
    GrapeOpsError : the maps share no gene, no common gene is in the truth, or fewer than two complexes have two
        genes.
    """
    sets = [set(run.genes) for runs in methods.values() for run in runs]
    genes = tuple(sorted(set.intersection(*sets)))
    sizes = ", ".join(f"{name} {len(runs[0].genes)}" for name, runs in methods.items())
    if not genes:
        raise GrapeOpsError(f"The maps share no gene (genes: {sizes}). Do they all name genes by the same symbols?")
    table = membership(truth, genes)
    names = np.array(list(truth.complexes), dtype=object)
    labelled = np.flatnonzero(table.any(axis=1))
    if not len(labelled):
        raise GrapeOpsError(
            f"None of the {len(genes)} genes of the maps ({some_of(genes, 8)}) is in the truth {truth.name} "
            f"({some_of(truth.genes, 8)}). {_case_hint(genes, truth)}"
        )
    usable = int(np.sum(table.sum(axis=0) >= 2))
    if usable < 2:
        raise GrapeOpsError(
            f"Of the {len(names)} complexes of {truth.name} only {usable} with two genes or more in the maps "
            f"({len(labelled)} labelled genes of {len(genes)}); evaluating takes at least two such complexes."
        )
    found = table.any(axis=0)
    member = table[labelled][:, found]
    single = np.flatnonzero(member.sum(axis=1) == 1)
    _, single_complex = np.unique(member[single].argmax(axis=1), return_inverse=True)
    return EvaluationTask(truth, genes, labelled, tuple(names[found]), member, single, single_complex)
