"""Settings of what is made from a run: restyled cells, the page in a browser, and files for other tools."""

from pathlib import Path

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


class ExportSettings(Settings):
    """Files and submissions for other tools (`grape-ops export`)."""

    title: str = Field(
        "GRAPE gene map",
        min_length=1,
        description="Title of the visualization; of experiment and collection too, unless your metadata names them.",
    )
    resolution: float = Field(1.0, gt=0, description="Resolution of Leiden clusters; larger values give more clusters.")
    library: Path | None = Field(
        None,
        description="Table of the guides (csv or tsv): sgRNA or barcode, and where known protospacer_sequence, gene_id "
        "(Ensembl) and protospacer_adjacent_motif.",
    )
    gene_ids: Path | None = Field(
        None,
        description="Table of gene symbols and Ensembl ids (csv or tsv), such as HGNC's complete set; for genes "
        "whose id neither the library nor the screen names.",
    )
    pixel_size: float | None = Field(
        None, gt=0, description="Micrometres of a pixel of the crops; the store's own if unset and known."
    )
    motif: str = Field("3' NGG", description="Protospacer adjacent motif of guides that have none in the library.")
    wells: dict[str, str] = Field(
        default_factory=dict, description="Letter and number of wells with other names, as {Well1: A1}."
    )
    barcodes: int = Field(4, ge=1, le=10, description="Guides of a perturbation with example crops.")
    crops: int = Field(5, ge=1, le=30, description="Example crops of a guide.")
    reference_cells: Positive = Field(2000, description="At most this many control cells are used to test features.")
    images: bool = Field(
        False, description="Copy plate images of the tiles with cells from the screen into an OPS standard submission."
    )
    screen: Path | None = Field(
        None, description="The screen that the store was cut from, for images; else what lies under its name beside it."
    )
    experimental_metadata: Path | None = Field(None, description="Your experimental_metadata.yaml; else a template.")
    collection_metadata: Path | None = Field(None, description="Your collection_metadata.yaml; the title if unset.")
    masks: bool = Field(True, description="In .h5sc: masks of nucleus and cell before the channels, as scPortrait has.")
