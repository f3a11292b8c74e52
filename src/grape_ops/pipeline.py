"""All steps from one file: a step is skipped while its inputs and settings are unchanged.

``grape_ops.artifacts.steps`` decides what is up to date; here stands which steps there are, and what each depends on.
"""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import typer
import yaml
from pydantic import Field, ValidationError

from grape_ops.artifacts.atomic import locked, write_text
from grape_ops.artifacts.damage import read_json
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.ownership import check_folder
from grape_ops.artifacts.steps import OUTDATED_DIR, Step, do
from grape_ops.config import Config, Settings, lay_over, merged, misfits, parse_config, read_yaml
from grape_ops.errors import LEFT_OUT, GrapeOpsError, NothingToTest
from grape_ops.progress import note
from grape_ops.schema import (
    HITS_DIR,
    HITS_JSON,
    QUALITY_FILE,
    QUALITY_TABLE,
    SCORES_CSV,
    SCORES_JSON,
    SCREEN_FILE,
    TRUTH_FILE,
    VECTORS_FILE,
)

PIPELINE_FILE = "pipeline.yaml"  # of the demo
DETAILS_DIR = "evaluation"  # beside scores.json
TRUST_DIR = "trust"
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
    for step in _steps(plan, config, file.parent):
        do(step, out)
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
        "train": {"steps": 500, "holdout": 0.1, "init": {"classifier": {"width": 16, "steps": 1200}}},
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


def _steps(plan: PipelineFile, config: Config, base: Path) -> Iterable[Step]:
    """Yield the steps in order; each one's inputs name the fingerprint of the steps before it."""
    from grape_ops.methods import find_method

    out, screen = base / plan.out, base / plan.screen
    store, run, several = out / "store", out / "run", [base / root for root in plan.screens]
    if plan.simulate:
        step = Step("simulate", config.simulate.decisive(), (screen,), lambda _: _simulate(screen, config))
        yield step
        origin: Any = step.fingerprint
    else:
        origin = [_listing(root) for root in several] if several else _listing(screen)
    truth, judged_by = _truth(plan, base)
    cut = Step(
        "preprocess",
        [origin, config.screen.decisive(), config.preprocess.decisive()],
        (store,),
        lambda resume: _preprocess(several or screen, store, config, resume),
    )
    yield cut
    tested = _hits_step(store, out / HITS_DIR, config, cut) if plan.hits else None
    if tested is not None:
        yield tested
    yield (trained := _train_step(store, run, config, truth, cut))

    vectors: list[tuple[Path, Step]] = []
    scored: list[Any] = []  # hits are joined to vectors, and change no score
    for index, position in enumerate(plan.positions):
        file = out / (VECTORS_FILE if index == 0 else f"genes_position{position}.h5ad")
        yield (step := _embed_step(run, file, position, config, trained, tested))
        vectors.append((file, step))
        scored.append([position, config.embed.decisive()])
    for method in plan.baselines:
        file = out / "baselines" / f"{find_method(method).name}.h5ad"
        yield (step := _baseline_step(method, store, file, config, cut))
        vectors.append((file, step))
        scored.append(step.fingerprint)
    inputs: list[Any] = [trained.fingerprint, *(step.fingerprint for _, step in vectors)]
    scores = out / SCORES_JSON if truth else None
    if truth and scores:
        judged = Step(
            "evaluate",
            [trained.fingerprint, scored, judged_by, config.evaluate.decisive(), config.seed],
            (scores, out / SCORES_CSV, out / DETAILS_DIR),
            lambda _: _evaluate([file for file, _ in vectors], truth, out, config),
        )
        yield judged
        inputs.append(judged.fingerprint)
    if plan.phenotype:
        yield (checked := _phenotype_step(run, store, out / "phenotype", config, trained))
        inputs.append(checked.fingerprint)
    page = out / "report.html"
    yield Step("report", inputs, (page,), lambda _: _report(run, page, scores, truth))
    if plan.trust:
        # Prior knowledge is the same for both halves of the cells.
        methods = ["grape", *(name for name in plan.baselines if find_method(name).reads != "prior knowledge")]
        decisive = [find_method(method).decisive(config) for method in methods]
        inputs = [trained.fingerprint, methods, decisive, config.embed.decisive(), config.evaluate.decisive()]
        yield Step("trust", inputs, (out / TRUST_DIR,), lambda _: _trust(store, out / TRUST_DIR, methods, config))


def _chosen_cells(config: Config) -> list[str]:
    """What chooses the cells of a subset; nothing where all are used."""
    return [config.where] if config.where else []


