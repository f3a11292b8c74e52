"""Settings of `grape-ops calibrate`."""

from typing import Annotated

from pydantic import Field

from grape_ops.config.base import HOW_ONLY, NonNegative, Positive, Settings, Share


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
