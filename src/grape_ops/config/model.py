"""Settings of the five networks (section 3.3)."""

from typing import Literal

from pydantic import Field, model_validator

from grape_ops.config.base import ADDITION, NonNegative, Positive, Settings


class GeneratorSettings(Settings):
    """The generator G (section 3.3)."""

    width: Positive = Field(64, description="Channels of the first layer.")
    max_width: Positive = Field(512, description="Channels double at each halving up to this.")
    down_blocks: Positive = Field(3, description="Halvings of the encoder, and doublings of the decoder.")
    middle_blocks: Positive = Field(2, description="Blocks at the lowest resolution, in each of encoder and decoder.")
    paints: Literal["cell", "change"] = Field(
        "cell",
        description="What G outputs: the whole cell, as in the paper, or a change that is added to the cell.",
        json_schema_extra=ADDITION,
    )
    gain: bool = Field(
        False,
        description="Let a change also scale the cell's own light and fine structure.",
        json_schema_extra=ADDITION,
    )
    warp: NonNegative = Field(
        0.0,
        description="Largest movement of a pixel in px, for changes of shape; 0: none.",
        json_schema_extra=ADDITION,
    )
    long_axis: bool = Field(
        False,
        description="Let a movement also stretch the cell along the long axis of each channel's light; needs warp.",
        json_schema_extra=ADDITION,
    )
    upsampling: Literal["nearest", "bilinear"] = Field(
        "nearest",
        description="How the decoder enlarges its maps; bilinear leaves no grid.",
        json_schema_extra=ADDITION,
    )

    @model_validator(mode="after")
    def _only_a_change_scales_and_moves(self) -> "GeneratorSettings":
        if self.paints == "cell" and (self.gain or self.warp):
            raise ValueError(
                "model.generator.gain and warp belong to a generator that makes a change: set paints to change"
            )
        if self.long_axis and not self.warp:
            raise ValueError("model.generator.long_axis is a movement of pixels: set model.generator.warp above 0")
        return self


class TrunkSettings(Settings):
    """The convolutional trunk and tail of the discriminator D or the style encoder E (section 3.3)."""

    width: Positive = Field(64, description="Channels of the first layer.")
    max_width: Positive = Field(512, description="Channels double at each halving up to this.")
    blocks: Positive = Field(5, description="Residual blocks, each halving the image.")
    tail: Literal["valid", "mean"] = Field(
        "valid", description="Last map to a vector: one unpadded convolution as large as the map, or 3x3 and mean."
    )


class DiscriminatorSettings(TrunkSettings):
    """The discriminator D (section 3.3), or one that sees the features of the classifier that initialises M."""

    judges: Literal["pixels", "features"] = Field(
        "pixels",
        description="What D sees: crops, as in the paper, or the feature maps of a frozen classifier.",
        json_schema_extra=ADDITION,
    )
    head_width: Positive = Field(64, description="Channels of D's own maps if it judges features.")


class ModelSettings(Settings):
    """The five networks M, F, G, D and E (section 3.3)."""

    embedding_dim: Positive = Field(500, description="Length of a gene's vector, a row of M.")
    embedding_scale: float = Field(1.0, gt=0, description="Standard deviation of M when it is initialised with noise.")
    style_dim: Positive = Field(64, description="Length of a style code.")
    mapping_layers: Positive = Field(3, description="Linear layers of F.")
    mapping_width: Positive = Field(512, description="Width of F's hidden layers.")
    attention: bool = Field(
        False, description="Ablation: one self-attention block over genes before F.", json_schema_extra=ADDITION
    )
    attention_heads: Positive = Field(4, description="Heads of that block; must divide embedding_dim.")
    generator: GeneratorSettings = GeneratorSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    style_encoder: TrunkSettings = TrunkSettings()
    fused_resampling: bool = Field(
        True, description="Convolve and resample in one step: the same mathematics at 4/9 of the work."
    )
