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
from grape_ops.evaluate.score_figures import CHANCE, COLOURS, sweep_figure
from grape_ops.evaluate.scores import without_nan
from grape_ops.groundtruth import GroundTruth
from grape_ops.report.generation import read_check
from grape_ops.report.inputs import ReportInputs, gather
from grape_ops.report.projection import projections
from grape_ops.report.report_figures import MAP_NAMES
from grape_ops.restyle.cell_figures import FORMATS, new_figure, save_figure
from grape_ops.restyle.phenotype_figures import phenotype_figure, shares_figure
from grape_ops.restyle.phenotype_results import PHENOTYPE_TSV, VALUES_FILE, figure_note
from grape_ops.restyle.pictures import channel_views
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching
from grape_ops.schema import UNS_METHOD
from grape_ops.train.run import Run

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = ("o", "s", "D", "^", "v", "P", "X")
# Eight colours by seven marks tell 56 complexes apart; with more, those of most genes are coloured.
MOST_COMPLEXES = 40
MOST_PANELS = 6
UNKNOWN = "#c4c4c4"
_CELLS_SHOWN = 6
LINES = {
    "map_ema": (COLOURS[0], "-"),
    "map": (COLOURS[0], ":"),
    "map_style_ema": (COLOURS[1], "-"),
    "map_style": (COLOURS[1], ":"),
}


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
    genes : whose phenotypes are drawn; those best told from control if none is named.

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
        save_figure(figure, out / name)
        drawn.append(name)

    panels: dict[str, Callable[[], Figure | None]] = {}
    if known is not None:
        panels = _phenotype_panels(inputs, *known, genes)
    for name, draw in panels.items():
        put(name, draw(), "")
    if known is None:
        missing["fig2"] = "--phenotype names the folder that `grape-ops phenotype` wrote."
    vectors = _maps(inputs, maps)
    put("fig3_maps", maps_figure(vectors, inputs.truth, inputs.run.config.seed) if vectors else None, "no vectors")
    why = inputs.missing.get("scores", "The scores hold no sweep over k: evaluate.sweep_max is below sweep_min.")
    put("fig4_clusters", sweep_figure(without_nan(inputs.scores)) if inputs.scores else None, why)
    why = "mAP along training is logged if `grape-ops train` is given --truth."
    put("fig5_training", training_figure(inputs.metrics), why)
    if earlier and drawn:
        warn_replaced(out)
    return drawn, missing


def maps_figure(maps: Mapping[str, "AnnData"], truth: GroundTruth | None, seed: int) -> "Figure":
    """Genes in the plane by several methods side by side, coloured by complex (Fig. 3)."""
    named = list(maps.items())[:MOST_PANELS]
    columns = len(named) if len(named) <= 4 else 3
    rows = -(-len(named) // columns)
    groups = _groups([name for _, adata in named for name in adata.obs_names], truth)
    wide = min(4, max(1, columns + 1))
    legend = 0.18 * -(-(len(groups) + 1) // wide) + 0.1
    figure = new_figure(2.6 * columns + 0.4, 2.5 * rows + legend)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (method, adata) in zip(axes, named, strict=False):
        genes = gene_map(adata, method)  # without controls
        kind, plane = next(iter(projections(genes.vectors, seed, method).items()))
        _genes(axis, plane, np.array(genes.genes), groups)
        axis.set_title(method, fontsize=9)
        axis.set_xlabel(kind.split(" ")[0], fontsize=7, color="#777777")
    for axis in axes[len(named) :]:
        axis.axis("off")
    handles, labels = axes[0].get_legend_handles_labels()
    if groups:
        figure.legend(handles, labels, loc="outside lower center", ncols=wide, frameon=False, fontsize=7)
    return figure


def _genes(axis: "Axes", plane: np.ndarray, names: np.ndarray, groups: Mapping[str, Sequence[str]]) -> None:
    known = {gene for genes in groups.values() for gene in genes}
    others = ~np.isin(names, list(known))
    # Genes of no known complex lie below, and do not hide the others.
    if others.any():
        label = "no known complex" if known else "genes"
        axis.scatter(plane[others, 0], plane[others, 1], s=10, color=UNKNOWN, linewidths=0, label=label)
    for index, (complex_, genes) in enumerate(groups.items()):
        own = np.isin(names, list(genes))
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index // len(COLOURS) % len(MARKS)]
        label = complex_ if len(complex_) <= 30 else complex_[:29] + "…"
        axis.scatter(
            plane[own, 0],
            plane[own, 1],
            s=22,
            color=colour,
            marker=mark,
            linewidths=0.3,
            edgecolors="white",
            label=label,
        )
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_color("#cccccc")
    axis.margins(0.06)


def _groups(names: Sequence[str], truth: GroundTruth | None) -> dict[str, list[str]]:
    """Complexes to colour: each gene in the first it belongs to, complexes of most genes first."""
    present, taken = set(names), set[str]()
    groups: dict[str, list[str]] = {}
    for complex_, genes in (truth.complexes if truth is not None else {}).items():
        groups[complex_] = [gene for gene in genes if gene in present and gene not in taken]
        taken.update(groups[complex_])
    several = {name: genes for name, genes in groups.items() if len(genes) > 1}
    kept = sorted(several, key=lambda name: -len(several[name]))[:MOST_COMPLEXES]
    return {name: several[name] for name in several if name in kept}


def training_figure(metrics: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """MAP along training, with and without the filter over weights, beside its chance level (Fig. 5)."""
    lines = [line for line in metrics if line.get("map") is not None]
    if len(lines) < 2:
        return None
    figure = new_figure(4.6, 3.0)
    axis = figure.subplots()
    steps = [line["step"] for line in lines]
    for key, (colour, dash) in LINES.items():
        values = [line.get(key) for line in lines]
        if any(value is not None for value in values):
            heights = np.array([np.nan if value is None else value for value in values], dtype=float)
            axis.plot(steps, heights, dash, color=colour, label=MAP_NAMES[key], linewidth=1.6)
    axis.plot(steps, [line["map_chance"] for line in lines], "--", color=CHANCE, label="chance", linewidth=1)
    axis.set(xlabel="training step", ylabel="mAP", ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, ncols=2)
    return figure


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
    unchanged, *painted = restyler.images(cells, restyler.styles([store.control_label, *rows]))
    shown = zip(genes, painted, knockouts, strict=True)
    return {gene: ((real, unchanged, restyled, knockout), views) for gene, restyled, knockout in shown}


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
