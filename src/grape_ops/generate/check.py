"""The phenotype check: every gene's real and restyled cells compared, as tables and figures (section 4.3, Fig. 2).

Letters: n cells of a set, F features kept, C channels, H crop size.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grape_ops import __version__
from grape_ops.cells.writer import shard_names
from grape_ops.config import FeatureSettings, GenerateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.generate import distances
from grape_ops.generate.content import unrelated_content
from grape_ops.generate.draw import draw_cells, draw_matching, gene_row
from grape_ops.generate.figures import save_figure
from grape_ops.generate.measure import Measurer
from grape_ops.generate.painted import CONTENT_CELLS, painted_features
from grape_ops.generate.phenotype import FEWEST_CELLS, FeatureSpace, direction_agreement, separate
from grape_ops.generate.pictures import channel_views
from grape_ops.generate.plots import phenotype_figure, shares_figure
from grape_ops.generate.restyle import Restyler
from grape_ops.generate.verdicts import (
    FEATURES_TSV,
    PHENOTYPE_JSON,
    PHENOTYPE_TSV,
    SETS,
    TOP_COLUMNS,
    VALUE_COLUMNS,
    VALUES_FILE,
    scored,
    verdict,
)
from grape_ops.places import claim_folder
from grape_ops.progress import progress
from grape_ops.schema import UNFINISHED_DIR

FIGURES_DIR = "figures"
MOST_FIGURES = 24
CELLS_PER_BATCH = 30  # controls measured in every batch at least, to scale its features by


@dataclass(frozen=True)
class Principal:
    """Principal components of the features, in which many-dimensional distances are taken.

    Attributes
    ----------
    mean, axes : (F,), (F, d).
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, components: int) -> "Principal":
        """Fit to real cells (n, F)."""
        mean = values.mean(axis=0)
        _, _, axes = np.linalg.svd(values - mean, full_matrices=False)
        return cls(mean, axes[:components].T)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n, F) -> (n, d)."""
        return (values - self.mean) @ self.axes


def write_check(
    run_path: Path,
    store_path: Path,
    out: Path,
    settings: GenerateSettings,
    features: FeatureSettings,
    *,
    genes: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Check whether restyled control cells show the phenotypes of real knock-outs, and write all there is to know.

    Parameters
    ----------
    run_path, store_path : the run and the store it was trained on.
    out : folder for ``phenotype.tsv`` (a row a gene), ``features.tsv`` (its top features), ``values.parquet`` (their
        values in every cell) and ``phenotype.json`` (settings and summary).
    settings, features : of the comparison and of the measuring.
    genes : to check; all of the run if none is named.
    seed : draws cells, halves and forests.

    Returns
    -------
    What ``phenotype.json`` holds.
    """
    ours = (
        PHENOTYPE_TSV,
        FEATURES_TSV,
        VALUES_FILE,
        FIGURES_DIR,
        UNFINISHED_DIR,
    )  # what an interrupted call may have left
    claim_folder(out, "a phenotype check", ours=ours, marker=PHENOTYPE_JSON)
    restyler = Restyler.open(run_path, store_path, ema=settings.ema, batch_size=settings.batch_size)
    store, names = restyler.store, restyler.names
    rows = [gene_row(names, gene) for gene in dict.fromkeys(genes)] or list(range(len(names) - 1))
    control_row = len(names) - 1
    if control_row in rows:
        raise GrapeOpsError("The control has no phenotype to check; name genes.")
    measurer = Measurer(store, features)
    drawn = draw_cells(store, control_row, max(settings.cells, CELLS_PER_BATCH * len(store.batches)), seed)
    cells = drawn[: settings.cells]
    matching = {row: draw_matching(store, row, cells, seed) for row in rows}
    real = measurer.cells(np.concatenate([drawn, *matching.values()]))
    splits = np.split(real, np.cumsum([len(drawn), *map(len, matching.values())])[:-1])
    space = FeatureSpace.of(measurer.names, splits[0], store.batch_codes[drawn], len(store.batches), settings.redundant)
    check = _Check(restyler, measurer, settings, space, cells, splits[0][: len(cells)], seed)
    knockouts = dict(zip(rows, splits[1:], strict=True))
    principal = Principal.of(
        _known(
            np.concatenate(
                [space(splits[0], store.batch_codes[drawn])]
                + [space(knockouts[row], store.batch_codes[matching[row]]) for row in rows]
            )
        ),
        settings.components,
    )
    records, tops, values = [], [], []
    painted = painted_features(restyler, measurer, cells, [control_row, *rows], out / UNFINISHED_DIR)
    unchanged, _ = next(painted)
    with progress("phenotypes", len(rows), "gene") as advance:
        for row, (restyled, content) in zip(rows, painted, strict=True):
            record, top, value = check.gene(row, matching[row], knockouts[row], restyled, unchanged, principal)
            records.append(record | content)
            tops.extend(top)
            values.extend(value)
            advance()
    table = scored(pd.DataFrame(records), settings.q_value)
    summary = {
        "version": __version__,
        "run": run_path.name,
        "checkpoint": (restyler.run.latest_checkpoint() or Path()).name,
        "ema": restyler.averaged,
        "store_fingerprint": restyler.run.record["store_fingerprint"],
        "seed": seed,
        "genes": len(table),
        "told_apart": int(table["told_apart"].sum()),
        "median_share": _median(table.loc[table["told_apart"], "share"]),
        "median_direction": _median(table.loc[table["told_apart"], "direction"]),
        "features_measured": len(measurer.names),
        "features": list(space.names),
        "unrelated": {
            name: value if np.isfinite(value) else None
            for name, value in unrelated_content(store.read(cells[:CONTENT_CELLS]), measurer.find).named().items()
        },
        "settings": settings.model_dump(mode="json"),
        "feature_settings": features.model_dump(mode="json"),
    }
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / PHENOTYPE_TSV, sep="\t", index=False, float_format="%.6g")
    pd.DataFrame(tops, columns=list(TOP_COLUMNS)).to_csv(out / FEATURES_TSV, sep="\t", index=False, float_format="%.6g")
    known = pd.concat(values, ignore_index=True) if values else pd.DataFrame(columns=list(VALUE_COLUMNS))
    known.to_parquet(out / VALUES_FILE, index=False)
    (out / PHENOTYPE_JSON).write_text(json.dumps(summary, indent=1) + "\n")
    _write_figures(restyler, table, known, cells[: settings.shown], matching, out / FIGURES_DIR)
    shutil.rmtree(out / UNFINISHED_DIR)
    return summary


