"""How D is shown crops: shifted and with another gain, real and restyled ones alike (Zhao et al. 2020).

Gradients pass through. A discriminator that never sees the same pixels in the same place cannot memorise the cells,
and one that looks through strided maps cannot be answered by a grid.
Letters: B batch, C channels, H and W height and width.
"""

import torch
from torch import Tensor


def viewed(images: Tensor, views: Tensor | None) -> Tensor:
    """Shift crops, their edges repeated, and change gains and offsets: (B, C, H, W), (B, 2 + 2C) -> (B, C, H, W)."""
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
