"""How a screen folder is read."""

from typing import Literal

from pydantic import Field

from grape_ops.config.base import Settings

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
