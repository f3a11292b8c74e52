"""Table 2: GRAPE with one thing changed at a time, against the reference.

An ablation is a YAML file with only the keys it changes; its first line, a comment, says what it is. Those that ship
are in ``grape_ops/configs/ablations``. Ablations of the read-out share the reference's training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.ownership import check_folder
from grape_ops.benchmark.run_benchmark import (
    DETAILS_DIR,
    OURS,
    TABLE_FILE,
    WORK_DIR,
    MethodResult,
    check_truth,
    evaluate,
)
from grape_ops.benchmark.tables import ablation_table, wrapped
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config, merged, parse_config
from grape_ops.embed import map_name
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import write_details
from grape_ops.evaluate.scores import write_scores
from grape_ops.groundtruth.truth import load_truth
from grape_ops.progress import note
from grape_ops.runner.jobs import Job, mean_cost
from grape_ops.runner.processes import do_jobs
from grape_ops.train.preflight import announce_trainings

REFERENCE = "reference"
METHOD = "grape"  # whose settings are changed


@dataclass(frozen=True)
class Ablation:
    """One change.

    Attributes
    ----------
    name : of the file.
    meaning : its first line.
    config : the reference's settings with the change.
    """

    name: str
    meaning: str
    config: Config


def ablation_names() -> list[str]:
    """Names of the ablations that ship."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def read_ablation(name: str, reference: Config) -> Ablation:
    """Lay an ablation, by its name or a file of the user's, over the reference's settings."""
    file = Path(name)
    shipped = _shipped() / f"{name}.yaml"
    if file.is_file():
        text = file.read_text()
    elif shipped.is_file():
        text = shipped.read_text()
    else:
        raise GrapeOpsError(f"There is no ablation {name}; there are: {', '.join(ablation_names())}, or a YAML file.")
    try:
        changes = yaml.safe_load(text)
    except (yaml.YAMLError, *DAMAGE) as error:
        raise GrapeOpsError(f"The ablation {name} is not valid YAML: {why(error)}") from None
    if not isinstance(changes, dict):
        raise GrapeOpsError(f"The ablation {name} changes nothing: it must hold the keys that differ.")
    first = text.splitlines()[0]
    meaning = first.removeprefix("#").strip() if first.startswith("#") else file.stem
    config = parse_config(merged(reference.model_dump(mode="json"), changes), source=f"the ablation {name}")
    return Ablation(file.stem, meaning, config)


def run_ablations(
    store_path: Path,
    truth: str,
    out: Path,
    config: Config,
    *,
    ablations: Sequence[str] = (),
    seeds: int = 3,
    at_a_time: int = 0,
    work: Path | None = None,
) -> str:
    """Train GRAPE as it is and with each change, and compare; what is done already is not done again.

    Parameters
    ----------
    store_path, truth, out, config, seeds, at_a_time, work : as for ``run_benchmark``; ``config`` is the reference.
    ablations : names or files; all that ship if none.

    Returns
    -------
    The table as text; ``scores.json`` and its details are in ``out``.
    """
    if seeds < 1:
        raise GrapeOpsError(f"At least one seed is needed; got {seeds}.")
    check_folder(out, "ablations", ours=OURS)
    store, known = CropStore.open(store_path, where=config.where), load_truth(truth)
    check_truth(store, known)
    read = [Ablation(REFERENCE, "as configured", config)]
    read += [read_ablation(name, config) for name in ablations or ablation_names()]
    drawn, folder, cells = range(config.seed, config.seed + seeds), work or out / WORK_DIR, store_fingerprint(store)
    jobs = {a.name: [Job.of(METHOD, seed, a.config, store.path, cells, folder) for seed in drawn] for a in read}
    if len(jobs) < len(read):
        raise GrapeOpsError(f"Two ablations have the same name among {', '.join(a.name for a in read)}.")
    # What changes neither the jobs nor the read-out would be the reference under another name.
    made = {a.name: ([job.identity for job in jobs[a.name]], _read_out(a.config)) for a in read}
    same = ", ".join(a.name for a in read[1:] if made[a.name] == made[REFERENCE])
    if len(set(map(repr, made.values()))) == 1:
        raise GrapeOpsError(f"The settings are those of {same} already: there is nothing to compare with.")
    has_already = f"The reference has these already, so they are no ablation of it: {same}."
    if same:
        note(has_already)
    compared = [read[0], *(a for a in read if made[a.name] != made[REFERENCE])]
    # Changes of the read-out only have the reference's jobs, which are done once.
    todo = {job.folder: job for a in compared for job in jobs[a.name]}
    announce_trainings([job.config for job in todo.values() if job.to_train], store)
    do_jobs(list(todo.values()), "Ablations", at_a_time)
    entrants = {a.name: _entrant(a.config, jobs[a.name]) for a in compared}
    scores = evaluate(entrants, known, config)
    write_scores(scores, out)
    write_details(scores, out / DETAILS_DIR, simulated=store.simulated)
    text = ablation_table(scores, {a.name: a.meaning for a in compared})
    if same:
        text += "\n".join([*wrapped(has_already), ""])
    write_text(out / TABLE_FILE, text)
    return text


def _read_out(config: Config) -> str:
    """Name of the map that the settings read out of a training."""
    return map_name(config, config.embed.position, config.embed.ema)


def _entrant(config: Config, jobs: Sequence[Job]) -> MethodResult:
    maps = [job.maps()[_read_out(config)] for job in jobs]
    return MethodResult(maps, mean_cost([job.cost() for job in jobs]))


def _shipped() -> Any:
    return resources.files("grape_ops") / "configs" / "ablations"
