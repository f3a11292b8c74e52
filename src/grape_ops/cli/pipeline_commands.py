"""Commands that run all steps."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import Out, Overrides, app


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
