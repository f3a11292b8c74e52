"""Commands that run all steps, and one that says what is installed."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, say, say_json
from grape_ops.cli.options import AsJson, Out, Overrides


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline file; docs/pipeline.md describes it.")],
    overrides: Overrides = None,
) -> None:
    """Run all steps of a pipeline file, skipping those that are up to date."""
    from grape_ops.pipeline import run_pipeline

    run_pipeline(pipeline, overrides or ())


@app.command()
def demo(
    out: Out = Path("demo"),
    overrides: Overrides = None,
) -> None:
    """Simulate a small screen and run all steps on it: store, training, gene vectors, scores, report."""
    from grape_ops.pipeline import run_demo

    run_demo(out, overrides or ())


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say which versions, device and extras are here, and what is missing for what."""
    from dataclasses import asdict

    from grape_ops.installation import examine

    found = examine()
    if as_json:
        say_json(asdict(found) | {"complete": found.complete})
    else:
        say(str(found))
    raise typer.Exit(0 if found.complete else 1)
