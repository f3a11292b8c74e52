"""Figures for a paper, as PDF and PNG: the map by several methods, scores over k, training, and phenotypes.

One function a figure; ``write_figures`` draws all that a run, its scores and its phenotype check have the data for,
and says which it could not draw. Letters: P perturbations.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grape_ops.artifacts.ownership import check_folder, warn_replaced
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import shard_names
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import named_maps
from grape_ops.evaluate.maps import gene_map
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import sweep_table
from grape_ops.groundtruth import GroundTruth
from grape_ops.plotting.figure import FORMATS, save_figure
from grape_ops.plotting.map_figures import Plane, maps_figure, training_figure
from grape_ops.plotting.phenotype_figures import phenotype_figure, shares_figure
from grape_ops.plotting.pictures import channel_views
from grape_ops.plotting.score_figures import sweep_figure
from grape_ops.report.generation import read_check
from grape_ops.report.inputs import ReportInputs, gather
from grape_ops.report.projection import projections
from grape_ops.restyle.phenotype_results import PHENOTYPE_TSV, VALUES_FILE, figure_note
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching
from grape_ops.schema import UNS_METHOD
from grape_ops.train.run_folder import Run

if TYPE_CHECKING:
    from anndata import AnnData

    from grape_ops.plotting.figure import Figure

# Eight colours by seven marks tell 56 complexes apart; with more, those of most genes are coloured.
MOST_COMPLEXES = 40
MOST_PANELS = 6
_CELLS_SHOWN = 6


def write_figures(
    run_path: Path,
    out: Path,
    *,
    maps: Sequence[Path] = (),
    scores: Path | None = None,
    truth: str | None = None,
    store_path: Path | None = None,
    phenotype: Path | None = None,
    genes: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """Draw every figure there is data for.

    Parameters
    ----------
    run_path : the run folder.
    out : folder for the figures, each as PDF and PNG.
    maps : gene vectors of the methods to show side by side; those of the run alone if none is given.
    scores, truth, store_path : as for the report.
    phenotype : folder written by ``grape-ops phenotype``.
    genes : whose phenotypes are drawn; the most separable from control if none is named.

    Returns
    -------
    names of the figures drawn, and for each figure that was not, why.
    """
    earlier = [file.name for file in out.iterdir() if file.name.startswith("fig")] if out.is_dir() else []
    check_folder(out, "figures", ours=earlier)
    inputs = gather(run_path, out / "figures", store_path=store_path, scores=scores, truth=truth)
    known = _check(phenotype, inputs.run) if phenotype is not None else None
    drawn: list[str] = []
    missing: dict[str, str] = {}

    def put(name: str, figure: "Figure | None", why: str) -> None:
        if figure is None:
            missing[name] = why
            return
        out.mkdir(parents=True, exist_ok=True)
        save_figure(figure, out / name, simulated=inputs.run.simulated)
        drawn.append(name)

    panels: dict[str, Callable[[], Figure | None]] = {}
    if known is not None:
        panels = _phenotype_panels(inputs, *known, genes)
    for name, draw in panels.items():
        put(name, draw(), "")
    if known is None:
        missing["fig2"] = "--phenotype names the folder that `grape-ops phenotype` wrote."
    planes = map_planes(dict(list(_maps(inputs, maps).items())[:MOST_PANELS]), inputs.run.config.seed)
    complexes = complexes_to_colour([gene for plane in planes.values() for gene in plane.genes], inputs.truth)
    put("fig3_maps", maps_figure(planes, complexes) if planes else None, "no vectors")
    why = inputs.missing.get("scores", "The scores hold no sweep over k: evaluate.sweep_max is below sweep_min.")
    put("fig4_clusters", _sweep(inputs.scores), why)
    why = "mAP along training is logged if `grape-ops train` is given --truth."
    put("fig5_training", training_figure(inputs.metrics), why)
    if earlier and drawn:
        warn_replaced(out)
    return drawn, missing


def map_planes(maps: Mapping[str, "AnnData"], seed: int) -> dict[str, Plane]:
    """Project maps to the plane, without controls: by method."""
    planes = {}
    for method, adata in maps.items():
        genes = gene_map(adata, method)
        kind, places = next(iter(projections(genes.vectors, seed, method).items()))
        planes[method] = Plane(kind.split(" ")[0], genes.genes, places)
    return planes


def complexes_to_colour(names: Sequence[str], truth: GroundTruth | None) -> dict[str, list[str]]:
    """Complexes to colour: each gene in the first it belongs to, complexes of most genes first."""
    present, taken = set(names), set[str]()
    groups: dict[str, list[str]] = {}
    for complex_, genes in (truth.complexes if truth is not None else {}).items():
        groups[complex_] = [gene for gene in genes if gene in present and gene not in taken]
        taken.update(groups[complex_])
    several = {name: genes for name, genes in groups.items() if len(genes) > 1}
    kept = sorted(several, key=lambda name: -len(several[name]))[:MOST_COMPLEXES]
    return {name: several[name] for name in several if name in kept}


def _phenotype_panels(
    inputs: ReportInputs, table: pd.DataFrame, values: pd.DataFrame, genes: Sequence[str]
) -> dict[str, "Callable[[], Figure | None]"]:
    """Panels of Fig. 2 by name: all genes' shares, and for each gene its cells and features."""
    lines = {str(line["gene_symbol"]): line for line in table.to_dict("records")}
    unknown = [gene for gene in genes if gene not in lines]
    if unknown:
        raise GrapeOpsError(
            f"The phenotype check has no gene {', '.join(unknown)}; it was made for {len(lines)} genes."
        )
    drawn = list(genes) or [gene for gene in lines if gene in set(values["gene_symbol"])][:MOST_PANELS]
    pictures = _pictures(inputs, drawn)
    files = shard_names((gene,) for gene in drawn)

    def panel(gene: str) -> "Figure":
        own = values[values["gene_symbol"] == gene]
        cells, views = pictures.get(gene, (None, []))
        return phenotype_figure(gene, own, figure_note(lines[gene]), cells, views)

    found: dict[str, Callable[[], Figure | None]] = {"fig2_shares": lambda: shares_figure(table)}
    return found | {f"fig2_{files[(gene,)]}": lambda gene=gene: panel(gene) for gene in drawn}


