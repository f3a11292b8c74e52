"""The five networks M, F, G, D and E from one configuration (section 3.3)."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from grape_ops.config import ClassifierSettings, ModelSettings, TrunkSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.blocks import he_initialize
from grape_ops.nn.classifier import CellClassifier, GeneEffects, build_classifier
from grape_ops.nn.discriminator import Discriminator, ProjectedDiscriminator, Trunk
from grape_ops.nn.generator import Generator
from grape_ops.nn.style import GeneAttention, GeneEmbedding, MappingNetwork, StyleEncoder

T = TypeVar("T")


class Grape(nn.Module):
    """The networks of GRAPE; the loss functions decide who learns from what.

    Attributes
    ----------
    embedding (M), attention (None unless the ablation asks for it), mapping (F), generator (G), discriminator (D),
    style_encoder (E).
    classifier, effects : a frozen network that has learnt to classify phenotypes, and what genes change in its
        layers; None where neither D nor a loss looks through it.
    shape_effects : what genes change of the shape of cells (``nn/shape.py``); None where no loss asks for it.
    """

    def __init__(
        self,
        embedding: GeneEmbedding,
        attention: GeneAttention | None,
        mapping: MappingNetwork,
        generator: Generator,
        discriminator: Discriminator | ProjectedDiscriminator,
        style_encoder: StyleEncoder,
        classifier: CellClassifier | None = None,
        effects: GeneEffects | None = None,
        shape_effects: GeneEffects | None = None,
    ):
        super().__init__()
        self.embedding = embedding
        self.attention = attention
        self.mapping = mapping
        self.generator = generator
        self.discriminator = discriminator
        self.style_encoder = style_encoder
        self.classifier = classifier
        self.effects = effects
        self.shape_effects = shape_effects

    def logits(self, images: Tensor, labels: Tensor) -> Tensor:
        """D's logits of crops at the heads of the labelled perturbations: (B, C, H, H), (B,) -> (B,).

        A projected D gives one for each of the K maps that it judges: (B, K).
        """
        if isinstance(self.discriminator, Discriminator):
            return self.discriminator.addressed(images, labels)
        assert self.classifier is not None, "a projected D comes with its classifier"
        return self.judged(self.classifier.maps(images), labels)

    @property
    def judges_features(self) -> bool:
        """Whether D looks through the classifier."""
        return isinstance(self.discriminator, ProjectedDiscriminator)

    def judged(self, maps: list[Tensor], labels: Tensor) -> Tensor:
        """A projected D's logits of all the maps that the classifier makes of crops: -> (B, K)."""
        assert isinstance(self.discriminator, ProjectedDiscriminator)
        return self.discriminator.addressed(judged_maps(maps), labels)

    def vectors(self) -> Tensor:
        """What F is given of each perturbation: rows of M, which have seen each other in the ablation: (P, V)."""
        vectors = self.embedding()
        return vectors if self.attention is None else self.attention(vectors)

    def styles(self, labels: Tensor | None = None) -> Tensor:
        """Style codes s = F(M_z) of the labelled perturbations (B,) -> (B, S); of all of them if None."""
        vectors = self.vectors()
        return self.mapping(vectors if labels is None else vectors[labels])

    def restyle(self, images: Tensor, labels: Tensor) -> Tensor:
        """Crops (B, C, H, H) with the phenotypes of the labelled perturbations (B,): -> the same shape."""
        return self.generator(images, self.styles(labels))


def build_grape(
    settings: ModelSettings,
    *,
    n_perturbations: int,
    channels: int,
    image_size: int,
    rng: torch.Generator,
    classifier: ClassifierSettings | None = None,
    shapes: bool = False,
    mapping: MappingNetwork | None = None,
    checkpointing: bool = False,
) -> Grape:
    """Make the five networks, initialised from ``rng``.

    Parameters
    ----------
    settings : of all of them.
    n_perturbations, channels, image_size : of the cells.
    rng : of the weights.
    classifier : the frozen network beside them, if D or a loss looks through one: it is to be loaded.
    shapes : keep what genes change of the shape of cells, for a loss that asks for it: it is to be loaded.
    mapping : F, where a method has another than GRAPE's.
    checkpointing : trade the generator's memory for time.

    Raises
    ------
    GrapeOpsError : the crop size or the number of channels does not fit the settings.
    """
    _check(settings, channels, image_size)
    seen = build_classifier(classifier, n_perturbations, channels, image_size, rng) if classifier is not None else None

    def trunk(of: TrunkSettings) -> Trunk:
        return Trunk(channels, image_size, of, fused=settings.fused_resampling)

    nets = Grape(
        GeneEmbedding(n_perturbations, settings.embedding_dim, settings.embedding_scale, rng),
        GeneAttention(settings.embedding_dim, settings.attention_heads) if settings.attention else None,
        mapping or MappingNetwork(settings.embedding_dim, settings),
        Generator(
            channels,
            settings.style_dim,
            settings.generator,
            fused=settings.fused_resampling,
            checkpointing=checkpointing,
        ),
        Discriminator(trunk(settings.discriminator), n_perturbations)
        if settings.discriminator.judges == "pixels"
        else _projected(settings, seen, image_size, n_perturbations),
        StyleEncoder(trunk(settings.style_encoder), settings.style_dim),
    )
    he_initialize(nets, rng)
    nets.generator.initialize_as_identity()
    if seen is not None:
        nets.classifier = seen.eval().requires_grad_(False)
        nets.effects = GeneEffects(n_perturbations, 4 * sum(seen.map_widths))
    if shapes:
        nets.shape_effects = GeneEffects(n_perturbations, 2 * channels)
    return nets


def judged_maps(maps: list[T]) -> list[T]:
    """Those of a classifier's maps that a projected D judges: the first at each resolution below the crop's."""
    return maps[1::2]


def _projected(settings: ModelSettings, seen: CellClassifier | None, image_size: int, n: int) -> ProjectedDiscriminator:
    if seen is None:
        raise ValueError("a projected discriminator looks through a classifier: give its settings")
    sides = judged_maps([*seen.map_sides(image_size)])
    return ProjectedDiscriminator(judged_maps(seen.map_widths), sides, settings.discriminator.head_width, n)


def _check(settings: ModelSettings, channels: int, image_size: int) -> None:
    if image_size < 32 or image_size % 8:
        raise GrapeOpsError(
            f"Crops must be a multiple of 8 from 32 px up; these are {image_size} px. "
            "Set preprocess.crop_size and preprocess again."
        )
    if not 1 <= channels <= 16:
        raise GrapeOpsError(f"The networks take 1 to 16 channels; this store has {channels}.")
    unit = 2**settings.generator.down_blocks
    if image_size % unit or image_size // unit < 2:
        raise GrapeOpsError(
            f"model.generator.down_blocks={settings.generator.down_blocks} needs crops of a multiple of {unit} px, "
            f"at least {2 * unit}; these are {image_size} px."
        )
    for name, trunk in (("discriminator", settings.discriminator), ("style_encoder", settings.style_encoder)):
        if image_size >> trunk.blocks < 1:
            raise GrapeOpsError(
                f"model.{name}.blocks={trunk.blocks} halvings leave nothing of {image_size} px crops; "
                f"at most {image_size.bit_length() - 1} fit."
            )
    if settings.attention and settings.embedding_dim % settings.attention_heads:
        raise GrapeOpsError(
            f"model.attention_heads={settings.attention_heads} must divide "
            f"model.embedding_dim={settings.embedding_dim}."
        )
