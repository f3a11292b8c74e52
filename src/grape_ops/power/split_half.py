"""``grape-ops trust``: make the map twice, from disjoint halves of the cells, and see whether the two agree.

out/
  reproducibility.tsv    one row per map
  genes.tsv              one row per map and gene: which genes to believe
  similarities.png, .pdf every pair of genes in both maps
  trust.json             the methods that calls have compared, and the store's fingerprint
  work/                  the methods' jobs on each half (``runner/jobs.py``)
  halves/                the cells of each half, while they are needed, and features measured on them
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_folder_of, draft_of, write_json
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.spreadsheet import spreadsheet_safe
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.cells.writer import finish_shard, finish_store, put_crops, start_shard
from grape_ops.config import Config
from grape_ops.cosine import unit_rows
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.maps import gene_map
from grape_ops.evaluate.reproducibility import different_genes, map_agreement
from grape_ops.evaluate.significance import add_one_p, benjamini_hochberg
from grape_ops.methods import METHODS, Method, check_methods, find_methods
from grape_ops.methods.cell_matching import SOURCE
from grape_ops.methods.grape import training_identity
from grape_ops.plotting.calibration_figures import similarities_figure
from grape_ops.plotting.figure import save_figure
from grape_ops.progress import progress
from grape_ops.runner.jobs import Job
from grape_ops.runner.processes import do_jobs
from grape_ops.schema import GENE, OBS_N_CELLS, ROW, SHARD, TRUST_GENES, TRUST_JSON, TRUST_MAPS
from grape_ops.train.preflight import announce_trainings
from grape_ops.words import counted

if TYPE_CHECKING:
    from anndata import AnnData

HALVES = ("half1", "half2")
OURS = (TRUST_MAPS, TRUST_GENES, "similarities.png", "similarities.pdf", TRUST_JSON, "work", "halves")
PERMUTATIONS = 1000
_AT_ONCE = 1024


def split_half(store_path: Path, out: Path, methods: Sequence[str], config: Config, at_a_time: int = 0) -> pd.DataFrame:
    """Make each method's map from both halves of a store's cells and compare the two.

    Parameters
    ----------
    store_path : crop store.
    out : folder for the results; maps of the same settings that it holds are not made again, and what earlier calls
        compared with the present settings stays in the tables.
    methods : names of methods, or ``module:function`` for one of your own.
    config : the methods' settings, and the seed, which draws the halves too.
    at_a_time : jobs beside each other; 0 takes one per core or GPU.

    Returns
    -------
    The table of reproducibility: one row per map.

    Raises
    ------
    GrapeOpsError : an unknown method, or one that cannot be made from half of the cells.
    """
    check_folder(out, "a comparison of halves", ours=OURS)
    found = find_methods(methods)
    check_sees_cells(found.values())
    store = CropStore.open(store_path, where=config.where)
    halves = [_Half.of(store, config, half, out) for half in (0, 1)]
    with locked(out, "the halves"):
        jobs = {spec: [half.job(spec) for half in halves] for spec in found}
        todo = [job for pair in jobs.values() for job in pair if not job.finished]
        if todo:
            check_methods(found.values(), store, config)
            announce_trainings([job.config for job in todo if job.to_train], store)
            dealt = draw_halves(store, config.seed)
            for number, half in enumerate(halves):
                if not half.store.exists():
                    write_half(store, dealt == number, half.store)
                check_methods(found.values(), CropStore.open(half.store), config)
            do_jobs(todo, "Halves", at_a_time)
            for half in halves:
                shutil.rmtree(half.store)
        where = {"where": store.where} if store.where else {}
        jobs = _compared_before(out, halves, found.values()) | jobs
        record = {
            "methods": list(dict.fromkeys([*_methods_before(out), *found])),
            "store": store_fingerprint(store),
            "training": training_identity(config),
        }
        write_json(out / TRUST_JSON, record | where)
        return _compare(jobs, out, config, store.simulated)


def check_sees_cells(methods: Iterable[Method]) -> None:
    """Refuse methods whose vectors are the same whichever cells they are given.

    Raises
    ------
    GrapeOpsError : a method is made of prior knowledge.
    """
    for method in methods:
        if method.reads == "prior knowledge":
            raise GrapeOpsError(
                f"{method.name} is made of prior knowledge of genes, which is the same for both halves of the cells: "
                "the two maps would agree whatever the cells show. Leave it out of --methods."
            )


@dataclass(frozen=True)
class _Half:
    """Half of a store's cells: what tells them from any others, where they lie, and how methods are run on them."""

    identity: str
    store: Path
    config: Config
    work: Path

    @classmethod
    def of(cls, store: CropStore, config: Config, half: int, out: Path) -> "_Half":
        identity = identity_of(__version__, store_fingerprint(store), config.seed, HALVES[half])
        place = out / "halves" / f"{HALVES[half]}-{identity[:10]}" / "store"
        own = {"seed": config.seed + half, "where": ""}  # its store holds the chosen cells alone
        return cls(identity, place, config.model_copy(update=own), out / "work")

    def job(self, spec: str) -> Job:
        return Job.of(spec, self.config.seed, self.config, self.store, self.identity, self.work)


def finished_halves(store: CropStore, out: Path, config: Config, spec: str = "grape") -> "list[AnnData]":
    """The main map of each half that an earlier call has made with these settings; empty if it has not."""
    pair = [_Half.of(store, config, half, out).job(spec) for half in (0, 1)]
    return [next(iter(job.maps_asked_for().values())) for job in pair] if all(job.finished for job in pair) else []


