"""All steps from one file: what the file may say, and how it is read and done.

``pipeline_steps.py`` says which steps there are and what each depends on, ``artifacts/steps.py`` which are up to date.
"""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import typer
import yaml
from pydantic import Field, ValidationError

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.damage import read_json
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.locks import locked
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.steps import OUTDATED_DIR, run_step
from grape_ops.config import Config, Settings, lay_over, merged, misfits, parse_config, read_yaml
from grape_ops.errors import LEFT_OUT, GrapeOpsError
from grape_ops.pipeline_steps import pipeline_steps
from grape_ops.progress import note
from grape_ops.schema import (
    QUALITY_FILE,
    QUALITY_TABLE,
    SCORES_JSON,
    TRUTH_FILE,
)

PIPELINE_FILE = "pipeline.yaml"  # of the demo
# Fewer cells than a check of a screen takes: enough for the strong phenotypes of the demo, and a minute or two.
DEMO_CHECK = {"cells": 100, "trees": 100, "bootstrap": 50}


class PipelineFile(Settings):
    """What a pipeline file may say; paths in it count from the file's folder."""

    screen: str = Field("screen", description="Folder of the screen.")
    screens: tuple[str, ...] = Field(
        (), description="Folders of several screens for one store, in place of `screen`; their batches are kept apart."
    )
    out: str = Field(".", description="Folder for store, run, gene vectors, scores and report.")
    simulate: bool = Field(False, description="Make the screen first, by the settings under simulate.")
    truth: str | None = Field(None, description="Known complexes: a built-in name or a file; none, no scores.")
    positions: tuple[Literal[1, 2, 3], ...] = Field(
        (1, 2), min_length=1, description="Positions of gene vectors, the main one, which the report shows, first."
    )
    baselines: tuple[str, ...] = Field(("random", "statistics"), description="Baselines scored on the same cells.")
    hits: bool = Field(True, description="Say which genes have a phenotype, where the cells name guides.")
    phenotype: bool = Field(
        False, description="Check whether restyled cells show the phenotypes of the knock-outs (minutes to hours)."
    )
    trust: bool = Field(
        False, description="Make every map twice more, from halves of the cells, and see whether the two agree."
    )
    config: str | None = Field(None, description="Configuration file or preset.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings over those of the file.")


def run_pipeline(file: Path, overrides: Iterable[str] = ()) -> None:
    """Do the steps of a pipeline file that are not up to date, with settings ``a.b=c`` over those of the file.

    Raises
    ------
    GrapeOpsError : the file does not fit, or a step's input does not.
    """
    plan, config = read_pipeline(file, overrides)
    with locked(file.parent / plan.out, "a pipeline"):
        _do_steps(plan, config, file)


def _do_steps(plan: PipelineFile, config: Config, file: Path) -> None:
    """Do the steps that are not up to date, in a folder that no other process writes into."""
    out = file.parent / plan.out
    for step in pipeline_steps(plan, config, file.parent):
        run_step(step, out)
    if plan.truth is not None:
        from grape_ops.evaluate.print_scores import print_scores
        from grape_ops.evaluate.scores import read_scores

        print_scores(read_scores(out / SCORES_JSON))
    typer.echo(f"Report: {out / 'report.html'}")
    if read_json(out / "store" / QUALITY_FILE, "what preprocessing dropped", {"problems": (list, dict)})["problems"]:
        typer.echo(f"Some tiles, cells or batches were left out: {out / 'store' / QUALITY_TABLE}")
        raise typer.Exit(LEFT_OUT)


def run_demo(out: Path, overrides: Iterable[str] = ()) -> None:
    """Write the pipeline file of the demo and do it."""
    # 24 simulated genes, strongly changed, do not need the whole length of the preset; what is held out of training
    # tells for each gene whether its restyling is to be believed.
    settings: dict[str, Any] = {
        "train": {"steps": 500, "holdout": 0.1, "init": {"networks": 1, "classifier": {"width": 16, "steps": 1200}}},
        "generate": dict(DEMO_CHECK),
    }
    for override in overrides:
        lay_over(settings, override)
    check_folder(out, "the demo", marker=PIPELINE_FILE, in_pipeline=True)
    plan: dict[str, Any] = {
        "simulate": True,
        "screen": "screen",
        "truth": f"screen/{TRUTH_FILE}",
        "config": "recommended.yaml",
        "settings": settings,
    }
    if find_spec("cp_measure") is not None:
        plan["phenotype"] = True
    else:
        note("Restyled cells are not checked: that takes the extra `features` (pip install 'grape-ops[features]').")
    file = out / PIPELINE_FILE
    text = "# Everything `grape-ops demo` does; `grape-ops run` on this file does it again.\n" + yaml.safe_dump(
        plan, sort_keys=False
    )
    with locked(out, "the demo"):
        if file.exists() and (earlier := file.read_text()) != text:
            kept = out / OUTDATED_DIR / f"pipeline-{identity_of(earlier)[:8]}.yaml"
            write_text(kept, earlier)
            note(f"{file} is written anew; the earlier one is {kept}. `grape-ops run` would have done it as it was.")
        write_text(file, text)
    run_pipeline(file)


def read_pipeline(file: Path, overrides: Iterable[str] = ()) -> tuple[PipelineFile, Config]:
    """Read a pipeline file and resolve its configuration, with settings ``a.b=c`` over those of the file."""
    if not file.exists():
        raise GrapeOpsError(f"There is no pipeline file {file}; `grape-ops inspect SCREEN --out {file}` writes one.")
    content = read_yaml(file)
    if set(content) <= set(Config.model_fields) and not set(content) <= set(PipelineFile.model_fields):
        raise GrapeOpsError(
            f"{file} holds settings, and no pipeline. Write a pipeline file with `config: {file.name}` in it; "
            "docs/pipeline.md shows one, and `grape-ops demo` writes one."
        )
    try:
        plan = PipelineFile.model_validate(content)
    except ValidationError as error:
        raise GrapeOpsError(f"{file} is no pipeline file that can be done:\n{misfits(error, PipelineFile)}") from None
    _check_baselines(plan.baselines)
    tree: dict[str, Any] = {}
    if plan.config is not None:
        beside = file.parent / plan.config
        tree = read_yaml(beside if beside.is_file() else plan.config)
    tree = merged(tree, plan.settings)
    for override in overrides:
        lay_over(tree, override)
    config = parse_config(tree, source=" and ".join([str(file), *(f"--set {override}" for override in overrides)]))
    main = plan.positions[0]
    if "position" in config.embed.model_fields_set and config.embed.position != main:
        raise GrapeOpsError(
            f"embed.position={config.embed.position} contradicts {file}: the first of its `positions`, {main}, is the "
            "main one. Put the position you want first there."
        )
    return plan, config.model_copy(update={"embed": config.embed.model_copy(update={"position": main})})


def _check_baselines(names: Sequence[str]) -> None:
    from grape_ops.methods import find_methods

    if names:
        find_methods(names)
