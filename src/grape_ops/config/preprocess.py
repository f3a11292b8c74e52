"""Settings of preprocessing, from tiles to a crop store (section 3.2), and of the features measured on its crops."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from grape_ops.config.base import HOW_ONLY, Positive, Settings, Share
from grape_ops.schema import PLATE, WELL


class FlatFieldSettings(Settings):
    """Retrospective flat-field correction (section 3.2, step 1)."""

    enabled: bool = Field(True, description="Correct uneven illumination.")
    again: bool = Field(False, description="Also correct tiles that the layout says are already corrected.")
    columns: tuple[str, ...] = Field((PLATE, WELL), description="Table columns that group tiles for one field.")
    file: str | None = Field(
        None,
        description="Fields computed elsewhere, used as they are: .npy or .tif of (channels, height, width), relative "
        "to the screen's folder; braces take the columns named by `columns` (fields/{plate}.npy).",
    )
    steps_per_radius: Positive = Field(
        27, description="Points per radius at which the median is computed; it is interpolated in between."
    )
    percentile: float = Field(2.0, ge=0, le=50, description="Percentile the field is divided by, a robust minimum.")
    min_agreement: Share = Field(
        0.5,
        description="Apply a field only if two halves of the tiles agree on at least this share of its variance; "
        "0 always applies it.",
    )


class IntensitySettings(Settings):
    """Rescaling between two percentiles to [0, 1] (section 3.2, step 2)."""

    lower: float = Field(0.1, ge=0, lt=100, description="Lower percentile, mapped to 0.")
    upper: float = Field(99.9, gt=0, le=100, description="Upper percentile, mapped to 1.")
    columns: tuple[str, ...] = Field((PLATE, WELL), description="Table columns that group tiles for the percentiles.")

    @model_validator(mode="after")
    def _ordered(self) -> "IntensitySettings":
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")
        return self


class PreprocessSettings(Settings):
    """From tiles to a crop store (section 3.2)."""

    crop_size: Positive = Field(96, description="Height and width of a crop as networks see it, in pixels.")
    shrink: Positive = Field(
        1,
        description="Cut crops this many times as large and average as many pixels along both axes into one: for "
        "cells that are larger than crop_size.",
    )
    edge: Literal["drop", "reflect", "zero"] = Field(
        "drop", description="Cells whose crop leaves the tile: drop them, or pad by reflection or zeros."
    )
    edge_margin: int | None = Field(
        None, ge=0, description="With edge=drop: least distance of a centre from the tile's edge; half a crop if unset."
    )
    batch_columns: tuple[str, ...] = Field(
        (PLATE, WELL),
        description="Table columns that define a batch; [] puts all cells into one. Each batch needs controls.",
    )
    flat_field: FlatFieldSettings = FlatFieldSettings()
    intensity: IntensitySettings = IntensitySettings()
    pixel_type: Literal["uint16", "uint8"] = Field("uint16", description="Integer type of the stored crops.")
    on_problem: Literal["stop", "drop"] = Field(
        "drop",
        json_schema_extra=HOW_ONLY,
        description="Batch without controls, missing or unreadable tile or crop, cell outside its tile: stop, or drop "
        "the affected cells and continue; the exit code is then 3.",
    )
    most_lost: Share = Field(
        0.5,
        json_schema_extra=HOW_ONLY,
        description="Share of cells above which on_problem=drop stops too.",
    )
    workers: int = Field(0, ge=0, json_schema_extra=HOW_ONLY, description="Worker processes; 0 takes one per core.")

    @property
    def cut_size(self) -> int:
        """Height and width of what is cut, in pixels of the screen."""
        return self.crop_size * self.shrink

    def decisive(self) -> dict[str, Any]:
        """As of all settings; crops that are not shrunken are the same as before there was a choice."""
        found = super().decisive()
        return found if self.shrink > 1 else {name: value for name, value in found.items() if name != "shrink"}


class FeatureSettings(Settings):
    """Measuring crops with cp-measure: nucleus and cell of each crop, in every channel."""

    nucleus_channel: str | None = Field(
        None, description="Channel that shows nuclei; found by its name (DNA, DAPI, Hoechst, …) if unset."
    )
    channels: tuple[str, ...] = Field(
        (), description="Restrict statistics, engineered features and profiles to these channels; all if none is named."
    )
    full: bool = Field(
        False, description="Measure the slow groups too: granularity, Zernike moments, Feret, RWC and Costes."
    )
    texture_levels: int = Field(32, ge=2, le=256, description="Grey levels of the texture features.")
    texture_scale: Positive = Field(3, description="Distance between the pixels that texture features compare.")
    granularity_steps: Positive = Field(6, description="With full: sizes of the granularity spectrum.")
    granularity_radius: Positive = Field(10, description="With full: structures above this radius are background.")
    masks: Path | None = Field(
        None,
        description="Masks of your own segmentation: .npy, (cells, 2, size, size), nucleus and cell, in the order of "
        "cells.parquet.",
    )
    cache: Path | None = Field(
        None, json_schema_extra=HOW_ONLY, description="Folder for measured features; STORE.features beside it if unset."
    )
    workers: int = Field(0, ge=0, json_schema_extra=HOW_ONLY, description="Worker processes; 0 takes one per core.")
    scheduler: str | None = Field(
        None,
        json_schema_extra=HOW_ONLY,
        description="Dask scheduler whose workers measure, as tcp://HOST:PORT, in place of processes of this machine.",
    )