def _pictures(inputs: ReportInputs, genes: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Control cells, the same restyled to control and to genes, and knock-out cells; nothing without a store."""
    store: CropStore | None = inputs.store
    if store is None or inputs.run.latest_checkpoint() is None or not genes:
        return {}
    restyler = Restyler.open(inputs.run.path, store.path, ema=inputs.averaged)
    rows = [restyler.names.index(gene) for gene in genes]
    seed = inputs.run.config.seed
    cells = draw_cells(store, store.control_label, _CELLS_SHOWN, seed)
    real = store.standardized(cells)
    knockouts = [store.standardized(draw_matching(store, row, cells, seed)) for row in rows]
    views = channel_views(store.channels, np.concatenate([real, *knockouts]))
    unchanged, *restyled_to = restyler.images(cells, restyler.styles([store.control_label, *rows]))
    shown = zip(genes, restyled_to, knockouts, strict=True)
    return {gene: ((real, unchanged, restyled, knockout), views) for gene, restyled, knockout in shown}


def _sweep(scores: Sequence[MethodScores] | None) -> "Figure | None":
    return sweep_figure(sweep_table(scores), scores[0].kmeans.k) if scores else None


def _maps(inputs: ReportInputs, maps: Sequence[Path]) -> dict[str, "AnnData"]:
    if maps:
        return {name: adata for name, adata in named_maps(maps, ()).items() if not isinstance(adata, list)}
    return {} if inputs.vectors is None else {str(inputs.vectors.uns[UNS_METHOD]): inputs.vectors}


def _check(folder: Path, run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of a phenotype check of the run."""
    if not (folder / PHENOTYPE_TSV).is_file() or not (folder / VALUES_FILE).is_file():
        raise GrapeOpsError(
            f"{folder} holds no phenotype check; `grape-ops phenotype RUN STORE --out {folder}` does it."
        )
    check = read_check(folder, run.record["store_fingerprint"], (run.latest_checkpoint() or Path()).name)
    return check.table, pd.read_parquet(folder / VALUES_FILE)


def written(drawn: Sequence[str], missing: Mapping[str, str], out: Path) -> str:
    """What was drawn and what was not, as text for the command line."""
    lines = [f"{len(drawn)} figures as {' and '.join(ending.upper() for ending in FORMATS)}: {out}"]
    return "\n".join([*lines, *(f"not drawn: {name}: {why}" for name, why in missing.items())])
