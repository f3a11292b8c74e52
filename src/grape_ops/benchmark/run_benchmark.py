"""Table 1 and Fig. 4: all methods on the same cells, with their cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.ownership import check_folder
from grape_ops.benchmark.tables import benchmark_table, wrapped
from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config
from grape_ops.embed import map_names
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import is_simulated, read_map, write_details
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.evaluate.maps import gene_map, make_task
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import write_scores
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.groundtruth.truth import GroundTruth, load_pairs, load_truth
from grape_ops.methods import Method, check_methods, find_methods, method_names
from grape_ops.progress import note
from grape_ops.runner.jobs import Job, mean_cost
from grape_ops.runner.processes import do_jobs
from grape_ops.schema import SCORES_CSV, SCORES_JSON
from grape_ops.train.preflight import announce_trainings

if TYPE_CHECKING:
    from anndata import AnnData

TABLE_FILE = "table.txt"
COMMON_DIR = "common"
WORK_DIR = "work"
DETAILS_DIR = "evaluation"
OURS = (TABLE_FILE, WORK_DIR, DETAILS_DIR, COMMON_DIR, SCORES_JSON, SCORES_CSV)


@dataclass(frozen=True)
class MethodResult:
    """What enters the table under one name: vectors of each run, what a run costs, and what to know of it."""

    maps: "list[AnnData]"
    cost: dict[str, float] | None = None
    notes: tuple[str, ...] = ()
    order: int = 0  # of its method


def run_benchmark(
    store_path: Path,
    truth: str,
    out: Path,
    config: Config,
    *,
    methods: Sequence[str] = (),
    maps: Mapping[str, Path] | None = None,
    seeds: int = 3,
    at_a_time: int = 0,
    pairs: Sequence[Path] = (),
    aliases: Path | None = None,
    work: Path | None = None,
) -> str:
    """Run methods on the cells of a store and evaluate them; what is done already is not done again.

    Parameters
    ----------
    store_path, truth, out : the cells, known complexes (name or file), and the folder for everything that comes out.
    config : all settings.
    methods : names, or ``module:function`` for one of your own; if none, all that need no file, and those whose file
        is set.
    maps : further gene vectors: name -> .h5ad.
    seeds : runs of each method that draws anything, with the seeds from ``config.seed`` on.
    at_a_time : jobs beside each other; 0 takes one per core or GPU.
    pairs, aliases : as for ``evaluate``.
    work : folder of the jobs; ``out/work`` if None. Calls that share it share trainings.

    Returns
    -------
    The table as text; ``scores.json`` and its details are in ``out``.
    """
    check_folder(out, "a benchmark", ours=OURS)
    store, known = CropStore.open(store_path, where=config.where), load_truth(truth)
    names = load_aliases(aliases) if aliases else None
    given = {name: read_map(path) for name, path in (maps or {}).items()}
    chosen = chosen_methods(methods, config)
    check_methods(chosen.values(), store, config)
    check_truth(store, known, names)
    jobs = _jobs(chosen, config, seeds, store, work or out / WORK_DIR)
    announce_trainings([job.config for job in jobs if job.to_train], store)
    do_jobs(jobs, "Benchmark", at_a_time)
    entrants = gathered(jobs) | {name: MethodResult([adata]) for name, adata in given.items()}
    # The first is what the others are compared with: GRAPE if it is there, and chance only if there are no others.
    entrants = dict(sorted(entrants.items(), key=lambda item: item[1].order))
    return _evaluated(entrants, known, out, config, pairs, names)


def named_files(given: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FILE.h5ad`` words."""
    named: dict[str, Path] = {}
    for word in given:
        name, equals, file = (part.strip() for part in word.partition("="))
        if not (name and equals and file):
            raise GrapeOpsError(f"--map needs NAME=FILE.h5ad; got {word!r}.")
        if name in named or name in map_names() or name in method_names():
            raise GrapeOpsError(f"--map {word}: the name {name} is taken; choose another.")
        named[name] = Path(file)
    return named


def chosen_methods(methods: Sequence[str], config: Config) -> dict[str, Method]:
    """Find the methods asked for, or choose all that can run: what each is asked for by -> method."""
    if methods:
        return find_methods(methods)
    able = {name: method for name, method in find_methods(method_names()).items() if not method.lacks_input(config)}
    for name, method in able.items():
        if method.missing:
            note(f"{name} is left out, since {method.missing}.")
    return {name: method for name, method in able.items() if not method.missing}


def check_truth(store: CropStore, truth: GroundTruth, aliases: Aliases | None = None) -> None:
    """Stop before hours of training where the truth does not cover the genes of the store.

    Raises
    ------
    GrapeOpsError : fewer than two complexes have two genes in the store.
    """
    genes = gene_table(store)
    without_vectors = gene_anndata(np.zeros((len(genes), 1)), genes, "genes")
    make_task({"the store": [gene_map(without_vectors, "the store", aliases)]}, truth)


