"""The two objectives of one iteration: what is summed, and what is detached (Eq. 4).

The fake is computed once. The discriminator sees it detached and learns first; then M, F, G and E learn from the
same fake under the updated, frozen discriminator. Since M, F and G do not change in between, this is the plain
two-forward scheme to the last bit, at one generator pass less.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from grape_ops.cells.batches import Batch
from grape_ops.config import LossSettings
from grape_ops.nn.classifier import GeneEffects, centred_summaries
from grape_ops.nn.grape import Grape
from grape_ops.nn.normalization import full_precision
from grape_ops.nn.shape import shape_features
from grape_ops.train.losses import (
    cycle_loss,
    discriminator_adversarial_loss,
    generator_adversarial_loss,
    logits_and_r1,
    matching_loss,
    style_reconstruction_loss,
)

Terms = dict[str, Tensor]


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module without reaching its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


class Restyled(NamedTuple):
    """The batch restyled.

    Attributes
    ----------
    style : (B, S) style codes asked for, s = F(M_z).
    fake : (B, C, H, H) crops restyled with them, G(x, s).
    real_maps, fake_maps : what the frozen classifier makes of a view of the crops and of the restyled ones, one
        (B, V, h, h) for each of its convolutions; empty without a classifier.
    """

    style: Tensor
    fake: Tensor
    real_maps: list[Tensor]
    fake_maps: list[Tensor]

    def detached(self) -> "Restyled":
        """The same without its history; gradients may gather at it."""

        def leaf(tensor: Tensor) -> Tensor:
            return tensor.detach().requires_grad_()

        return Restyled(leaf(self.style), leaf(self.fake), self.real_maps, [leaf(part) for part in self.fake_maps])

    def descend(self, leaves: "Restyled") -> None:
        """Take the gradients that have gathered at the leaves back through the restyling, once."""
        pairs = zip(
            (self.style, self.fake, *self.fake_maps), (leaves.style, leaves.fake, *leaves.fake_maps), strict=True
        )
        reached = [(whole, leaf.grad) for whole, leaf in pairs if leaf.grad is not None]
        torch.autograd.backward([whole for whole, _ in reached], [gradient for _, gradient in reached])


def restyle(nets: Grape, batch: Batch) -> Restyled:
    """Restyle a batch to its targets."""
    return restyle_with(nets, batch, nets.styles(batch.targets))


def restyle_with(nets: Grape, batch: Batch, style: Tensor) -> Restyled:
    """Restyle with style codes (B, S), and let the classifier, if there is one, look before and after."""
    fake = nets.generator(batch.images, style)
    if nets.classifier is None:
        return Restyled(style, fake, [], [])
    with torch.no_grad():
        real_maps = nets.classifier.maps(viewed(batch.images, batch.views))
    return Restyled(style, fake, real_maps, nets.classifier.maps(viewed(fake, batch.views)))


def discriminator_objective(
    nets: Grape, batch: Batch, restyled: Restyled, weights: LossSettings
) -> tuple[Tensor, Terms]:
    """What D minimises: the adversarial loss and R1. The restyled crops are detached here."""

    def logits_of(images: Tensor) -> Tensor:
        return nets.logits(viewed(images, batch.views), batch.labels)

    if weights.r1 > 0:
        real_logits, penalty = logits_and_r1(logits_of, batch.images, weights.r1)
    else:
        real_logits = _logits(nets, batch, batch.images, restyled.real_maps, batch.labels)
        penalty = torch.zeros((), device=real_logits.device)
    fake_maps = [part.detach() for part in restyled.fake_maps]
    fake_logits = _logits(nets, batch, restyled.fake.detach(), fake_maps, batch.targets)
    adversarial = discriminator_adversarial_loss(real_logits, fake_logits)
    terms = {
        "d_adversarial": adversarial.detach(),
        "d_r1": penalty.detach(),
        "d_real_logit": real_logits.detach().mean(),
        "d_fake_logit": fake_logits.detach().mean(),
    }
    return adversarial + penalty, terms


def _logits(nets: Grape, batch: Batch, images: Tensor, maps: list[Tensor], labels: Tensor) -> Tensor:
    """D's logits of a view of the crops, or of the maps that were made of it: -> (B,) or (B, K)."""
    return nets.judged(maps, labels) if nets.judges_features else nets.logits(viewed(images, batch.views), labels)


def adversarial_objective(nets: Grape, batch: Batch, restyled: Restyled, weights: LossSettings) -> tuple[Tensor, Terms]:
    """What M, F and G minimise against D: the adversarial loss of their side (Eq. 1)."""
    loss = generator_adversarial_loss(_logits(nets, batch, restyled.fake, restyled.fake_maps, batch.targets))
    return weights.adversarial * loss, {"g_adversarial": loss.detach()}


def reconstruction_objective(
    nets: Grape, batch: Batch, restyled: Restyled, weights: LossSettings
) -> tuple[Tensor, Terms]:
    """What M, F, G and E minimise of the cycle loss (Eq. 2) and the style reconstruction loss (Eq. 3).

    Eq. 3 reaches E only, unless ``weights.detach_style`` is off.
    """
    loss, terms = torch.zeros((), device=restyled.fake.device), Terms()
    own_style, style_of_fake = _encoded_styles(nets, batch.images, restyled.fake, weights)
    if own_style is not None:
        cycle = cycle_loss(batch.images, nets.generator(restyled.fake, own_style))
        loss = loss + weights.cycle * cycle
        terms["cycle"] = cycle.detach()
    if style_of_fake is not None:
        if weights.detach_style:
            reconstruction = style_reconstruction_loss(restyled.style, style_of_fake)
        else:
            reconstruction = (restyled.style - style_of_fake).abs().mean()
        loss = loss + weights.style * reconstruction
        terms["style"] = reconstruction.detach()
    return loss, terms


