"""Settings of `grape-ops hits`."""

from typing import Literal

from pydantic import Field

from grape_ops.config.base import Positive, Settings


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
