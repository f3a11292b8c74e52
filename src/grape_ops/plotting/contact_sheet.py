"""Sample crops as networks will see them: a row per cell, the composite and every channel.

Letters: n cells, C channels, H crop size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.plotting.figure import new_figure
from grape_ops.plotting.pictures import channel_views, composite, grey, in_a_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL_INCHES = 0.8
_LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200)  # µm of a scale bar
_LONGEST_BAR = 0.5  # of the crop


def contact_sheet(
    crops: np.ndarray, names: Sequence[str], labels: Sequence[str], title: str, pixel_size: float | None
) -> "Figure":
    """Draw crops (n, C, H, H) in [0, 1], all with the same limits per channel.

    Parameters
    ----------
    names, labels : of the channels and of the cells.
    pixel_size : of the crops, in micrometres; with it there is a scale bar.
    """
    views = channel_views(names, crops)
    columns = [("composite", composite(crops, views))] if len(views) > 1 else []
    columns += [(view.name, grey(crops[:, place], view)) for place, view in enumerate(views)]
    size, step = crops.shape[-1], crops.shape[-1] + 1
    figure = new_figure(_CELL_INCHES * len(columns) + 1.2, _CELL_INCHES * len(crops) + 0.6, dense=True)
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for axis, (name, pictures) in zip(axes, columns, strict=True):
        turned = in_a_row(pictures.swapaxes(1, 2)).swapaxes(0, 1)  # below each other
        axis.imshow(turned, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name, fontsize=7)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    axes[0].set_yticks([size / 2 + step * place for place in range(len(labels))], labels, fontsize=7)
    axes[0].tick_params(length=0)
    if pixel_size:
        _scale_bar(axes[0], size, pixel_size)
    figure.suptitle(title, fontsize=8)
    return figure


def _scale_bar(axis: "Axes", size: int, pixel_size: float) -> None:
    fitting = [length for length in _LENGTHS if length / pixel_size <= _LONGEST_BAR * size]
    if not fitting:
        return
    pixels = fitting[-1] / pixel_size
    start, height = 0.05 * size, 0.92 * size
    axis.plot([start, start + pixels], [height, height], color="white", linewidth=2, solid_capstyle="butt")
    axis.text(start, height - 0.04 * size, f"{fitting[-1]} µm", color="white", fontsize=5, va="bottom")
