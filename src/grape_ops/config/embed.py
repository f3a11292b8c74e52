"""Settings of `grape-ops embed`."""

from typing import Literal

from pydantic import Field

from grape_ops.config.base import Positive, Settings


class EmbedSettings(Settings):
    """Gene vectors from a checkpoint (section 5.2)."""

    position: Literal[1, 2, 3] = Field(1, description="1: rows of M; 2: F(M); 3: codes E reads from restyled cells.")
    ema: bool = Field(True, description="Use the filtered weights, if the run kept them.")
    cells_per_gene: Positive = Field(500, description="Position 3: cells restyled to each gene.")
    batch_size: Positive = Field(256, description="Position 3: cells in a batch.")
