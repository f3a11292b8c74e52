"""Settings of restyled cells and of the measurements on them (section 4.3)."""

from pydantic import Field

from grape_ops.config.base import Positive, Settings, Share


class GenerateSettings(Settings):
    """Restyled cells, and how they compare with real ones (section 4.3, Fig. 2)."""

    ema: bool = Field(True, description="Use the filtered weights, if the run kept them.")
    cells: Positive = Field(500, description="Cells restyled to every gene; the same ones for all genes.")
    batch_size: Positive = Field(256, description="Cells in a batch.")
    shown: Positive = Field(6, description="Cells shown in a row of a figure.")
    steps: int = Field(7, gt=1, description="Points of an interpolation, including both ends.")
    rings: Positive = Field(8, description="Rings around a cell's centre by which changes are resolved.")
    trees: Positive = Field(200, description="Trees of the forest that separates control from knock-out cells.")
    held_out: float = Field(0.5, gt=0, lt=1, description="Share of the cells on which that forest is evaluated.")
    redundant: Share = Field(
        0.9, description="Keep one of several features whose absolute rank correlation exceeds this."
    )
    repeats: Positive = Field(5, description="Permutations of a feature to estimate its importance.")
    top_features: Positive = Field(5, description="Most important features reported for each gene.")
    q_value: float = Field(
        0.05, gt=0, lt=1, description="False discovery rate of the tests on genes, features and restyling."
    )
    components: Positive = Field(
        20, description="Principal components of the features in which Fréchet and kernel distance are taken."
    )
    splits: Positive = Field(20, description="Random halves of the knock-out cells to estimate the noise floor.")
    bootstrap: Positive = Field(200, description="Bootstrap draws of cells for an interval.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
