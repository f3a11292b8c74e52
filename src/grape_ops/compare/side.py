"""One of the two sides of a comparison: its maps, and the run and the cells they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from grape_ops.artifacts.ownership import what_lies_at
from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import read_map
from grape_ops.evaluate.maps import GeneMap, gene_map
from grape_ops.power.split_half import finished_halves
from grape_ops.report.inputs import gather
from grape_ops.schema import OBS_IS_HIT, OBS_N_CELLS, RUN_FILE, TRUST_DIR, UNS_SIMULATED
from grape_ops.train.run_folder import Run

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Side:
    """A run or a map, or several of one screen that differ by their seed only.

    Attributes
    ----------
    name : "A" or "B".
    places : what the command line names.
    maps : a map of each place; the first one is compared.
    cells : gene -> its number of cells, as the first map gives it; empty if that map gives none.
    run, store : of the first place, if it is a run, and if its cells are there.
    halves : maps of two halves of the cells, if `grape-ops trust` has made them.
    simulated : whether the screen is simulated.
    """

    name: str
    places: tuple[Path, ...]
    maps: tuple[GeneMap, ...]
    cells: dict[str, int] = field(default_factory=dict)
    run: Run | None = None
    store: CropStore | None = None
    halves: tuple[GeneMap, ...] = ()
    simulated: bool = False

    @property
    def called(self) -> str:
        """What texts call it: A (folder or file)."""
        more = f" and {len(self.places) - 1} more" if len(self.places) > 1 else ""
        return f"{self.name} ({self.places[0].name or self.places[0].resolve().name}{more})"

    @property
    def fingerprint(self) -> str:
        """What tells the cells of its run from any others; empty without a run."""
        return str(self.run.record["store_fingerprint"]) if self.run is not None else ""

    @property
    def is_hit(self) -> dict[str, bool]:
        """Whether genes have a phenotype, where the map says so."""
        return self.maps[0].is_hit or {}


def open_side(name: str, places: Sequence[Path]) -> Side:
    """Read one side.

    Raises
    ------
    GrapeOpsError : a place is neither a run nor a map, or its vectors cannot be read.
    """
    if not places:
        raise GrapeOpsError(f"{name} is empty: name the folder of a run, or an .h5ad of gene vectors.")
    opened = [_opened(place) for place in places]
    first, run, store = opened[0]
    halves: Sequence[AnnData] = ()
    if run is not None and store is not None and len(places) == 1:
        halves = finished_halves(store, run.path.parent / TRUST_DIR, run.config)
    counts = pd.to_numeric(first.obs[OBS_N_CELLS], errors="coerce").dropna() if OBS_N_CELLS in first.obs else {}
    return Side(
        name,
        tuple(places),
        tuple(gene_map(adata, str(place)) for (adata, _, _), place in zip(opened, places, strict=True)),
        {str(gene): int(n) for gene, n in counts.items()},
        run,
        store,
        tuple(gene_map(adata, f"{name}, half {number + 1}") for number, adata in enumerate(halves)),
        bool(first.uns.get(UNS_SIMULATED, False)) or (run is not None and run.simulated),
    )


def _opened(place: Path) -> "tuple[AnnData, Run | None, CropStore | None]":
    """A map, with its run and crop store where there is one."""
    if place.is_file():
        return read_map(place), None, None
    folder = next((folder for folder in (place, place / "run") if (folder / RUN_FILE).is_file()), None)
    if folder is None:
        raise GrapeOpsError(
            f"{place} is neither a run nor a map: there is {what_lies_at(place)}. Name the folder of `grape-ops run` "
            "or `grape-ops train`, or an .h5ad of gene vectors."
        )
    found = gather(folder, folder / "comparison", store_path=None, scores=None, truth=None)
    if found.vectors is None:
        raise GrapeOpsError(f"{place}: {found.missing['vectors']}")
    if found.phenotypes is not None and OBS_IS_HIT not in found.vectors.obs:
        found.vectors.obs[OBS_IS_HIT] = found.phenotypes.genes["is_hit"].reindex(found.vectors.obs_names).to_numpy()
    return found.vectors, found.run, found.store
