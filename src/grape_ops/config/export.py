"""Settings of what is written for other tools."""

from pathlib import Path

from pydantic import Field

from grape_ops.config.base import Positive, Settings


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
    experimental_metadata: Path | None = Field(None, description="Your experimental_metadata.yaml; else a template.")
    collection_metadata: Path | None = Field(None, description="Your collection_metadata.yaml; the title if unset.")
    masks: bool = Field(True, description="In .h5sc: masks of nucleus and cell before the channels, as scPortrait has.")