def _write_figures(
    restyler: Restyler,
    table: pd.DataFrame,
    values: pd.DataFrame,
    shown: np.ndarray,
    matching: dict[int, np.ndarray],
    folder: Path,
) -> None:
    """A panel a gene, those told best from control first and not more than ``MOST_FIGURES``, and all genes' shares."""
    genes = table.loc[table["gene_symbol"].isin(values["gene_symbol"]), "gene_symbol"].tolist()[:MOST_FIGURES]
    store, rows = restyler.store, [restyler.names.index(gene) for gene in genes]
    folder.mkdir(parents=True, exist_ok=True)
    save_figure(shares_figure(table), folder / "shares")
    if not genes:
        return
    real = store.standardized(shown)
    knockouts = [store.standardized(matching[row][: len(shown)]) for row in rows]
    views = channel_views(store.channels, np.concatenate([real, *knockouts]))
    painted = restyler.images(shown, restyler.styles(rows))
    files = shard_names((gene,) for gene in genes)
    lines = {line["gene_symbol"]: line for line in table.to_dict("records")}
    for gene, restyled, knockout in zip(genes, painted, knockouts, strict=True):
        own = values[values["gene_symbol"] == gene]
        figure = phenotype_figure(gene, own, verdict(lines[gene]), (real, restyled, knockout), views)
        save_figure(figure, folder / files[(gene,)])


