"""What all figures share: colours, an empty figure, and how one is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grape_ops.artifacts.atomic import draft_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

FORMATS = ("pdf", "png")
# Okabe and Ito's colours, which most colour-blind readers can distinguish; grey is kept for chance.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
CHANCE = "#888888"


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


def save_figure(figure: "Figure", stem: Path, *, dpi: int = 200, simulated: bool = False) -> None:
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

    if simulated:
        below = [text for text in (figure.get_supxlabel(), "simulated screen") if text]
        figure.supxlabel(" · ".join(below), fontsize=7, color="#555555")
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        for ending in FORMATS:
            # The date would make every file of the same figure another one.
            metadata: dict[str, Any] = {"CreationDate": None} if ending == "pdf" else {}
            with draft_of(stem.with_name(f"{stem.name}.{ending}")) as draft:
                figure.savefig(draft, format=ending, dpi=dpi, metadata=metadata)
