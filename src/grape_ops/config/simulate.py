"""The simulated screen: its size, its planted phenotypes, and its optics."""

from pydantic import Field

from grape_ops.config.base import NonNegative, Positive, Settings, Share


class SimulateSettings(Settings):
    """A simulated screen with planted complexes."""

    complexes: Positive = Field(6, description="Planted complexes.")
    genes_per_complex: Positive = Field(4, description="Genes in each complex.")
    lone_genes: int = Field(0, ge=0, description="Genes with a phenotype of their own, in no complex.")
    guides_per_gene: Positive = Field(4, description="Guides against each gene.")
    control_guides: Positive = Field(12, description="Non-targeting guides.")
    cells_per_gene: Positive = Field(400, description="Cells of each gene, on average.")
    control_cells: Positive = Field(1200, description="Cells with a non-targeting guide.")
    unidentified_share: Share = Field(0.1, description="Cells in the images that no barcode was read for.")
    plates: Positive = Field(2, description="Plates.")
    wells_per_plate: Positive = Field(2, description="Wells on each plate.")
    tile_size: Positive = Field(512, description="Height and width of a tile, in pixels.")
    cell_diameter: float = Field(26.0, gt=4, description="Typical diameter of a cell, in pixels.")
    confluence: float = Field(0.45, gt=0, lt=0.9, description="Share of the tile covered by cells.")
    effect_size: NonNegative = Field(1.5, description="Strength of the planted phenotypes, 0 for none.")
    private_share: Share = Field(0.3, description="Share of a gene's phenotype that is not its complex's.")
    penetrance: Share = Field(0.8, description="Share of the cells of a working guide that show the effect.")
    dud_guides: Share = Field(0.15, description="Share of targeting guides without any effect.")
    confounding: float = Field(
        2.0, gt=0, description="Dirichlet concentration of a gene over wells: small values confound gene and batch."
    )
    vignetting: Share = Field(0.35, description="Loss of light at the tile's corners.")
    batch_gain_sd: NonNegative = Field(0.15, description="Spread of log gain over (plate, well) and channel.")
    read_noise: NonNegative = Field(12.0, description="Standard deviation of the camera's noise, in counts.")
    seed: int = Field(0, ge=0, description="Seed of everything drawn.")
