"""Settings of the baselines (section 3.6): what GRAPE is compared with on the same cells."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from grape_ops.config.base import NonNegative, Positive, Settings, Share


class EngineeredSettings(Settings):
    """From features of single cells to vectors of genes: the baselines ``engineered`` and ``profiles``."""

    variance: Share = Field(0.95, gt=0, description="Share of the cells' variance that the principal components keep.")
    clip: float = Field(10.0, gt=0, description="Features are clipped at this many standard deviations.")
    typical_variation: bool = Field(
        False, description="Typical-variation normalisation: whiten by the principal components of the controls."
    )
    most_undefined: Share = Field(0.05, description="Drop features undefined (NaN) in more than this share of cells.")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else () if value is None else value


class ProfilesSettings(Settings):
    """Features of single cells that other software measured, or vectors of an encoder of your own."""

    table: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = Field(
        (),
        description="Parquet, CSV, h5ad or zarr with one row per cell or guide; or a list of them, whose features "
        "are put side by side.",
    )
    match: Literal["cells", "genes"] = Field(
        "cells",
        description="cells: rows are the store's cells, found by plate, well, tile and cell id or coordinates, by "
        "shard and row, or in the store's order; genes: rows are guides or other cells of the same screen, and all of "
        "them count for their gene.",
    )
    columns: dict[str, str] = Field(
        {},
        description="Ours to theirs, where detection fails: gene_symbol, plate, well, tile, y, x; cell: an id that the "
        "store's table of cells has under the same name.",
    )
    drop: tuple[str, ...] = Field((), description="Numeric columns that are not features.")


class Gene2vecSettings(Settings):
    """Gene vectors learnt without images."""

    vectors: Path | None = Field(None, description="Word2vec (text or binary), .csv, .tsv or .npz; .gz is read too.")
    aliases: Path | None = Field(None, description="Table of other names of genes.")


class ImpaSettings(Settings):
    """GRAPE's networks in IMPA's configuration."""

    embedding: Path | None = Field(
        None, description="Gene vectors that replace M and stay fixed (.h5ad or as for gene2vec); random if unset."
    )
    embedding_dim: Positive = Field(200, description="Length of the random vectors.")
    noise_dim: Positive = Field(16, description="Length of the noise joined to a gene's vector.")
    diversity: NonNegative = Field(1.0, description="Weight of the diversity loss.")
    learning_rate: float | None = Field(None, gt=0, description="Learning rate of IMPA; train.optimizer's if unset.")
    cells_per_gene: Positive = Field(500, description="Real cells whose style codes are averaged.")


class ConsistencySettings(Settings):
    """Self-supervision across batches; the network is that of ``train.init.classifier``."""

    steps: Positive = Field(1000, description="Iterations.")
    groups: int = Field(16, ge=2, description="Genes per iteration, each as a group of cells in either batch.")
    cells_per_group: Positive = Field(8, description="Cells of a group, whose mean is compared.")
    temperature: float = Field(0.2, gt=0, description="Divides the cosines of group means in the contrastive loss.")


class BaselineSettings(Settings):
    """All baselines that have settings of their own; the classifier's are ``train.init.classifier``."""

    engineered: EngineeredSettings = EngineeredSettings()
    profiles: ProfilesSettings = ProfilesSettings()
    gene2vec: Gene2vecSettings = Gene2vecSettings()
    impa: ImpaSettings = ImpaSettings()
    consistency: ConsistencySettings = ConsistencySettings()
