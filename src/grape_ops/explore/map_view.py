"""One gene map as the page shows it: positions in the plane, columns to colour by, clusters, neighbours.

Letters: N genes, V length of a vector.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.cells.genes import BATCH_COMPOSITION, BATCH_NAMES
from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.confounding import in_words, nuisance_score
from grape_ops.evaluate.discovery import cluster_enrichment, clusters, common_vectors, neighbours
from grape_ops.evaluate.hits_results import JOINED
from grape_ops.evaluate.leiden import available
from grape_ops.evaluate.maps import control_rows, gene_map
from grape_ops.evaluate.records import NuisanceScores
from grape_ops.evaluate.retrieval import nearest, neighbour_count
from grape_ops.explore.findings import Findings
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.truth import GroundTruth, KnownPairs
from grape_ops.report.projection import neighbours_in_words, principal_components, projections
from grape_ops.schema import GENE, OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES

if TYPE_CHECKING:
    from anndata import AnnData

LEVELS = 200  # a text column with more different values is no column to colour by
LABELS = {OBS_N_CELLS: "cells", OBS_N_GUIDES: "guides"}


class MapView:
    """A method's map; of several runs the first is drawn, and all give support.

    Attributes
    ----------
    name : the method.
    runs : its runs, controls left out.
    genes : the N symbols that all runs have, sorted.
    table : the first run's AnnData, rows in the order of ``genes``, renamed by the aliases.
    controls : names of the control rows of the first run.
    is_own : whether these are the vectors of the run that is explored.
    keep : the run folder, which keeps what the report draws too.
    compared : whether maps of halves of the cells were compared gene by gene.
    """

    def __init__(
        self,
        name: str,
        maps: "Sequence[AnnData]",
        aliases: Aliases,
        seed: int,
        *,
        is_own: bool = False,
        keep: Path | None = None,
        compared: bool = False,
    ):
        self.name = name
        self.is_own = is_own
        self.keep = keep
        self.compared = compared
        self.seed = seed
        self.runs = [gene_map(adata, name, aliases) for adata in maps]
        self.genes, vectors = common_vectors(self.runs)
        self.vectors = vectors[0]
        first = maps[0]
        control = control_rows(first, name)
        of_genes = np.flatnonzero(~control)[self.runs[0].rows(self.genes)]
        self._rows = np.concatenate([of_genes, np.flatnonzero(control)])
        self.table = first[of_genes].copy()
        self.table.obs_names = pd.Index(self.genes, name=GENE)
        controls = first[np.flatnonzero(control)]
        self.controls = [str(gene) for gene in controls.obs_names]
        self._control_vectors = np.asarray(controls.X.toarray() if hasattr(controls.X, "toarray") else controls.X)
        self._given = _given_planes(first, self._rows)
        self._lock = RLock()
        self._details: dict[int, dict[str, Any]] = {}
        self._near: dict[int, np.ndarray] = {}

    @cached_property
    def planes(self) -> dict[str, np.ndarray]:
        """Name -> (N + controls, 2); a UMAP that the file brings is taken as it is."""
        vectors = np.concatenate([self.vectors, self._control_vectors.reshape(-1, self.vectors.shape[1])])
        if not self._given:
            # In the order of the file, as the report draws them: UMAP depends on it.
            order = np.argsort(self._rows)
            drawn = projections(vectors[order], self.seed, self.name, keep=self.keep)
            return {name: plane[np.argsort(order)] for name, plane in drawn.items()}
        plane, share = principal_components(vectors)
        return self._given | {f"PCA ({share:.0%} of the variance)": plane}

    @cached_property
    def neighbours_in_words(self) -> str:
        """From which cosine on neighbours are unusual, and what one run does not tell."""
        return neighbours_in_words(self.vectors, len(self.runs), compared=self.compared)

    def near(self, settings: EvaluateSettings) -> np.ndarray:
        """Nearest genes of each gene in the first run: (N, n)."""
        n = neighbour_count(len(self.genes), settings.neighbours)
        with self._lock:
            if n not in self._near:
                self._near[n] = nearest(self.vectors, n)
            return self._near[n]

    def shares(self) -> pd.DataFrame | None:
        """Share of each gene's cells in each batch (N, batches), if the map holds it and there are several."""
        shares = self.table.obsm.get(BATCH_COMPOSITION)
        if shares is None or shares.shape[1] < 2:
            return None
        known = list(self.table.uns.get(BATCH_NAMES, ()))
        if len(known) != shares.shape[1]:  # a map of somebody else's
            known = [f"batch {i + 1}" for i in range(shares.shape[1])]
        values = np.asarray(shares, dtype=np.float64)
        return pd.DataFrame(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-12), self.genes, known)

    def columns(self, truth: GroundTruth | None, findings: Findings | None = None) -> list[dict[str, Any]]:
        """Everything genes can be coloured by, ready for JSON; clusters come from ``details``.

        What ``findings`` say of genes stands in for what the map's file may hold of it.
        """
        found = []
        if truth is not None:
            home = {gene: name for name, genes in reversed(truth.complexes.items()) for gene in genes}
            found.append(_categories("complex", "complex", [home.get(gene) for gene in self.genes]))
        found += findings.columns(self.genes) if findings is not None else []
        told = set(JOINED.values()) if findings is not None else set()
        for name in self.table.obs.columns:
            if name not in {OBS_IS_CONTROL, *told}:
                found += _column(str(name), self.table.obs[name])
        shares = self.shares()
        if shares is not None:
            found.append(_categories("main_batch", "main batch", [str(batch) for batch in shares.idxmax(axis=1)]))
            found.append(_numbers("main_share", "share in main batch", shares.max(axis=1)))
            if shares.shape[1] <= 24:
                found += [_numbers(f"share in {batch}", f"share in {batch}", shares[batch]) for batch in shares]
        return found

    def details(
        self,
        settings: EvaluateSettings,
        choice: int,
        truth: GroundTruth | None,
        known: NuisanceScores | None = None,
    ) -> dict[str, Any]:
        """Clusters with their enrichment, and how well neighbours predict batches and cell numbers.

        ``choice`` counts ``clusterings``; everything is computed once. ``known`` are nuisance scores of this map.
        """
        with self._lock:
            if choice not in self._details:
                found, rows = self._clusters(settings, choice, truth)
                label = found.set_index(GENE)
                self._details[choice] = {
                    "cluster": [int(c) for c in label.loc[self.genes, "cluster"]],
                    "support": [_number(s) for s in label.loc[self.genes, "support"]],
                    "enrichment": [{key: plain(value) for key, value in row.items()} for row in rows],
                    "nuisance": self._nuisance(settings, known),
                }
            return self._details[choice]

    def clusterings(self, settings: EvaluateSettings) -> list[str]:
        """Names of the clusterings on offer: k-means if k is set or igraph is missing, else Leiden by resolution."""
        k = self._k(settings)
        if k is not None:
            return [f"k-means, k = {k}"]
        return [f"Leiden, resolution {resolution:g}" for resolution in settings.leiden_resolutions]

    def _k(self, settings: EvaluateSettings) -> int | None:
        if settings.k is not None or available():
            return settings.k
        return min(len(self.genes), max(2, round(np.sqrt(len(self.genes)))))

    def _clusters(
        self, settings: EvaluateSettings, choice: int, truth: GroundTruth | None
    ) -> tuple[pd.DataFrame, list[dict[Any, Any]]]:
        rng = np.random.default_rng(self.seed)
        found = clusters(self.runs, settings, settings.leiden_resolutions[choice], self._k(settings), rng)
        return found, cluster_enrichment(found, truth).to_dict("records") if truth is not None else []

    def _nuisance(self, settings: EvaluateSettings, known: NuisanceScores | None) -> dict[str, dict[str, Any]]:
        if known is not None:
            scores = {kind: vars(score) for kind, score in vars(known).items() if score is not None}
        else:
            rng, near = np.random.default_rng(self.seed), [self.near(settings)]
            rows = self.runs[0].rows(self.genes)
            scores = {
                kind: score
                for kind, values in self.runs[0].nuisance.items()
                if (score := nuisance_score(near, values[rows], settings.shuffles, rng))
            }
        told = {kind: in_words(kind, score["value"], score["p_value"]) for kind, score in scores.items()}
        return {
            kind: {key: plain(v) for key, v in score.items()} | {"worrying": told[kind][0], "words": told[kind][1]}
            for kind, score in scores.items()
        }

    def neighbours(
        self, gene: str, n: int, truth: GroundTruth | None, pairs: Sequence[KnownPairs]
    ) -> list[dict[str, Any]]:
        """The n nearest genes of a gene, ready for JSON."""
        found = neighbours(self.runs, gene, n, truth, pairs)
        return [{str(key): plain(value) for key, value in row.items()} for row in found.to_dict("records")]

    def h5ad(self, genes: Sequence[str], truth: GroundTruth | None) -> bytes:
        """Some genes as an ``.h5ad`` file: vectors and columns as given, complex, planes, clusters looked at so far."""
        rows = np.flatnonzero(np.isin(self.genes, list(genes)))
        chosen = self.table[rows].copy()
        names = {"UMAP": "X_umap"}
        for name, plane in self.planes.items():
            chosen.obsm[names.get(name, "X_pca")] = plane[rows]
        if truth is not None:
            chosen.obs["complex"] = ["; ".join(truth.complexes_of(gene)) for gene in chosen.obs_names]
        with self._lock:
            looked_at = dict(self._details)
        for choice, found in looked_at.items():
            chosen.obs[f"cluster_{choice + 1}"] = pd.Categorical(np.array(found["cluster"])[rows].astype(str))
        with TemporaryDirectory() as folder:  # AnnData writes to paths only
            file = Path(folder) / "genes.h5ad"
            chosen.write_h5ad(file)
            return file.read_bytes()


