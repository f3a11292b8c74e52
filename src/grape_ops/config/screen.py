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
        description="Column of the user's table for each of ours (gene_symbol, sgRNA, plate, well, tile, y, x, class).",
    )
    keep_columns: tuple[str, ...] = Field(
        (), description="Further columns of a table of more than 50 to keep with the cells; of smaller ones all are."
    )
    channels: tuple[str, ...] = Field((), description="Channels to keep, by name and in this order; all if empty.")
    cells: str | None = Field(
        None, description="Cell table, or a pattern of several, where it does not lie where the layout has it."
    )
    library: str | None = Field(None, description="Table of guides and their genes; counts guides that it lacks.")
    aliases: str | None = Field(None, description="Table of retired and other gene symbols, to be renamed.")
    control_pattern: str = Field(
        r"^(non[-_ ]?target.*|NTC(?!P$).*|neg(ative)?[-_ ]?(control|ctrl).*|safe.*|intergenic.*)$",
        description="Gene symbols that match, in any case, are non-targeting controls.",
    )
    low_quality: Fate = Field("drop", description="Cells whose barcode call the layout's rule finds poor.")
    min_barcode_quality: float = Field(0.0, ge=0, description="Least Q_min_0 of a call, where the table has it.")
    double_barcodes: Fate = Field("drop", description="Cells with barcodes of two genes.")
    mitotic: Fate = Field("keep", description="Cells that the table's class says to divide.")
    unknown_genes: Fate = Field("drop", description="Cells of a gene called unknown, or that the library lacks.")
    repeated_cells: Fate = Field("drop", description="Further rows of one cell, as a join with a repeated guide makes.")
    ghost_guides: Fate = Field("keep", description="Cells of guides with more cells than ghost_factor allows.")
    ghost_factor: float = Field(30.0, gt=1, description="Times the median guide's cells that make a guide a ghost.")
    crop_scaling: Literal["auto", "full", "percentiles"] = Field(
        "auto",
        description="Ready crops: full takes their type's whole range (floats: 0 to 1), percentiles rescales them as "
        "tiles are; auto rescales but uint8 and floats.",
    )
    pixel_size: float | None = Field(
        None, gt=0, description="Micrometres of a pixel, for scale bars; what the images say if unset."
    )
    float_max: float | None = Field(
        None, gt=0, description="Largest value of tiles of floats in OME-Zarr; found from samples if unset."
    )
