"""Which steps a pipeline has, what each depends on, and what does it.

``grape_ops.artifacts.steps`` decides from that what is up to date.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.steps import Step
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError, NothingToTest
from grape_ops.progress import note
from grape_ops.schema import HITS_DIR, HITS_JSON, SCORES_CSV, SCORES_JSON, SCREEN_FILE, TRUST_DIR, VECTORS_FILE

if TYPE_CHECKING:
    from grape_ops.pipeline import PipelineFile

DETAILS_DIR = "evaluation"  # beside scores.json


def pipeline_steps(plan: "PipelineFile", config: Config, base: Path) -> Iterable[Step]:
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
        yield (step := baseline_step(method, store, file, config, cut))
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

    def report(_: bool) -> None:
        _report(run, page, scores, truth)

    yield Step("report", inputs, (page,), report)
    if plan.trust:
        yield _trust_step(store, out / TRUST_DIR, plan, config, trained, report)


def _chosen_cells(config: Config) -> list[str]:
    """What chooses the cells of a subset; nothing where all are used."""
    return [config.where] if config.where else []


def _trust_step(
    store: Path, folder: Path, plan: "PipelineFile", config: Config, trained: Step, report: Callable[[bool], None]
) -> Step:
    """Compare maps of halves of the cells, and write the report again, which shows what they say."""
    from grape_ops.methods import find_method

    # Prior knowledge is the same for both halves of the cells.
    methods = ["grape", *(name for name in plan.baselines if find_method(name).reads != "prior knowledge")]
    decisive = [find_method(method).decisive(config) for method in methods]
    inputs = [trained.fingerprint, methods, decisive, config.embed.decisive(), config.evaluate.decisive()]

    def compare(again: bool) -> None:
        _trust(store, folder, methods, config)
        report(again)

    return Step("trust", inputs, (folder,), compare)


def _truth(plan: "PipelineFile", base: Path) -> tuple[str | None, str | None]:
    """Name or path of the truth, and the hash of its content."""
    from grape_ops.groundtruth import load_truth

    if plan.truth is None:
        return None, None
    beside = base / plan.truth
    name = str(beside) if beside.is_file() else plan.truth
    return name, load_truth(name).sha256


def _train_step(store: Path, run: Path, config: Config, truth: str | None, cut: Step) -> Step:
    from grape_ops.train.run_folder import decisive_settings, steps_done

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


def baseline_step(method: str, store: Path, file: Path, config: Config, cut: Step) -> Step:
    """Gene vectors of a baseline; ``cut`` is the step that made the store."""
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
    from grape_ops.evaluate.evaluate_files import named_maps, score_maps
    from grape_ops.groundtruth import load_truth

    known = load_truth(truth)
    score_maps(named_maps(files), known, config.evaluate, config.seed, out=out, details=out / DETAILS_DIR)


def _report(run: Path, page: Path, scores: Path | None, truth: str | None) -> None:
    from grape_ops.report.html import write_report

    write_report(run, page, scores=scores, truth=truth)


def _trust(store: Path, out: Path, methods: list[str], config: Config) -> None:
    from grape_ops.power.split_half import split_half

    typer.echo(split_half(store, out, methods, config).to_string(index=False))


def _listing(screen: Path) -> Any:
    """Name, size and time of every file of a screen: what `up to date` means without reading terabytes."""
    if not screen.exists():
        raise GrapeOpsError(f"There is no screen {screen}. Set `screen` in the pipeline file.")
    files = sorted(p for p in (screen.rglob("*") if screen.is_dir() else [screen]) if p.is_file())
    if not files:
        raise GrapeOpsError(f"The screen folder {screen} is empty; its layout may need a {SCREEN_FILE}.")
    facts = [[str(p.relative_to(screen)), (s := p.stat()).st_size, s.st_mtime_ns] for p in files]
    return identity_of(*facts)
