"""What every metric is given: the conditions that all methods share, and the runs of one method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import leiden
from grape_ops.evaluate.agreement import agreement
from grape_ops.evaluate.clustering import REFERENCE_DIMENSIONS, REFERENCE_MAPS, kmeans, random_scores
from grape_ops.evaluate.maps import EvaluationTask, GeneMap
from grape_ops.evaluate.retrieval import nearest, neighbour_count
from grape_ops.evaluate.significance import Significance, permute_labels
from grape_ops.groundtruth.truth import KnownPairs
from grape_ops.randomness import EvaluationStream, generator


@dataclass(frozen=True)
class EvaluationContext:
    """The conditions all methods share: task, settings, one seed, lists of known pairs, all maps, chromosome arms.

    Every method draws from the same streams, so permutations, starts and complexes are the same for all.
    """

    task: EvaluationTask
    settings: EvaluateSettings
    seed: int
    pairs: Sequence[KnownPairs]
    maps: Mapping[str, Sequence[GeneMap]]
    arms: Mapping[str, str] | None = None

    def rng(self, stream: EvaluationStream, part: int = 0) -> np.random.Generator:
        """Start one of the independent streams of the seed; parts of a stream are independent, too."""
        return generator(self.seed, stream, part)

    @property
    def main_k(self) -> int:
        """The k of the score table: the setting, or the number of complexes; 0 if no gene can be clustered."""
        genes = len(self.task.single)
        if self.settings.k is not None and self.settings.k > genes > 0:
            raise GrapeOpsError(f"evaluate.k is {self.settings.k}, but only {genes} genes can be clustered; lower it.")
        return (self.settings.k or int(self.task.single_complex.max()) + 1) if genes else 0

    @property
    def swept(self) -> list[int]:
        """Every k of the sweep, as far as the genes allow."""
        return [k for k in range(self.settings.sweep_min, self.settings.sweep_max + 1) if k <= len(self.task.single)]

    @property
    def ks(self) -> list[int]:
        """Every k that is clustered: the sweep's and the main one."""
        return sorted({*self.swept, self.main_k} - {0})

    @cached_property
    def random_agreement(self) -> dict[int, dict[str, np.ndarray]]:
        """Agreement of random maps at every k: k -> name -> (R,)."""
        truth, runs = self.task.single_complex, self.settings.kmeans_runs
        return {k: random_scores(truth, k, runs, self.rng(EvaluationStream.REFERENCE, k)) for k in self.ks}

    def facts(self) -> dict[str, Any]:
        """What the definitions of metrics name in braces."""
        task = self.task
        return {
            **self.settings.model_dump(),
            "seed": self.seed,
            "main_k": self.main_k,
            "truth": task.truth.name,
            "truth_sha256": task.truth.sha256,
            "genes": len(task.genes),
            "labelled": len(task.labelled),
            "single": len(task.single),
            "complexes": len(task.complexes),
            "resolutions": ", ".join(f"{resolution:g}" for resolution in self.settings.leiden_resolutions),
            "random_maps": min(REFERENCE_MAPS, self.settings.kmeans_runs),
            "random_dimensions": REFERENCE_DIMENSIONS,
        }


@dataclass(frozen=True)
class MethodRuns:
    """The runs of one method, and what several metrics need of them, computed once.

    Letters: N common genes, G labelled genes, S genes of exactly one complex, R runs of a clustering.
    """

    method: str
    runs: Sequence[GeneMap]
    context: EvaluationContext

    @cached_property
    def vectors(self) -> list[np.ndarray]:
        """Vectors (N, d) of all common genes, for each run."""
        return [run.vectors[run.rows(self.context.task.genes)] for run in self.runs]

    @cached_property
    def labelled(self) -> list[np.ndarray]:
        """Vectors (G, d) of the labelled genes, for each run."""
        return [table[self.context.task.labelled] for table in self.vectors]

    @cached_property
    def near(self) -> list[np.ndarray]:
        """Nearest genes (N, n) of all common genes, for each run."""
        wanted = self.context.settings.neighbours
        return [nearest(table, neighbour_count(len(table), wanted)) for table in self.vectors]

    @cached_property
    def significance(self) -> Significance:
        """Average precision and its label permutations."""
        permutations, rng = self.context.settings.permutations, self.context.rng(EvaluationStream.PERMUTATIONS)
        return permute_labels(self.labelled, self.context.task.membership, permutations, rng)

    @cached_property
    def _clustered(self) -> tuple[dict[int, list[dict[str, np.ndarray]]], list[np.ndarray]]:
        """k-means at every k: its agreement for each run, and the labels at the main k."""
        task, scores = self.context.task, {}
        kept: list[np.ndarray] = []
        for k in self.context.ks:
            # Each k has draws of its own, so that its scores do not hang on which other k were asked for.
            rng = self.context.rng(EvaluationStream.KMEANS, k)
            labels = [kmeans(table[task.single], k, self.context.settings.kmeans_runs, rng) for table in self.labelled]
            kept = labels if k == self.context.main_k else kept
            scores[k] = [agreement(part, task.single_complex) for part in labels]
        return scores, kept

    @property
    def kmeans_agreement(self) -> dict[int, list[dict[str, np.ndarray]]]:
        """Agreement of k-means with the complexes: k -> for each run name -> (R,)."""
        return self._clustered[0]

    @property
    def kmeans_labels(self) -> list[np.ndarray]:
        """k-means at the main k: (R, S) int, for each run; none where no gene can be clustered."""
        return self._clustered[1]

    @cached_property
    def communities(self) -> dict[float, list[np.ndarray]]:
        """Leiden clusters: resolution -> (R, N) int for each run; none without igraph."""
        if not leiden.available():
            return {}
        found = {}
        for resolution in self.context.settings.leiden_resolutions:
            rng = self.context.rng(EvaluationStream.LEIDEN)
            found[resolution] = [
                leiden.leiden(indices, resolution, self.context.settings.leiden_runs, rng) for indices in self.near
            ]
        return found
