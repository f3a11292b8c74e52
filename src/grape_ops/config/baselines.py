"""Settings of the baselines (section 3.6): what GRAPE is held against on the same cells."""

from pathlib import Path

from pydantic import Field

from grape_ops.config.base import NonNegative, Positive, Settings, Share


class EngineeredSettings(Settings):
    """From features of single cells to vectors of genes: the baselines ``engineered`` and ``profiles``."""

    variance: Share = Field(0.95, gt=0, description="Share of the cells' variance that the principal components keep.")
    clip: float = Field(10.0, gt=0, description="Deviations beyond this many standard deviations are cut to it.")
    typical_variation: bool = Field(
        False, description="Typical-variation normalisation: whiten by the principal components of the controls."
    )
    most_undefined: Share = Field(0.05, description="Features undefined (NaN) in more than this share of cells go.")


class ProfilesSettings(Settings):
    """A table of features that somebody else has measured."""

    table: Path | None = Field(None, description="Parquet or CSV with a row a cell, guide or gene; numeric columns.")
    columns: dict[str, str] = Field(
        {}, description="Ours to theirs, where detection fails: gene_symbol, plate, well, for example."
    )
    drop: tuple[str, ...] = Field((), description="Numeric columns that are no features.")


class Gene2vecSettings(Settings):
    """Vectors of genes that were learnt without any image."""

    vectors: Path | None = Field(None, description="Word2vec (text or binary), .csv, .tsv or .npz; .gz is read too.")
    aliases: Path | None = Field(None, description="Table of other names of genes.")


class ImpaSettings(Settings):
    """GRAPE's networks in IMPA's configuration."""

    embedding: Path | None = Field(
        None, description="Gene vectors that stand in for M and stay fixed (.h5ad or as for gene2vec); random if unset."
    )
    embedding_dim: Positive = Field(200, description="Length of the random vectors.")
    noise_dim: Positive = Field(16, description="Length of the noise beside a gene's vector.")
    diversity: NonNegative = Field(1.0, description="Weight of the diversity loss.")
    learning_rate: float | None = Field(None, gt=0, description="Its learning rate; train.optimizer's if unset.")
    cells_per_gene: Positive = Field(500, description="Real cells whose style codes are averaged.")


class BaselineSettings(Settings):
    """All baselines that have settings of their own; the classifier's are ``train.init.classifier``."""

    engineered: EngineeredSettings = EngineeredSettings()
    profiles: ProfilesSettings = ProfilesSettings()
    gene2vec: Gene2vecSettings = Gene2vecSettings()
    impa: ImpaSettings = ImpaSettings()
