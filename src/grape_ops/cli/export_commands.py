"""Commands that write results for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import ConfigFile, Out, Overrides, app, say


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder made by `train`.")],
    out: Out,
    form: Annotated[str, typer.Option("--format", help="h5ad, ops-standard, clusters, or h5sc.")] = "h5ad",
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Write a run's gene map, clusters or crops for other tools, or as a submission of the OPS Data Standard."""
    from grape_ops.config import load_config
    from grape_ops.export.formats import export_run

    export_run(run, form, out, load_config(config, overrides or ()))
    say(f"Exported: {out}")
