"""The command that says how small an effect a screen finds."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import ConfigFile, Out, Overrides, app, say


@app.command()
def calibrate(
    store: Annotated[Path, typer.Argument(help="Crop store of your screen; its control cells are used.")],
    out: Out = Path("calibration"),
    methods: Annotated[
        str, typer.Option(help="Methods to compare, with commas: baselines by name, and grape.")
    ] = "engineered,classifier,grape",
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Plant known effects in your own control cells: how small an effect does each method find?"""
    from grape_ops.calibrate.command import calibrate_store
    from grape_ops.config import load_config

    say(calibrate_store(store, out, methods.split(","), load_config(config, overrides or ())))
    say(f"Curves: {out / 'recovery.png'}; tables: {out / 'recovery.tsv'}, {out / 'detection_limit.tsv'}")
