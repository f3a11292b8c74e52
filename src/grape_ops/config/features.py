"""Settings of single-cell features, as CellProfiler measures them."""

from pathlib import Path

from pydantic import Field

from grape_ops.config.base import HOW_ONLY, Positive, Settings


class FeatureSettings(Settings):
    """Measuring crops with cp-measure: nucleus and cell of each crop, in every channel."""

    nucleus_channel: str | None = Field(
        None, description="Channel that shows nuclei; found by its name (DNA, DAPI, Hoechst, …) if unset."
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
