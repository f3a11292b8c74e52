"""Commands that say how much of a map can be believed."""

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
    restyle: Annotated[
        bool, typer.Option("--restyle", help="Test instead how far cells restyled by grape can be trusted.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Find the smallest effect each method recovers, by planting known effects in your own control cells."""
    from grape_ops.config import load_config
    from grape_ops.power.calibrate import calibrate_store
    from grape_ops.power.calibrate_restyling import calibrate_restyling

    settings = load_config(config, overrides or ())
    if restyle:
        say(calibrate_restyling(store, out, settings))
    else:
        say(calibrate_store(store, out, methods.split(","), settings))
        say(f"Curves: {out / 'recovery.png'}; tables: {out / 'recovery.tsv'}, {out / 'detection_limit.tsv'}")


@app.command()
def trust(
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out = Path("trust"),
    methods: Annotated[str, typer.Option(help="Methods, with commas: baselines by name, and grape.")] = "grape",
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Make the map twice, from disjoint halves of the cells, and say whether and on which genes the two agree."""
    from grape_ops.config import load_config
    from grape_ops.power.split_half import split_half

    say(split_half(store, out, methods.split(","), load_config(config, overrides or ())))
    say(f"Genes to believe: {out / 'genes.tsv'}; figure: {out / 'similarities.png'}")
