"""Settings of gene vectors and of what is said about them: scores, known complexes, hits, planted effects."""

from typing import Annotated, Literal

from pydantic import Field

from grape_ops.config.base import HOW_ONLY, NonNegative, Positive, Settings, Share


class EmbedSettings(Settings):
    """Gene vectors from a checkpoint (section 5.2)."""

    position: Literal[1, 2, 3] = Field(1, description="1: rows of M; 2: F(M); 3: codes E reads from restyled cells.")
    ema: bool = Field(True, description="Use the filtered weights, if the run kept them.")
    cells_per_gene: Positive = Field(500, description="Position 3: cells restyled to each gene.")
    batch_size: Positive = Field(256, description="Position 3: cells in a batch.")


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


class HitsSettings(Settings):
    """Which genes have a phenotype (docs/hits.md)."""

    features: Literal["statistics", "engineered", "learned", "profiles"] = Field(
        "statistics",
        description="Features of single cells: image statistics, CellProfiler's (slow), the hidden layer of a "
        "classifier that has not seen the cell, or the files of baselines.profiles.table.",
    )
    q_value: float = Field(0.05, gt=0, lt=1, description="False discovery rate at which a gene is a hit.")
    clip: float = Field(
        10.0, gt=0, description="Largest deviation of a feature, in standard deviations of its batch's controls."
    )
    most_undefined: float = Field(
        0.05, ge=0, le=1, description="Features that are undefined in a larger share of the control cells are left out."
    )
    pseudo_genes: Positive = Field(
        200, description="Pseudo-genes dealt from non-targeting guides, on which the test is shown to be calibrated."
    )
    control_cells: Positive = Field(2000, description="Control cells drawn for AUC and share of cells.")


class CalibrateSettings(Settings):
    """Pseudo-genes with known phenotypes, drawn from control cells."""

    complexes: Positive = Field(6, description="Pseudo-complexes.")
    genes_per_complex: Positive = Field(4, description="Pseudo-genes in each.")
    guides_per_gene: Positive = Field(4, description="Pseudo-guides against each pseudo-gene.")
    cells_per_gene: Positive = Field(150, description="Control cells that become cells of each pseudo-gene.")
    control_cells: Positive = Field(500, description="Control cells that stay controls.")
    effect_size: NonNegative = Field(
        2.0, description="Length of a gene's planted change, in standard deviations of the traits over control cells."
    )
    penetrance: Share = Field(0.8, description="Share of a gene's cells that show its phenotype.")
    private_share: Share = Field(0.3, description="Share of a gene's phenotype that is gene-specific.")
    traits_per_complex: Positive = Field(3, description="Traits that a complex changes.")
    private_traits: Positive = Field(2, description="Further traits that each gene changes on its own.")
    strength_spread: NonNegative = Field(0.15, description="Standard deviation of the log strength over genes.")
    confounding: float = Field(
        2.0, ge=0.01, description="Dirichlet concentration of a gene over batches: small values confound both."
    )
    effect_sizes: tuple[NonNegative, ...] = Field((0.5, 1.0, 2.0, 3.0), description="Curve: effect sizes to plant.")
    cells_tried: tuple[Positive, ...] = Field((25, 50, 150), description="Curve: cells per gene to try.")
    penetrances: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.2, 0.4, 0.8), description="Curve: penetrances to try."
    )
    screens: Positive = Field(3, description="Planted screens at each point of a curve, each with its own seed.")
    detected: float = Field(
        0.5, gt=0, lt=1, description="Recovery that counts as detected: mAP scaled so that chance is 0, perfect is 1."
    )
    restyled_cells: int = Field(
        96, ge=8, description="With --restyle: control cells, in no planted store, that are restyled to each gene."
    )
    keep_stores: bool = Field(
        False, json_schema_extra=HOW_ONLY, description="Keep the planted crop stores; the same seed makes them again."
    )