def _compared_before(out: Path, halves: Sequence[_Half], methods: Iterable[Method]) -> dict[str, list[Job]]:
    """Jobs of other methods, or the same, that earlier calls have compared with the settings of now."""
    found, names = {}, {method.name for method in methods}
    for spec in _methods_before(out):
        with suppress(GrapeOpsError):  # a method of the user's may be gone
            pair = [half.job(spec) for half in halves]
            if all(job.finished and (job.spec in METHODS or job.method.name not in names) for job in pair):
                found[spec] = pair
    return found


def _methods_before(out: Path) -> list[str]:
    """Methods that earlier calls have compared, with whatever settings."""
    try:
        return [str(spec) for spec in json.loads((out / TRUST_JSON).read_text())["methods"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _compare(jobs: Mapping[str, Sequence[Job]], out: Path, config: Config, simulated: bool) -> pd.DataFrame:
    """Compare the two halves of every map, and write what comes out; -> the table."""
    rows, gene_tables, pairs = [], [], {}
    for first, second in jobs.values():
        maps = [first.maps_asked_for(), second.maps_asked_for()]
        for name in maps[0]:
            figures, of_genes, cosines = compare_halves(maps[0][name], maps[1][name], config)
            rows.append({"method": name, **figures})
            gene_tables.append(of_genes.assign(method=name))
            pairs[name] = cosines
    table = pd.DataFrame(rows).round(4)
    for name, content in ((TRUST_MAPS, table), (TRUST_GENES, pd.concat(gene_tables).round(4))):
        with draft_of(out / name) as draft:
            spreadsheet_safe(content).to_csv(draft, sep="\t", index=False)
    save_figure(similarities_figure(pairs, table), out / "similarities", simulated=simulated)
    return table


def draw_halves(store: CropStore, seed: int) -> np.ndarray:
    """Deal the cells of every perturbation and batch into two halves: -> (N,) 0 or 1.

    A perturbation with a single cell is in one half only, and left out of the comparison.
    """
    halves = np.zeros(len(store), np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(store))
    # Cells of one perturbation, batch by batch, are dealt in turn, so that halves differ by one cell at most.
    order = order[np.lexsort((store.batch_codes[order], store.labels[order]))]
    counts = np.bincount(store.labels, minlength=len(store.perturbations))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    halves[order] = (np.arange(len(order)) - starts[store.labels[order]] + store.labels[order]) % 2
    return halves


def write_half(store: CropStore, chosen: np.ndarray, out: Path) -> None:
    """Write some cells of a store (N,) bool as a store of their own; it appears when it is complete."""
    there = np.flatnonzero(chosen)
    of_table = there if store.table_rows is None else store.table_rows[there]
    cells = store.cells.iloc[there].assign(**{SOURCE: of_table}).reset_index(drop=True)
    cells[ROW] = cells.groupby(SHARD).cumcount()
    records = {}
    with draft_folder_of(out) as draft, progress("Half of the cells", len(cells), "cell") as advance:
        for shard, rows in cells.groupby(SHARD, sort=True).indices.items():
            shape = (len(rows), len(store.channels), store.crop_size, store.crop_size)
            file, offset = start_shard(draft, str(shard), shape, store.pixel_type)
            for first in range(0, len(rows), _AT_ONCE):
                part = rows[first : first + _AT_ONCE]
                put_crops(file, offset, first, store.read(there[part]))
                advance(len(part))
            records[str(shard)] = finish_shard(draft, str(shard), cells.iloc[rows], {})
        kept = (store.channels, records, store.pixel_type, store.crop_size, store.meta["scaling"])
        finish_store(draft, cells, *kept, {"half_of": store.path.name}, {})


def compare_halves(
    first: "AnnData", second: "AnnData", config: Config
) -> tuple[dict[str, float], pd.DataFrame, np.ndarray]:
    """Compare two maps on the genes that both have: -> figures, one row per gene, the (pairs, 2) cosines."""
    maps = [gene_map(adata, name) for adata, name in zip((first, second), HALVES, strict=True)]
    genes = sorted(set(maps[0].genes) & set(maps[1].genes))
    if len(genes) < 4:
        raise GrapeOpsError(f"The two halves share {counted(len(genes), 'genes')}; comparing maps needs at least four.")
    vectors = [part.vectors[part.rows(genes)] for part in maps]
    rng = np.random.default_rng(config.seed)
    figures, of_genes = map_agreement(vectors[0], vectors[1], config.evaluate.neighbours, PERMUTATIONS, rng)
    null = different_genes(vectors[0], vectors[1], rng)
    figures["different_genes"] = float(np.quantile(null, 0.95))
    p_values = add_one_p([np.count_nonzero(null >= value) for value in of_genes["correlation"]], len(null))
    of_genes |= {"p_value": p_values, "q_value": benjamini_hochberg(p_values)}
    cells = sum(adata.obs[OBS_N_CELLS].loc[genes].to_numpy() for adata in (first, second))
    table = pd.DataFrame({"method": "", GENE: genes, OBS_N_CELLS: cells, **of_genes})
    unit = [unit_rows(part) for part in vectors]
    upper = np.triu_indices(len(genes), k=1)
    return figures, table, np.stack([(part @ part.T)[upper] for part in unit], axis=1)