def matching_objective(nets: Grape, batch: Batch, restyled: Restyled, weights: LossSettings) -> tuple[Tensor, Terms]:
    """What M, F and G minimise of the change that restyling is to make in the layers of the classifier."""
    change = centred_summaries(restyled.fake_maps) - centred_summaries(restyled.real_maps)
    loss = _unmatched(nets.effects, change, batch)
    return weights.match * loss, {"match": loss.detach()}


def shape_matching_objective(
    nets: Grape, batch: Batch, restyled: Restyled, weights: LossSettings
) -> tuple[Tensor, Terms]:
    """What M, F and G minimise of the change that restyling is to make in the shape of cells."""
    loss = _unmatched(nets.shape_effects, shape_features(restyled.fake) - shape_features(batch.images), batch)
    return weights.match_shape * loss, {"match_shape": loss.detach()}


def _unmatched(effects: GeneEffects | None, change: Tensor, batch: Batch) -> Tensor:
    assert effects is not None, "they come with the loss"
    with full_precision(change):
        return matching_loss(effects.gaps(change, batch.labels, batch.targets), batch.targets)


def _encoded_styles(
    nets: Grape, images: Tensor, fake: Tensor, weights: LossSettings
) -> tuple[Tensor | None, Tensor | None]:
    """E(x) and E(fake), in one pass where both are wanted; None for what no loss needs."""
    fake = fake.detach() if weights.detach_style else fake
    if weights.cycle > 0 and weights.style > 0:
        own, of_fake = nets.style_encoder(torch.cat([images, fake])).chunk(2)
        return own, of_fake
    own_only = nets.style_encoder(images) if weights.cycle > 0 else None
    fake_only = nets.style_encoder(fake) if weights.style > 0 else None
    return own_only, fake_only


class Objectives:
    """The restyling and the objectives with their weights, in the arithmetic and compiled as asked for.

    A method whose step differs replaces ``restyle`` or adds to ``of_generator`` (methods/impa_networks.py).

    Parameters
    ----------
    weights : of the losses; an objective without weight is not computed.
    backend : "off", or a backend of ``torch.compile``.
    autocast : makes the context of the arithmetic the forward passes run in.
    """

    def __init__(
        self,
        weights: LossSettings,
        backend: str = "off",
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self.weights, self._backend, self._autocast = weights, backend, autocast
        # R1 every few steps, and then as many times as strong, is the same penalty on average.
        self._with_r1 = weights.model_copy(update={"r1": weights.r1 * weights.r1_every})
        self._without_r1 = weights.model_copy(update={"r1": 0.0})
        self.restyle = self.prepared(restyle)
        self._discriminator = self.prepared(discriminator_objective)
        self.of_generator = [self.prepared(adversarial_objective)]
        if weights.cycle > 0 or weights.style > 0:
            self.of_generator.append(self.prepared(reconstruction_objective))
        if weights.match > 0:
            self.of_generator.append(self.prepared(matching_objective))
        if weights.match_shape > 0:
            self.of_generator.append(self.prepared(shape_matching_objective))

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function compute in the arithmetic, and compiled, as asked for."""
        function = function if self._backend == "off" else torch.compile(function, backend=self._backend)

        def call(*inputs: Any) -> Any:
            with self._autocast():
                return function(*inputs)

        return call

    def discriminator(self, nets: Grape, batch: Batch, restyled: Restyled, step: int = 0) -> tuple[Tensor, Terms]:
        """What D minimises in a step, counted from 0."""
        due = step % self.weights.r1_every == 0
        return self._discriminator(nets, batch, restyled, self._with_r1 if due else self._without_r1)

    def descend_generator(
        self, nets: Grape, batch: Batch, restyled: Restyled, descend: Callable[[Tensor, Terms], None]
    ) -> None:
        """Gradients of what M, F, G and E minimise (Eq. 4), with D frozen.

        Each objective is descended, and its activations freed, before the next is computed; what they ask of the fake
        adds up there and goes back through the restyling once. The sum of gradients is the gradient of the sum.
        """
        leaves = restyled.detached()
        for objective in self.of_generator:
            descend(*objective(nets, batch, leaves, self.weights))
        restyled.descend(leaves)


def viewed(images: Tensor, views: Tensor | None) -> Tensor:
    """Shift crops, their edges repeated, and change gains and offsets: (B, C, H, W), (B, 2 + 2C) -> (B, C, H, W).

    So D is shown crops, real and restyled ones alike (Zhao et al. 2020); gradients pass through. A discriminator that
    never sees the same pixels in the same place cannot memorise the cells, and one that looks through strided maps
    cannot be answered by a grid.
    """
    if views is None:
        return images
    batch, channels, height, width = images.shape
    down, right = views[:, :2].long().unbind(dim=1)
    rows = (torch.arange(height, device=images.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right[:, None]).clamp(0, width - 1)
    images = images.gather(2, rows[:, None, :, None].expand(batch, channels, height, width))
    images = images.gather(3, columns[:, None, None, :].expand(batch, channels, height, width))
    gain, offset = views[:, 2:, None, None].chunk(2, dim=1)
    return images * (1 + gain) + offset