def gathered(jobs: Sequence[Job]) -> dict[str, MethodResult]:
    """Bring the runs of each method together."""
    maps: dict[str, list[AnnData]] = {}
    costs: dict[str, list[dict[str, float]]] = {}
    notes: dict[str, dict[str, None]] = {}
    made_by: dict[str, Method] = {}
    for job in jobs:
        for name, adata in job.maps().items():
            if made_by.setdefault(name, job.method).name != job.method.name:
                raise GrapeOpsError(f"{made_by[name].name} and {job.method.name} both make a map called {name}.")
            maps.setdefault(name, []).append(adata)
            costs.setdefault(name, []).append(job.cost())
            notes.setdefault(name, {}).update(dict.fromkeys(job.done["notes"]))
    return {
        name: MethodResult(runs, mean_cost(costs[name]), tuple(notes[name]), made_by[name].order)
        for name, runs in maps.items()
    }


def _jobs(methods: Mapping[str, Method], config: Config, seeds: int, store: CropStore, work: Path) -> list[Job]:
    if seeds < 1:
        raise GrapeOpsError(f"At least one seed is needed; got {seeds}.")
    return [
        Job.of(spec, seed, config, store.path, store_fingerprint(store), work)
        for spec, method in methods.items()
        for seed in range(config.seed, config.seed + (1 if method.deterministic else seeds))
    ]


def _evaluated(
    entrants: dict[str, MethodResult],
    truth: GroundTruth,
    out: Path,
    config: Config,
    pairs: Sequence[Path],
    aliases: Aliases | None,
) -> str:
    """Evaluate those that have all genes together; with those that lack some, all again on the common genes."""
    whole, partial = split_by_coverage(entrants, truth, aliases)
    tables = [_written(whole, truth, out, config, pairs, aliases)]
    if partial:
        lack = f"{', '.join(partial)} lack some genes of the truth that others have."
        try:
            shared = _written(entrants, truth, out / COMMON_DIR, config, pairs, aliases)
            tables.append("\n".join([*wrapped(f"{lack} On the genes that all have:"), "", shared]))
        except GrapeOpsError as error:  # too few genes are common: that is no reason to lose the table of the others
            tables.append("\n".join([*wrapped(f"{lack} The genes that all have cannot be evaluated: {error}"), ""]))
    text = "\n".join(tables)
    write_text(out / TABLE_FILE, text)
    return text


def _written(
    entrants: dict[str, MethodResult],
    truth: GroundTruth,
    folder: Path,
    config: Config,
    pairs: Sequence[Path],
    aliases: Aliases | None,
) -> str:
    """Evaluate methods together, write everything into a folder, and make the table."""
    scores = evaluate(entrants, truth, config, pairs, aliases)
    write_scores(scores, folder)
    simulated = is_simulated(run for entrant in entrants.values() for run in entrant.maps)
    write_details(scores, folder / DETAILS_DIR, simulated=simulated)
    return benchmark_table(scores, {name: entrant.notes for name, entrant in entrants.items()})


def evaluate(
    entrants: Mapping[str, MethodResult],
    truth: GroundTruth,
    config: Config,
    pairs: Sequence[Path] = (),
    aliases: Aliases | None = None,
) -> list[MethodScores]:
    """Score entrants as ``evaluate`` does, the cost of each beside its scores."""
    lists = [load_pairs(path, aliases) for path in pairs]
    maps = {name: entrant.maps for name, entrant in entrants.items()}
    scores = evaluate_maps(maps, truth, config.evaluate, config.seed, pairs=lists, aliases=aliases)
    return [replace(entry, cost=entrants[entry.method].cost) for entry in scores]


def split_by_coverage(
    entrants: dict[str, MethodResult], truth: GroundTruth, aliases: Aliases | None
) -> tuple[dict[str, MethodResult], dict[str, MethodResult]]:
    """Part entrants that have every gene of the truth that any of them has from those that lack some."""
    renamed = aliases.symbol if aliases else {}
    known = {renamed.get(gene, gene) for gene in truth.genes}
    genes = {
        name: set.intersection(*({renamed.get(str(g), str(g)) for g in run.obs_names} for run in entrant.maps)) & known
        for name, entrant in entrants.items()
    }
    every = set().union(*genes.values())
    whole = {name: entrant for name, entrant in entrants.items() if genes[name] == every}
    if not whole:  # no method has all genes: evaluate all methods on the common ones
        return entrants, {}
    return whole, {name: entrant for name, entrant in entrants.items() if name not in whole}
