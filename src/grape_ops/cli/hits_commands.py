"""The command that says which genes have a phenotype."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import ConfigFile, Out, Overrides, app, say


@app.command()
def hits(
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out = Path("hits"),
    features: Annotated[
        str | None, typer.Option(help="statistics, engineered or learned; hits.features if unset.")
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Say which genes have a phenotype, by what their guides share, and how far the test is to be trusted."""
    from grape_ops.config import load_config
    from grape_ops.hits.write_hits import write_hits

    more = [f"hits.features={features}"] if features else []
    say(write_hits(store, out, load_config(config, [*(overrides or ()), *more])))
