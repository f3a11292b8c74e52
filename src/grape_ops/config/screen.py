"""How a screen folder is read, and how a screen is simulated."""

from typing import Literal

from pydantic import Field

from grape_ops.config.base import NonNegative, Positive, Settings, Share

Fate = Literal["drop", "keep"]


class ScreenSettings(Settings):
    """How a screen folder is read."""

    layout: str = Field(
        "auto",
        description="Kind of folder: auto, ops-standard, funk2022, brieflow, scallops, periscope or table.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Your table's column for each of ours (gene_symbol, sgRNA, plate, well, tile, y, x, class).",
    )
    keep_columns: tuple[str, ...] = Field(
        (), description="Columns to keep with the cells if the table has more than 50; smaller tables keep all."
    )
    channels: tuple[str, ...] = Field((), description="Channels to keep, by name and in this order; all if empty.")
    cells: str | None = Field(
        None, description="Cell table, or a pattern of several, if it is not where the layout expects it."
    )
    library: str | None = Field(None, description="Table of guides and their genes; cells of other guides are counted.")
    aliases: str | None = Field(None, description="Table of retired and other gene symbols, to rename them.")
    control_pattern: str = Field(
        r"^(non[-_ ]?target.*|NTC(?!P$).*|neg(ative)?[-_ ]?(control|ctrl).*|safe.*|intergenic.*)$",
        description="Gene symbols that match, in any case, are non-targeting controls.",
    )
    low_quality: Fate = Field("drop", description="Cells with a poor barcode call by the layout's rule.")
    min_barcode_quality: float = Field(0.0, ge=0, description="Least Q_min_0 of a barcode call, if the table has it.")
    double_barcodes: Fate = Field("drop", description="Cells with barcodes of two genes.")
    mitotic: Fate = Field("keep", description="Dividing cells, according to the table's class.")
    unknown_genes: Fate = Field("drop", description="Cells of a gene named unknown, or missing from the library.")
    repeated_cells: Fate = Field("drop", description="Further rows of one cell, as from a join with a repeated guide.")
    ghost_guides: Fate = Field("keep", description="Cells of guides that have more cells than ghost_factor allows.")
    ghost_factor: float = Field(
        30.0, gt=1, description="A ghost guide has over this many times the median guide's cells."
    )
    crop_scaling: Literal["auto", "full", "percentiles"] = Field(
        "auto",
        description="Ready crops: full takes the whole range of their type (floats: 0 to 1), percentiles rescales them "
        "like tiles; auto rescales all but uint8 and floats.",
    )
    pixel_size: float | None = Field(
        None, gt=0, description="Micrometres per pixel, for scale bars; read from the images if unset."
    )
    float_max: float | None = Field(
        None, gt=0, description="Largest value of float tiles in OME-Zarr; estimated from samples if unset."
    )


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
