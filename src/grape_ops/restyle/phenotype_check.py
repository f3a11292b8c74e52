"""The phenotype check: every gene's real and restyled cells compared, as tables and figures (section 4.3, Fig. 2).

Letters: n cells of a set, F features kept, C channels, H crop size.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops import __version__
from grape_ops.artifacts.atomic import drafts_of
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder, warn_replaced
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import store_fingerprint
from grape_ops.cells.writer import shard_names
from grape_ops.config import FeatureSettings, GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.plotting.figure import save_figure
from grape_ops.plotting.phenotype_figures import phenotype_figure, shares_figure
from grape_ops.plotting.pictures import channel_views
from grape_ops.progress import progress
from grape_ops.restyle.content import unrelated_content
from grape_ops.restyle.gene_check import GeneCheck, Principal
from grape_ops.restyle.measure import CONTENT_CELLS, Measurer, restyled_features
from grape_ops.restyle.phenotype import FeatureSpace
from grape_ops.restyle.phenotype_results import (
    FEATURES_TSV,
    PHENOTYPE_JSON,
    PHENOTYPE_TSV,
    TOP_COLUMNS,
    VALUE_COLUMNS,
    VALUES_FILE,
    figure_note,
    recognised,
    scored,
)
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching, rows_of_genes, unseen_cells
from grape_ops.schema import UNFINISHED_DIR

FIGURES_DIR = "figures"
MOST_FIGURES = 24
CELLS_PER_BATCH = 30  # controls measured in every batch at least, to scale its features by


def write_check(
    run_path: Path,
    store_path: Path,
    out: Path,
    settings: GenerateSettings,
    features: FeatureSettings,
    *,
    genes: Sequence[str] = (),
    where: str = "",
    seed: int = 0,
) -> dict[str, Any]:
    """Check whether restyled control cells show the phenotypes of real knock-outs, and write all there is to know.

    Parameters
    ----------
    run_path, store_path : the run and the store it was trained on.
    out : folder for ``phenotype.tsv`` (one row per gene), ``features.tsv`` (its top features), ``values.parquet``
        (their values in every cell) and ``phenotype.json`` (settings and summary).
    settings, features : of the check and of the measuring.
    genes : to check; all of the run if none is named.
    where : chooses among the cells of the run; all if empty.
    seed : draws cells, halves and forests.

    Returns
    -------
    What ``phenotype.json`` holds.
    """
    # What an interrupted call may have left.
    ours = (PHENOTYPE_TSV, FEATURES_TSV, VALUES_FILE, FIGURES_DIR, UNFINISHED_DIR)
    check_folder(out, "a phenotype check", ours=ours, marker=PHENOTYPE_JSON)
    with locked(out, "a phenotype check"):
        return _check(run_path, store_path, out, settings, features, genes, where, seed)


def _check(
    run_path: Path,
    store_path: Path,
    out: Path,
    settings: GenerateSettings,
    features: FeatureSettings,
    genes: Sequence[str],
    where: str,
    seed: int,
) -> dict[str, Any]:
    """Do the check in a folder that no other process writes into."""
    restyler = Restyler.open(run_path, store_path, where=where, ema=settings.ema, batch_size=settings.batch_size)
    names, control_row = restyler.names, restyler.store.control_label
    rows = rows_of_genes(restyler.store, names, genes)
    if control_row in rows:
        raise GrapeOpsError("The control has no phenotype to check; name genes.")
    measurer = Measurer(restyler.store, features)
    check = _measured(restyler, measurer, rows, settings, seed)
    cells = check.cells
    records, tops, values = [], [], []
    measured_cells = restyled_features(restyler, measurer, cells, [control_row, *rows], out / UNFINISHED_DIR)
    unchanged, _ = next(measured_cells)
    with progress("phenotypes", len(rows), "gene") as advance:
        for row, (restyled, content) in zip(rows, measured_cells, strict=True):
            record, top, value = check.gene(row, restyled, unchanged)
            records.append(record | content | {"row": row})
            tops.extend(top)
            values.extend(value)
            advance()
    measured = pd.DataFrame(records)
    measured["p_own"] = measured.pop("row").map(check.recognition.own_p_values()).astype(float)
    table = scored(measured, settings.q_value)
    summary = _summary(check, measurer, table)
    known = pd.concat(values, ignore_index=True) if values else pd.DataFrame(columns=list(VALUE_COLUMNS))
    matching = {row: part for row, (part, _) in check.knockouts.items()}
    _write_figures(restyler, table, known, cells[: settings.shown], matching, out / FIGURES_DIR)
    warn_replaced(out / PHENOTYPE_JSON)
    # The summary last: it says that all is there.
    with drafts_of(*(out / name for name in (PHENOTYPE_TSV, FEATURES_TSV, VALUES_FILE, PHENOTYPE_JSON))) as drafts:
        spreadsheet_safe(table).to_csv(drafts[0], sep="\t", index=False, float_format="%.6g")
        top_features = pd.DataFrame(tops, columns=list(TOP_COLUMNS))
        spreadsheet_safe(top_features).to_csv(drafts[1], sep="\t", index=False, float_format="%.6g")
        known.to_parquet(drafts[2], index=False)
        drafts[3].write_text(json.dumps(summary, indent=1) + "\n")
    shutil.rmtree(out / UNFINISHED_DIR)
    return summary


def _measured(
    restyler: Restyler, measurer: Measurer, rows: Sequence[int], settings: GenerateSettings, seed: int
) -> GeneCheck:
    """Draw and measure control cells, and for each gene the knock-out cells that match them."""
    store = restyler.store
    control_row = restyler.store.control_label
    drawn = draw_cells(store, control_row, max(settings.cells, CELLS_PER_BATCH * len(store.batches)), seed)
    cells = drawn[: settings.cells]
    matching = {row: draw_matching(store, row, cells, seed) for row in rows}
    unseen = {row: unseen_cells(restyler.run, store, row)[: settings.cells] for row in [*rows, control_row]}
    measured = measurer.cells(np.concatenate([drawn, *matching.values(), *unseen.values()]))
    sizes = [len(drawn), *map(len, matching.values()), *map(len, unseen.values())]
    controls, *parts = np.split(measured, np.cumsum(sizes)[:-1])
    knockouts = {row: (own, part) for (row, own), part in zip(matching.items(), parts, strict=False)}
    fresh = {row: (own, part) for (row, own), part in zip(unseen.items(), parts[len(rows) :], strict=True)}
    space = FeatureSpace.of(measurer.names, controls, store.batch_codes[drawn], len(store.batches), settings.redundant)
    scaled = [space(part, store.batch_codes[own]) for own, part in [(drawn, controls), *knockouts.values()]]
    real = np.concatenate(scaled)
    principal = Principal.of(real[real.any(axis=1)], settings.components)  # without cells that have no nucleus
    return GeneCheck(restyler, settings, space, principal, cells, controls[: len(cells)], knockouts, fresh, seed)


def _summary(check: GeneCheck, measurer: Measurer, table: pd.DataFrame) -> dict[str, Any]:
    """What ``phenotype.json`` holds: what was compared, and how."""
    run, cells = check.restyler.run, check.cells[:CONTENT_CELLS]
    unrelated = unrelated_content(check.restyler.store.read(cells), measurer.find).named()
    separable = table[table["separable"]]
    return {
        "version": __version__,
        "run": run.path.name,
        "checkpoint": (run.latest_checkpoint() or Path()).name,
        "ema": check.restyler.averaged,
        "store_fingerprint": store_fingerprint(check.restyler.store),
        "seed": check.seed,
        "genes": len(table),
        "separable": len(separable),
        "median_share": _median(separable["share"]),
        "median_direction": _median(separable["direction"]),
        "restyling_significant": int(table["restyling_significant"].sum()),
        **recognised(table),
        "features_measured": len(measurer.names),
        "features": list(check.space.names),
        "unrelated": {name: value if np.isfinite(value) else None for name, value in unrelated.items()},
        "settings": check.settings.model_dump(mode="json"),
        "feature_settings": measurer.settings.model_dump(mode="json"),
    } | check.restyler.store.subset_of_run


def _write_figures(
    restyler: Restyler,
    table: pd.DataFrame,
    values: pd.DataFrame,
    shown: np.ndarray,
    matching: dict[int, np.ndarray],
    folder: Path,
) -> None:
    """One panel per gene, the best separable first and not more than ``MOST_FIGURES``, and all genes' shares."""
    genes = table.loc[table["gene_symbol"].isin(values["gene_symbol"]), "gene_symbol"].tolist()[:MOST_FIGURES]
    store, rows = restyler.store, [restyler.names.index(gene) for gene in genes]
    folder.mkdir(parents=True, exist_ok=True)
    save_figure(shares_figure(table), folder / "shares", simulated=store.simulated)
    if not genes:
        return
    real = store.standardized(shown)
    knockouts = [store.standardized(matching[row][: len(shown)]) for row in rows]
    views = channel_views(store.channels, np.concatenate([real, *knockouts]))
    unchanged, *restyled_to = restyler.images(shown, restyler.styles([restyler.store.control_label, *rows]))
    files = shard_names((gene,) for gene in genes)
    lines = {line["gene_symbol"]: line for line in table.to_dict("records")}
    for gene, restyled, knockout in zip(genes, restyled_to, knockouts, strict=True):
        own = values[values["gene_symbol"] == gene]
        cells = (real, unchanged, restyled, knockout)
        figure = phenotype_figure(gene, own, figure_note(lines[gene]), cells, views)
        save_figure(figure, folder / files[(gene,)], simulated=store.simulated)


def _median(values: pd.Series) -> float | None:
    return float(values.median()) if values.notna().any() else None
