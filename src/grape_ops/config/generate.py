"""Settings of restyled cells and of what is measured on them (section 4.3)."""

from pydantic import Field

from grape_ops.config.base import Positive, Settings, Share


class GenerateSettings(Settings):
    """Restyled cells, and how they compare with real ones (section 4.3, Fig. 2)."""

    ema: bool = Field(True, description="Take the filtered weights, if the run kept them.")
    cells: Positive = Field(500, description="Cells restyled to every gene; the same ones for all genes.")
    batch_size: Positive = Field(256, description="Cells in a batch.")
    shown: Positive = Field(6, description="Cells shown in a row of a figure.")
    steps: int = Field(7, gt=1, description="Points of an interpolation, both ends among them.")
    rings: Positive = Field(8, description="Rings around a cell's centre in which changes are told apart.")
    trees: Positive = Field(200, description="Trees of the forest that separates control from knock-out cells.")
    held_out: float = Field(0.5, gt=0, lt=1, description="Share of the cells on which that forest is judged.")
    redundant: Share = Field(
        0.9, description="Of features whose absolute rank correlation exceeds this, one stands for all."
    )
    repeats: Positive = Field(5, description="Permutations of a feature behind its importance.")
    top_features: Positive = Field(5, description="Most important features told for each gene.")
    q_value: float = Field(
        0.05, gt=0, lt=1, description="False discovery rate at which a gene's cells count as told from control cells."
    )
    components: Positive = Field(
        20, description="Principal components of the features in which Fréchet and kernel distance are taken."
    )
    splits: Positive = Field(20, description="Random halves of the knock-out cells behind the noise floor.")
    bootstrap: Positive = Field(200, description="Draws of cells behind an interval.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
