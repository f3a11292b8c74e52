"""The presets' networks take every size of crops that ``inspect`` chooses."""

import pytest
import torch

from grape_ops.config import load_config
from grape_ops.nn.grape import build_grape
from grape_ops.preprocess.crop_choice import SIZES


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", ["recommended.yaml", "large.yaml"])
def test_all_networks_take_the_sizes_that_inspect_chooses(preset: str, size: int) -> None:
    narrow = [f"model.{name}.{key}=8" for name in ("generator", "style_encoder") for key in ("width", "max_width")]
    config = load_config(preset, narrow)
    classifier = config.train.init.classifier.model_copy(update={"width": 8, "max_width": 8})
    sizes = {"n_perturbations": 3, "channels": 2, "image_size": size}
    nets = build_grape(config.model, rng=torch.Generator().manual_seed(0), classifier=classifier, **sizes)
    images, labels = torch.randn(2, 2, size, size), torch.tensor([0, 2])
    assert nets.restyle(images, labels).shape == images.shape
    assert nets.logits(images, labels).shape[0] == 2
    assert nets.style_encoder(images).shape == (2, config.model.style_dim)
