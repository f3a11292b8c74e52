"""What the page is made from: the run and what the command line names, or what lies beside the run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.config import EvaluateSettings, ExploreSettings
from grape_ops.embed import trained_nets
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import named_maps
from grape_ops.explore.live_restyling import LiveRestyler
from grape_ops.explore.map_view import MapView
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.report.inputs import ReportInputs
from grape_ops.restyle.restyler import Restyler
from grape_ops.schema import UNS_METHOD

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Request:
    """What to explore, as the command line says it."""

    run: Path
    maps: Sequence[Path] = ()
    groups: Sequence[str] = ()
    store: Path | None = None
    truth: str | None = None
    pairs: Sequence[Path] = ()
    aliases: Path | None = None
    hits: Path | None = None
    settings: ExploreSettings = field(default_factory=ExploreSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)


def open_map_views(inputs: ReportInputs, request: Request, aliases: Aliases) -> tuple[list[MapView], list[str]]:
    """Maps, the run's own first, and what was left out of the files beside the run.

    What the command line names must be maps; files that merely lie beside the run may be something else.
    """
    own = inputs.vectors
    map_views: list[MapView] = []
    left_out: list[str] = []

    def add(name: str, runs: "AnnData | list[AnnData]", place: str) -> None:
        if own is not None and runs is not own and _same(runs, own):
            return
        label = f"{name} ({place})" if name in {view.name for view in map_views} else name
        several = runs if isinstance(runs, list) else [runs]
        run, compared = inputs.run, inputs.places is not None and inputs.places.holds(label)
        map_views.append(
            MapView(label, several, aliases, run.config.seed, is_own=runs is own, keep=run.path, compared=compared)
        )

    if own is not None:
        add(str(own.uns[UNS_METHOD]), own, "")
    named = bool(request.maps or request.groups)
    for file in request.maps if named else _beside(request.run):
        try:
            for name, runs in named_maps([file], []).items():
                add(name, runs, f"{file.resolve().parent.name}/{file.name}")
        except GrapeOpsError as error:
            if named:
                raise
            left_out.append(f"{file.name} beside the run is left out: {str(error).replace(str(file), file.name)}")
    for name, runs in named_maps([], request.groups).items():
        add(name, runs, "group")
    return map_views, left_out


def open_live_restyler(inputs: ReportInputs) -> tuple[LiveRestyler | None, str]:
    """The generator, or why there is none."""
    if inputs.store is None:
        return None, inputs.missing["store"]
    try:
        nets, averaged = trained_nets(inputs.run, averaged=inputs.averaged)
    except GrapeOpsError as error:
        return None, str(error).replace(str(inputs.run.path), inputs.run.path.name)
    return LiveRestyler(Restyler(inputs.run, inputs.store, nets, averaged)), ""


def _beside(run: Path) -> list[Path]:
    """Files that a pipeline leaves beside its run."""
    folder = run.resolve().parent
    return [*sorted(folder.glob("genes*.h5ad")), *sorted((folder / "baselines").glob("*.h5ad"))]


def _same(other: "AnnData | list[AnnData]", own: "AnnData") -> bool:
    """Whether a file holds the run's own vectors."""
    if isinstance(other, list) or other.shape != own.shape:
        return False
    return list(other.obs_names) == list(own.obs_names) and bool(np.allclose(_dense(other), _dense(own)))


def _dense(adata: "AnnData") -> np.ndarray:
    return np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X)
