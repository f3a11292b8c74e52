"""Settings of the page on which a gene map is explored in a browser."""

from pydantic import Field

from grape_ops.config.base import Positive, Settings


class ExploreSettings(Settings):
    """The explorer: what it shows of each gene, and what a static page holds."""

    cells: int = Field(6, ge=1, le=24, description="Cells in a row of pictures.")
    guides: int = Field(8, ge=1, le=64, description="Guides shown, one row of cells each; those with most cells first.")
    neighbours: Positive = Field(20, description="Nearest genes listed for a gene.")
    strip_steps: int = Field(7, ge=2, le=25, description="Steps of a strip that restyles a cell from control to gene.")
    strip_cells: Positive = Field(3, description="Control cells shown as strips.")
    pixel_size: float | None = Field(
        None, gt=0, description="Micrometres per pixel, for the scale bar; the store's if unset and known."
    )
    static_genes: int | None = Field(
        None, gt=0, description="Genes with pictures on a static page, furthest from the control first; all if unset."
    )