def _truth(plan: PipelineFile, base: Path) -> tuple[str | None, str | None]:
    """Name or path of the truth, and the hash of its content."""
    from grape_ops.groundtruth import load_truth

    if plan.truth is None:
        return None, None
    beside = base / plan.truth
    name = str(beside) if beside.is_file() else plan.truth
    return name, load_truth(name).sha256


def _train_step(store: Path, run: Path, config: Config, truth: str | None, cut: Step) -> Step:
    from grape_ops.train.run import decisive_settings, steps_done

    def act(resume: bool) -> None:
        from grape_ops.train.loop import train

        train(store, run, config, truth=truth, resume=resume)

    # Not the truth: training is only watched by it.
    inputs = [cut.fingerprint, decisive_settings(config), *_chosen_cells(config)]
    return Step("train", inputs, (run,), act, goal=config.train.steps, reached=steps_done)


def _hits_step(store: Path, folder: Path, config: Config, cut: Step) -> Step:
    from grape_ops.hits.feature_sources import what_decides

    def act(_: bool) -> None:
        from grape_ops.cells.store import CropStore
        from grape_ops.hits.write_hits import write_hits

        try:
            found = write_hits(CropStore.open(store, where=config.where), folder, config)
            typer.echo(f"{found}\nTables and figures: {folder}")
        except NothingToTest as error:  # cells without guides, a single control guide: no reason to stop the rest
            note(f"Hits are left out: {error}")

    decisive = [config.seed, config.hits.decisive(), what_decides(config), *_chosen_cells(config)]
    return Step("hits", [cut.fingerprint, decisive], (folder,), act)


def _embed_step(run: Path, file: Path, position: int, config: Config, trained: Step, tested: Step | None) -> Step:
    """Gene vectors, with what the hits step found of each gene; nothing, where it had nothing to test."""

    def act(_: bool) -> None:
        from grape_ops.embed import write_embedding

        folders = tested.outputs if tested is not None else ()
        hits = next((folder for folder in folders if (folder / HITS_JSON).is_file()), None)
        write_embedding(run, file, position=position, ema=config.embed.ema, hits=hits)

    inputs = [trained.fingerprint, position, config.embed.decisive()]
    return Step(f"embed-{position}", [*inputs, *([tested.fingerprint] if tested is not None else [])], (file,), act)


def _baseline_step(method: str, store: Path, file: Path, config: Config, cut: Step) -> Step:
    from grape_ops.methods import find_method, write_baseline

    def act(_: bool) -> None:
        write_baseline(method, store, file, seed=config.seed, config=config)

    decisive = [config.seed, find_method(method).decisive(config), *_chosen_cells(config)]
    return Step(f"baseline-{find_method(method).name}", [cut.fingerprint, method, decisive], (file,), act)


def _phenotype_step(run: Path, store: Path, folder: Path, config: Config, trained: Step) -> Step:
    def act(_: bool) -> None:
        from grape_ops.restyle.phenotype_check import write_check

        write_check(run, store, folder, config.generate, config.features, seed=config.seed)

    own = [config.seed, config.generate.decisive(), config.features.decisive()]
    return Step("phenotype", [trained.fingerprint, *own], (folder,), act)


def _simulate(screen: Path, config: Config) -> None:
    from grape_ops.simulate.write_screen import simulate_screen

    simulate_screen(screen, config.simulate)


def _preprocess(screen: Path | Sequence[Path], store: Path, config: Config, resume: bool) -> None:
    from grape_ops.preprocess.pipeline import preprocess_folder

    preprocess_folder(screen, store, config, resume=resume)


def _evaluate(files: list[Path], truth: str, out: Path, config: Config) -> None:
    from grape_ops.evaluate.evaluate_files import evaluate_files

    evaluate_files(files, truth, out, config.evaluate, config.seed, details=out / DETAILS_DIR)


def _report(run: Path, page: Path, scores: Path | None, truth: str | None) -> None:
    from grape_ops.report.html import write_report

    write_report(run, page, scores=scores, truth=truth)


def _trust(store: Path, out: Path, methods: list[str], config: Config) -> None:
    from grape_ops.power.split_half import split_half

    typer.echo(split_half(store, out, methods, config))


def _listing(screen: Path) -> Any:
    """Name, size and time of every file of a screen: what `up to date` means without reading terabytes."""
    if not screen.exists():
        raise GrapeOpsError(f"There is no screen {screen}. Set `screen` in the pipeline file.")
    files = sorted(p for p in (screen.rglob("*") if screen.is_dir() else [screen]) if p.is_file())
    if not files:
        raise GrapeOpsError(f"The screen folder {screen} is empty; its layout may need a {SCREEN_FILE}.")
    facts = [[str(p.relative_to(screen)), (s := p.stat()).st_size, s.st_mtime_ns] for p in files]
    return identity_of(*facts)
