"""Settings of evaluation: scores of gene maps, and the choice of known complexes."""

from typing import Annotated

from pydantic import Field

from grape_ops.config.base import Positive, Settings, Share


class EvaluateSettings(Settings):
    """Evaluating a gene map (section 3.7)."""

    permutations: Positive = Field(10_000, description="Label permutations for a p-value.")
    kmeans_runs: Positive = Field(100, description="Random initialisations of k-means.")
    k: int | None = Field(None, gt=1, description="Clusters of k-means; the number of true complexes if unset.")
    sweep_min: int = Field(5, gt=1, description="Smallest k of the sweep over the number of clusters.")
    sweep_max: int = Field(30, ge=0, description="Largest k of the sweep; below sweep_min there is no sweep.")
    bootstrap: Positive = Field(2000, description="Bootstrap draws of complexes for an interval.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
    neighbours: Positive = Field(10, description="Nearest genes in graphs and nuisance scores; fewer on small maps.")
    leiden_resolutions: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), description="Resolutions of the scored Leiden clusters; never chosen by the truth."
    )
    leiden_runs: Positive = Field(10, description="Seeds of Leiden at each resolution.")
    recall_tails: tuple[Annotated[float, Field(gt=0, lt=0.5)], ...] = Field(
        (0.05, 0.1), description="Tails of all pairwise similarities in which known pairs are counted."
    )
    shuffles: Positive = Field(200, description="Shuffled controls of enrichment and of the nuisance scores.")


class CurateSettings(Settings):
    """Choosing complexes of a source that suit a screen (section 3.7)."""

    least_screened: Positive = Field(3, description="Coverage: fewest screened genes of a complex.")
    least_share: Share = Field(2 / 3, description="Coverage: least share of a complex's members that are screened.")
    most_shared_pairs: Share = Field(
        0.1, description="Overlap: share of the smaller complex's gene pairs above which the larger is dropped."
    )
    least_genes: Positive = Field(5, description="Choice: fewest screened genes of a chosen complex.")
    most_genes: Positive = Field(10, description="Choice: larger complexes are cut to this many genes at random.")
    disjoint: bool = Field(True, description="Choice: no gene in two complexes; larger complexes come first.")
    seed: int = Field(0, description="Seed of the random draw that cuts large complexes.")
