"""Small networks in double precision, and a batch for them."""

import torch

from grape_ops.cells.batches import Batch
from grape_ops.config import ClassifierSettings, ModelSettings
from grape_ops.nn.grape import Grape, build_grape

P, B = 5, 6
SEEN = ClassifierSettings(width=4, max_width=8, steps=3, batch_size=8)


def nets64(
    *, looks: bool = False, shapes: bool = False, generator: dict[str, object] | None = None, **changes: object
) -> Grape:
    """Five small networks for 32 px crops of two channels; with ``looks``, D looks through a classifier."""
    small = {"width": 4, "max_width": 8, "blocks": 3}
    settings = ModelSettings.model_validate(
        {
            "embedding_dim": 6,
            "style_dim": 4,
            "mapping_width": 32,
            "generator": {"width": 4, "max_width": 8, "down_blocks": 2, "middle_blocks": 1} | (generator or {}),
            "discriminator": small | ({"judges": "features", "head_width": 4} if looks else {}),
            "style_encoder": small,
        }
        | changes
    )
    rng = torch.Generator().manual_seed(0)
    seen = SEEN if looks else None
    nets = build_grape(settings, n_perturbations=P, channels=2, image_size=32, rng=rng, classifier=seen, shapes=shapes)
    return nets.double()


def batch64(targets: tuple[int, ...] = (3, 0, 1, 3, 0, 1)) -> Batch:
    """Six random crops of three perturbations."""
    rng = torch.Generator().manual_seed(1)
    images = torch.randn(B, 2, 32, 32, generator=rng, dtype=torch.float64)
    return Batch(images, torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor(targets))
