"""``grape-ops trust --cells``: what the map and the hits would be with fewer cells per gene, and what more would bring.

out/
  cells.tsv                 one row per method, share of the cells and draw: mAP, share of hits, agreement
  needed.tsv                cells per gene at which each curve reaches 90 % of its plateau, or why that cannot be said
  cells_per_gene.png, .pdf  the curves
  work/                     the methods' jobs on each subset (``runner/jobs.py``), and what each subset gave
  subsets/                  the cells of a subset, while they are needed

Two disjoint subsets are drawn at every share of the cells, so that the agreement of two maps is measured at the same
number of cells as their mAP. Letters: N cells.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of, write_json
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError, NothingToTest
from grape_ops.groundtruth.truth import GroundTruth
from grape_ops.hits.feature_sources import what_decides
from grape_ops.hits.find_hits import find_hits
from grape_ops.methods import check_methods, find_methods
from grape_ops.plotting.calibration_figures import cells_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.power.cells_needed import cells_needed, in_words
from grape_ops.power.recovery import map_and_chance
from grape_ops.power.split_half import check_sees_cells, compare_halves, write_half
from grape_ops.progress import note
from grape_ops.runner.jobs import Job
from grape_ops.runner.processes import do_jobs
from grape_ops.train.preflight import announce_trainings

# One of so many cells; two subsets of one half each are all cells.
ONE_OF = (16, 8, 4, 2, 1)
FEWEST = 5  # cells per gene below which nothing is measured
SCORES = ("map", "hits", "agreement")
OURS = ("cells.tsv", "needed.tsv", "cells_per_gene.png", "cells_per_gene.pdf", "work", "subsets")


@dataclass(frozen=True)
class _Point:
    """One draw of a share of the cells."""

    one_of: int
    draw: int
    identity: str
    out: Path

    @property
    def file(self) -> Path:
        """Where its rows of the table are kept."""
        return self.out / "work" / f"points-{self.identity[:10]}.json"

    def store(self, part: int) -> Path:
        return self.out / "subsets" / f"{self.identity[:10]}-{part}" / "store"


def trust_cells(
    store_path: Path,
    out: Path,
    methods: Sequence[str],
    truth: GroundTruth,
    config: Config,
    seeds: int = 3,
    at_a_time: int = 0,
) -> str:
    """Make maps and find hits on fewer and fewer of a store's cells; -> what was found, to print.

    Parameters
    ----------
    store_path : crop store.
    out : folder for the results; what it holds of the same cells and settings is not computed again.
    methods : names of methods, or ``module:function``.
    truth : known complexes, for mAP.
    config : settings of the methods and of hits, and the seed of the first draw.
    seeds : draws of each share of the cells.
    at_a_time : jobs beside each other; 0 takes one per core or GPU.

    Raises
    ------
    GrapeOpsError : an unknown method, or too few cells per gene to take some away.
    """
    check_folder(out, "a comparison of numbers of cells", ours=OURS)
    found = find_methods(methods)
    check_sees_cells(found.values())
    store = CropStore.open(store_path, where=config.where)
    check_methods(found.values(), store, config)
    shares = _shares(store)
    decides_hits = [config.hits.decisive(), what_decides(config)]
    facts = (__version__, store_fingerprint(store), truth.sha256, decides_hits, config.evaluate.neighbours)
    decisive = {spec: method.decisive(config) for spec, method in found.items()}
    with locked(out, "the subsets"):
        rows: list[dict[str, object]] = []
        for one_of in shares:
            for draw in range(config.seed, config.seed + (seeds if one_of > 1 else 1)):
                point = _Point(one_of, draw, identity_of(*facts, decisive, one_of, draw), out)
                if not point.file.exists():
                    _measure(point, store, tuple(found), truth, config, at_a_time)
                rows += json.loads(point.file.read_text())
        return _written(pd.DataFrame(rows), out, store.simulated)


def _shares(store: CropStore) -> list[int]:
    """Choose the shares that leave enough cells per gene, smallest first.

    Raises
    ------
    GrapeOpsError : there are fewer than three below all cells.
    """
    cells = _cells_per_gene(store)
    shares = [one_of for one_of in ONE_OF if cells / one_of >= FEWEST]
    if len(shares) < 4:
        raise GrapeOpsError(
            f"trust --cells takes cells away to see what that costs, and the screen has {cells:.0f} cells per gene "
            f"(median); it needs at least {FEWEST * 8}, so that an eighth leaves {FEWEST}."
        )
    return shares


def _cells_per_gene(store: CropStore) -> float:
    counts = np.bincount(store.labels, minlength=len(store.perturbations))
    return float(np.median(np.delete(counts, store.control_label)))


def draw_subsets(store: CropStore, one_of: int, seed: int) -> list[np.ndarray]:
    """Draw one of so many cells of every perturbation, batch by batch: -> two disjoint subsets (N,) bool.

    All cells, once, for one of one.
    """
    if one_of == 1:
        return [np.ones(len(store), dtype=bool)]
    rng = np.random.default_rng([seed, one_of])
    order = rng.permutation(len(store))
    order = order[np.lexsort((store.batch_codes[order], store.labels[order]))]
    counts = np.bincount(store.labels, minlength=len(store.perturbations))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    first = rng.integers(one_of, size=len(counts))  # where counting begins, for each perturbation
    place = np.empty(len(store), dtype=np.int64)
    place[order] = (np.arange(len(order)) - starts[store.labels[order]] + first[store.labels[order]]) % one_of
    return [place == 0, place == one_of // 2]


def _measure(
    point: _Point, store: CropStore, specs: Sequence[str], truth: GroundTruth, config: Config, at_a_time: int
) -> None:
    """Make the maps of a point and find its hits, and keep the rows they give."""
    chosen = draw_subsets(store, point.one_of, point.draw)
    places = [point.store(part) if point.one_of > 1 else store.path for part in range(len(chosen))]
    for subset, place in zip(chosen, places, strict=True):
        if not place.exists():
            write_half(store, subset, place)
    # The store of a subset holds the chosen cells alone.
    settings = config.model_copy(update={"seed": point.draw, **({"where": ""} if point.one_of > 1 else {})})
    jobs = {
        spec: [
            Job.of(spec, point.draw, settings, place, identity_of(point.identity, part), point.out / "work")
            for part, place in enumerate(places)
        ]
        for spec in specs
    }
    todo = [job for pair in jobs.values() for job in pair if not job.finished]
    announce_trainings([job.config for job in todo if job.to_train], store)
    do_jobs(todo, f"One of {point.one_of} cells" if point.one_of > 1 else "All cells", at_a_time)
    cells = CropStore.open(places[0], where=settings.where)
    hits, genes = _share_of_hits(cells, settings), len(store.perturbations) - 1
    common = {"cells_per_gene": _cells_per_gene(cells), "one_of": point.one_of, "draw": point.draw}
    rows: list[dict[str, object]] = [{"method": "hits", **common, "hits": None if hits is None else hits / genes}]
    for pair in jobs.values():
        maps = [job.maps_asked_for() for job in pair]
        for name in maps[0]:
            scored = [map_and_chance(part[name], truth) for part in maps]
            row: dict[str, object] = {
                "method": name,
                **common,
                "map": scored[0] and float(np.mean([score[0] for score in scored if score])),
            }
            if scored[0]:
                row["chance"] = scored[0][1]
            if len(maps) > 1:
                row["agreement"] = compare_halves(maps[0][name], maps[1][name], config)[0]["correlation"]
            rows.append(row)
    write_json(point.file, rows)
    if point.one_of > 1:
        for place in places:
            shutil.rmtree(place.parent)


def _share_of_hits(store: CropStore, config: Config) -> int | None:
    """Count the genes with a phenotype, by ``grape-ops hits``; None where guides cannot be tested."""
    try:
        return int(find_hits(store, config).genes["is_hit"].sum())
    except NothingToTest as error:
        note(f"Hits are left out. {error}")
        return None


def _written(rows: pd.DataFrame, out: Path, simulated: bool) -> str:
    """Write the tables and the figure; -> what was found, in words."""
    table = rows.reindex(columns=["method", "cells_per_gene", "one_of", "draw", *SCORES, "chance"])
    table[["cells_per_gene", *SCORES, "chance"]] = table[["cells_per_gene", *SCORES, "chance"]].astype(float)
    needed, curves = [], {}
    for method in table["method"].unique().tolist():
        own = table[table["method"] == method]
        for score in SCORES:
            curve = own[own[score].notna()]
            if curve.empty:
                continue
            chance = float(curve["chance"].mean()) if score == "map" else 0.0
            found = cells_needed(curve["cells_per_gene"].to_numpy(), curve[score].to_numpy(), chance)
            needed.append({"method": method, "score": score, **found.columns(), "in_words": in_words(found, score)})
            curves[method, score] = found
    if not needed:
        raise GrapeOpsError("No curve could be measured: no map shares two complexes with --truth, and no guides.")
    told = pd.DataFrame(needed)
    for name, content in (("cells.tsv", table), ("needed.tsv", told)):
        with draft_of(out / name) as draft:
            spreadsheet_safe(content).to_csv(draft, sep="\t", index=False, float_format="%.4g")
    figure = cells_figure(table, {key: curve.fit for key, curve in curves.items()})
    save_figure(figure, out / "cells_per_gene", simulated=simulated)
    means = table.groupby(["method", "one_of"], sort=False)[["cells_per_gene", *SCORES]].mean().reset_index()
    lines = [f"{row['method']}, {row['score']}: {row['in_words']}" for row in needed]
    return "\n".join([means.drop(columns="one_of").round(3).to_string(index=False, na_rep="–"), "", *lines])