class _Check:
    """What the checks of all genes share."""

    def __init__(
        self,
        restyler: Restyler,
        measurer: Measurer,
        settings: GenerateSettings,
        space: FeatureSpace,
        cells: np.ndarray,
        controls: np.ndarray,
        seed: int,
    ):
        self.restyler, self.measurer, self.settings, self.space = restyler, measurer, settings, space
        self.cells, self.controls, self.seed = cells, controls, seed
        self.batches = restyler.store.batch_codes[cells]

    def gene(
        self,
        row: int,
        matching: np.ndarray,
        knockout: np.ndarray,
        restyled: np.ndarray,
        unchanged: np.ndarray,
        principal: Principal,
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[pd.DataFrame]]:
        """A gene's row of the table, its top features, and their values in all cells."""
        gene, settings = self.restyler.names[row], self.settings
        record: dict[str, Any] = {"gene_symbol": gene, "n_cells": len(matching), "note": ""}
        rng = np.random.default_rng([self.seed, row])
        real = _whole(knockout)
        target = self.space(knockout, self.restyler.store.batch_codes[matching])[real]
        same, other = _whole(self.controls), _whole(self.controls) & _whole(restyled)
        control = self.space(self.controls, self.batches)
        paired = control[other], self.space(restyled, self.batches)[other]
        if len(target) < FEWEST_CELLS or same.sum() < FEWEST_CELLS:
            return record | {"note": f"fewer than {FEWEST_CELLS} cells", "p_value": np.nan, "auc": np.nan}, [], []
        parted = separate(control[same], target, settings, self.seed)
        record |= {"auc": parted.auc, "p_value": parted.p_value}
        top = [k for k in range(min(settings.top_features, len(parted.features))) if parted.importance[k] > 0]
        tops = [
            {
                "gene_symbol": gene,
                "rank": rank + 1,
                "feature": self.space.names[parted.features[k]],
                "importance": parted.importance[k],
                "importance_sd": parted.importance_sd[k],
                "control": float(np.median(control[same, parted.features[k]])),
                "restyled": float(np.median(paired[1][:, parted.features[k]])) if other.any() else np.nan,
                "knock-out": float(np.median(target[:, parted.features[k]])),
            }
            for rank, k in enumerate(top)
        ]
        sets = dict(zip(SETS, (control[same], paired[1], target), strict=True))
        values = [
            pd.DataFrame(
                {
                    "gene_symbol": gene,
                    "set": name,
                    "feature": self.space.names[f],
                    "value": part[:, f].astype(np.float32),
                }
            )
            for name, part in sets.items()
            for f in parted.features[top]
        ]
        if other.sum() < FEWEST_CELLS:
            record["note"] = "restyled cells have no nuclei"
        else:
            record |= self._distances(*paired, target, principal, rng)
            whole = _whole(unchanged) & other
            back = self.space(unchanged, self.batches)
            record["direction"] = direction_agreement(
                control[whole], back[whole], self.space(restyled, self.batches)[whole], target
            )
        return record, tops, values

    def _distances(
        self,
        control: np.ndarray,
        restyled: np.ndarray,
        target: np.ndarray,
        principal: Principal,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        settings = self.settings
        options = {"draws": settings.bootstrap, "confidence": settings.confidence}
        phenotype = distances.differing_features(control, target, settings.q_value)
        found: dict[str, float] = {"n_differing": int(phenotype.sum())}
        way = distances.coverage(control, restyled, target, phenotype, rng, splits=settings.splits, **options)  # type: ignore[arg-type]
        found |= {"share": way.share.value, "share_low": way.share.low, "share_high": way.share.high}
        if not phenotype.all():
            found["side_effect"] = float((way.restyled - way.floor)[~phenotype].mean())
        # Fréchet distances grow as sets shrink: all of them are taken between sets of one size.
        near, far, goal = (principal(part) for part in (control, restyled, target))
        size = min(len(near), len(goal) // 2)
        order = rng.permutation(len(goal))
        half, rest = goal[order[:size]], goal[order[size : 2 * size]]
        width = distances.median_width(half)
        for name, part in (("control", near), ("restyled", far), ("floor", rest)):
            chosen = part[rng.permutation(len(part))[:size]]
            frechet = distances.bootstrap(distances.frechet_distance, chosen, half, rng, **options)  # type: ignore[arg-type]
            kernel = distances.kernel_interval(part, half, width, rng, **options)  # type: ignore[arg-type]
            for kind, interval in (("frechet", frechet), ("kernel", kernel)):
                found |= {
                    f"{kind}_{name}": interval.value,
                    f"{kind}_{name}_low": interval.low,
                    f"{kind}_{name}_high": interval.high,
                }
        return found


def _whole(measured: np.ndarray) -> np.ndarray:
    """Cells in which a nucleus and a body were found: (n, K) -> (n,) bool."""
    return np.isfinite(measured).any(axis=1)


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.abs(values).sum(axis=1) > 0]


def _median(values: pd.Series) -> float | None:
    return float(values.median()) if values.notna().any() else None
