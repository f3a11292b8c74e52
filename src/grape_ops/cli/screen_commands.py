"""Commands from a screen to a crop store."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, say, say_json
from grape_ops.cli.options import AsJson, ConfigFile, Out, Overrides, Resume, Scheduler


@app.command()
def simulate(out: Out, config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Simulate a small screen of raw tiles with planted complexes."""
    from grape_ops.api.prepare import simulate_screen
    from grape_ops.config import load_config

    simulate_screen(out, load_config(config, overrides or ()))
    say(f"Simulated screen: {out}")


@app.command()
def inspect(
    screen: Annotated[Path, typer.Argument(help="Folder of the screen, or a file of crops.")],
    out: Annotated[Path, typer.Option("--out", help="Pipeline file to write.")] = Path("pipeline.yaml"),
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Draw sample crops as they will be: FILE.png, or a folder.")
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Recognise a screen's layout, report what it holds and what is doubtful, and write a pipeline file for it."""
    from grape_ops.api.prepare import inspect_screen
    from grape_ops.config import load_config
    from grape_ops.preprocess.contact_sheet import kept_pictures
    from grape_ops.screen.write_pipeline import write_pipeline

    settings = load_config(config, overrides or ())
    with kept_pictures(pictures):
        found = inspect_screen(screen, settings, pictures=pictures)
        if not as_json:
            say(str(found))
        write_pipeline(found, screen, settings.screen, out, overrides or ())
    if as_json:
        return say_json(found.facts() | {"pipeline": str(out)})
    return say(f"Pipeline: {out} (grape-ops run {out})")


@app.command()
def preprocess(
    screens: Annotated[
        list[Path],
        typer.Argument(metavar="SCREEN...", help="Folder of the screen; of several, their batches are kept apart."),
    ],
    out: Out,
    layout: Annotated[str | None, typer.Option(help="Layout of the folder; recognised if not set.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    scheduler: Scheduler = None,
) -> None:
    """Correct, rescale and crop the tiles of a screen, or of several; write one crop store."""
    from grape_ops.api.prepare import preprocess_screen
    from grape_ops.config import load_config

    chosen = [f"screen.layout={layout}"] if layout else []
    settings = load_config(config, [*(overrides or ()), *chosen])
    report = preprocess_screen(screens, out, settings, resume=resume, overwrite=overwrite, scheduler=scheduler)
    say(f"{report}\nCrop store: {out}")
    raise typer.Exit(report.exit_code)
