"""Settings of preprocessing: from tiles to a crop store (section 3.2)."""

from typing import Literal

from pydantic import Field, model_validator

from grape_ops.config.base import HOW_ONLY, Positive, Settings, Share
from grape_ops.schema import PLATE, WELL


class FlatFieldSettings(Settings):
    """Retrospective flat-field correction (section 3.2, step 1)."""

    enabled: bool = Field(True, description="Correct uneven illumination.")
    again: bool = Field(False, description="Correct tiles, too, that the screen's layout says are corrected already.")
    columns: tuple[str, ...] = Field((PLATE, WELL), description="Table columns over which one field is taken.")
    file: str | None = Field(
        None,
        description="Fields computed elsewhere, taken as they are: .npy or .tif of (channels, height, width), relative "
        "to the screen's folder; what `columns` names may stand in braces (fields/{plate}.npy).",
    )
    steps_per_radius: Positive = Field(
        27, description="The median is evaluated this often along its radius, and interpolated between."
    )
    percentile: float = Field(2.0, ge=0, le=50, description="Robust minimum the field is divided by.")
    min_agreement: Share = Field(
        0.5,
        description="Share of a field's variance that two halves of the tiles must agree on for it to be applied; "
        "0 applies it always.",
    )


class IntensitySettings(Settings):
    """Rescaling between two percentiles to [0, 1] (section 3.2, step 2)."""

    lower: float = Field(0.1, ge=0, lt=100, description="Lower percentile, mapped to 0.")
    upper: float = Field(99.9, gt=0, le=100, description="Upper percentile, mapped to 1.")
    columns: tuple[str, ...] = Field((PLATE, WELL), description="Table columns over which percentiles are taken.")

    @model_validator(mode="after")
    def _ordered(self) -> "IntensitySettings":
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")
        return self


class PreprocessSettings(Settings):
    """From tiles to a crop store (section 3.2)."""

    crop_size: Positive = Field(96, description="Height and width of a crop, in pixels.")
    edge: Literal["drop", "reflect", "zero"] = Field(
        "drop", description="Cells whose crop leaves the tile: dropped, or padded by reflection or zeros."
    )
    edge_margin: int | None = Field(
        None, ge=0, description="With edge=drop: least distance of a centre from the tile's edge; half a crop if unset."
    )
    batch_columns: tuple[str, ...] = Field(
        (PLATE, WELL),
        description="Table columns that make a batch, all cells one if []; each needs controls.",
    )
    flat_field: FlatFieldSettings = FlatFieldSettings()
    intensity: IntensitySettings = IntensitySettings()
    pixel_type: Literal["uint16", "uint8"] = Field("uint16", description="Integer type of the stored crops.")
    on_problem: Literal["stop", "drop"] = Field(
        "drop",
        json_schema_extra=HOW_ONLY,
        description="Batch without controls, missing or unreadable tile or crop, cell outside its tile: stop, or drop "
        "what is affected and go on; the exit code is then 3.",
    )
    most_lost: Share = Field(
        0.5,
        json_schema_extra=HOW_ONLY,
        description="Share of the cells that on_problem=drop may cost before it stops too.",
    )
    workers: int = Field(0, ge=0, json_schema_extra=HOW_ONLY, description="Worker processes; 0 takes one per core.")