def _given_planes(adata: "AnnData", rows: np.ndarray) -> dict[str, np.ndarray]:
    plane = adata.obsm.get("X_umap")
    if plane is None:
        return {}
    values = np.asarray(plane, dtype=np.float64)[:, :2]
    if values.shape[1] != 2 or not np.isfinite(values[rows]).all():
        raise GrapeOpsError('obsm["X_umap"] must hold two finite numbers per gene; remove it, and it is computed.')
    return {"UMAP": values[rows]}


def _column(name: str, values: pd.Series) -> list[dict[str, Any]]:
    label = LABELS.get(name, name)
    if pd.api.types.is_bool_dtype(values):
        words = [None if pd.isna(value) else "yes" if value else "no" for value in values]
        return [_categories(name, label, words)]
    if pd.api.types.is_numeric_dtype(values):
        return [_numbers(name, label, values)]
    texts = [None if pd.isna(value) else str(value) for value in values]
    return [_categories(name, label, texts)] if len(set(texts)) <= LEVELS else []


def _categories(key: str, label: str, values: Sequence[str | None]) -> dict[str, Any]:
    levels = sorted({value for value in values if value is not None})
    place = {level: code for code, level in enumerate(levels)}
    codes = [-1 if value is None else place[value] for value in values]
    return {"key": key, "label": label, "kind": "category", "levels": levels, "codes": codes}


def _numbers(key: str, label: str, values: Any) -> dict[str, Any]:
    return {"key": key, "label": label, "kind": "number", "values": [_number(value) for value in values]}


def _number(value: Any) -> float | None:
    """Five digits are more than a picture shows, but counts are told in full; JSON knows no NaN."""
    if pd.isna(value) or not np.isfinite(value):
        return None
    return float(value) if value == int(value) else float(f"{value:.5g}")


def plain(value: Any) -> Any:
    """Make a value of a table fit for JSON."""
    if value is pd.NA:
        return None
    if isinstance(value, float | np.floating):
        return _number(value)
    return value.item() if isinstance(value, np.generic) else value
