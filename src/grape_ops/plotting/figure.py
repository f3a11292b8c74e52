"""What all figures share: colours, an empty figure, and how one is written."""

import sys
from collections.abc import Iterable
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.artifacts.atomic import drafts_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure
    from matplotlib.transforms import BboxBase

FORMATS = ("pdf", "png")
# Okabe and Ito's colours, which most colour-blind readers can distinguish; grey is kept for chance.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
CHANCE = "#888888"
SHOWN_DPI = 120  # of a notebook's picture


def new_figure(width: float, height: float, *, dense: bool = False) -> "Figure":
    """Make an empty figure without pyplot: no global state, no display, and figures may be drawn in threads.

    Parameters
    ----------
    width, height : inches.
    dense : whether its parts stand close together, as rows of cells do.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    spacing: dict[str, Any] = {"h_pad": 0.02, "w_pad": 0.03, "hspace": 0.02, "wspace": 0.02} if dense else {}
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(**spacing))


def name_points(figure: "Figure", names: Iterable[str], x: Iterable[float], y: Iterable[float]) -> None:
    """Write names beside points of a figure of one axis that is otherwise finished, the most important first.

    A name stands at that of a point's four corners where it covers the fewest points; where it would touch an earlier
    name or the legend at all of them it is left out.
    """
    figure.draw_without_rendering()
    axis = figure.axes[0]
    legend = axis.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    points = [np.asarray(drawn.get_offsets()).reshape(-1, 2) for drawn in axis.collections]
    dots = axis.transData.transform(np.concatenate([np.empty((0, 2)), *points]))

    def covered(place: "BboxBase") -> int:
        return int(((dots > place.min) & (dots < place.max)).all(axis=1).sum())

    for name, point in zip(names, zip(x, y, strict=True), strict=True):
        labels = [
            axis.annotate(
                name,
                point,
                xytext=(3 if right else -3, 3 if up else -3),
                textcoords="offset points",
                ha="left" if right else "right",
                va="bottom" if up else "top",
                fontsize=7,
            )
            for up, right in product((True, False), repeat=2)
        ]
        places = {label: label.get_window_extent() for label in labels}
        free = [label for label, place in places.items() if not any(place.overlaps(other) for other in taken)]
        chosen = min(free, key=lambda label: covered(places[label]), default=None)
        taken += [places[chosen]] if chosen is not None else []
        for label in labels:
            if label is not chosen:
                label.remove()


def for_notebooks(figure: "Figure") -> "Figure":
    """Let a notebook show figures as pictures although pyplot, which usually teaches it, made none of them."""
    from matplotlib.figure import Figure

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    formatters = shell.display_formatter.formatters if shell is not None else {}
    if "image/png" in formatters and not any(Figure in known.type_printers for known in formatters.values()):
        formatters["image/png"].for_type(Figure, _png)
    return figure


def _png(figure: "Figure") -> bytes:
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=SHOWN_DPI)
    return picture.getvalue()


def save_figure(figure: "Figure", stem: Path, *, dpi: int = 200, simulated: bool) -> None:
    """Write a figure as PDF, with text that stays text, and as PNG.

    Parameters
    ----------
    figure : the figure; equal figures give equal files.
    stem : path of both files without their endings.
    dpi : pixels of the PNG per inch.
    simulated : whether to say below it that the screen is simulated.

    Raises
    ------
    GrapeOpsError : a file cannot be written.
    """
    import matplotlib

    if simulated and figure.legends:  # a legend below the figure takes the place of a line there
        figure.legends[0].set_title("simulated screen")
        figure.legends[0].get_title().set_fontsize(7)
    elif simulated:
        below = [text for text in (figure.get_supxlabel(), "simulated screen") if text]
        figure.supxlabel(" · ".join(below), fontsize=7, color="#555555")
    files = [stem.with_name(f"{stem.name}.{ending}") for ending in FORMATS]
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}), drafts_of(*files) as drafts:
        for ending, draft in zip(FORMATS, drafts, strict=True):
            # The date would make every file of the same figure another one.
            metadata: dict[str, Any] = {"CreationDate": None} if ending == "pdf" else {}
            figure.savefig(draft, format=ending, dpi=dpi, metadata=metadata)
