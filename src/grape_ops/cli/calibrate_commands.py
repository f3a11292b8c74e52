"""Commands that say how much of a map can be believed."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import ConfigFile, Jobs, Methods, Out, Overrides, app, named_methods, say


@app.command()
def calibrate(
    store: Annotated[Path, typer.Argument(help="Crop store of your screen; its control cells are used.")],
    out: Out = Path("calibration"),
    methods: Methods = None,
    restyle: Annotated[
        bool, typer.Option("--restyle", help="Test instead how far cells restyled by grape can be trusted.")
    ] = False,
    jobs: Jobs = 0,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Find the smallest effect each method recovers, by planting known effects in your own control cells.

    Methods are engineered, classifier and grape if none is named.
    """
    from grape_ops.config import load_config
    from grape_ops.power.calibrate import calibrate_store
    from grape_ops.power.calibrate_restyling import calibrate_restyling

    settings = load_config(config, overrides or ())
    if restyle:
        say(calibrate_restyling(store, out, settings))
    else:
        chosen = named_methods(methods) or ["engineered", "classifier", "grape"]
        say(calibrate_store(store, out, chosen, settings, at_a_time=jobs))
        say(f"Curves: {out / 'recovery.png'}; tables: {out / 'recovery.tsv'}, {out / 'detection_limit.tsv'}")


@app.command()
def trust(
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out = Path("trust"),
    methods: Methods = None,
    jobs: Jobs = 0,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Make the map twice, from disjoint halves of the cells, and say whether and on which genes the two agree.

    The method is grape if none is named.
    """
    from grape_ops.config import load_config
    from grape_ops.power.split_half import split_half

    chosen = named_methods(methods) or ["grape"]
    say(split_half(store, out, chosen, load_config(config, overrides or ()), at_a_time=jobs))
    say(f"Genes to believe: {out / 'genes.tsv'}; figure: {out / 'similarities.png'}")
