"""The command that opens the gene map in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import AliasTable, ConfigFile, Overrides, Pairs, Truth, app, say


@app.command()
def explore(
    run: Annotated[Path, typer.Argument(help="Run folder made by `train`.")],
    static: Annotated[Path | None, typer.Option(help="Write the page as files here; serve nothing.")] = None,
    maps: Annotated[
        list[Path] | None,
        typer.Option("--map", metavar="H5AD", help="Another map to compare; repeatable. Else those beside the run."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B", help="Maps of several runs of one method as one map; repeatable."),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The run's crop store, if it has moved.")] = None,
    truth: Truth = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    host: Annotated[str, typer.Option(help="Address to serve at; the default is reached from this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes a free one.")] = 8765,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Explore the gene map, its cells and live restyling in a browser."""
    from grape_ops.explore.explore_run import explore_run

    files = {"maps": maps or (), "groups": group or (), "store": store, "pairs": pairs or (), "aliases": aliases}
    explore_run(run, static, (host, port, browse), (config, overrides or ()), truth=truth, say=say, **files)
