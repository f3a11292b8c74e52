"""Commands that show what came out."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import Out, Truth, app, say


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder made by `train`.")],
    out: Out = Path("report.html"),
    store: Annotated[Path | None, typer.Option(help="The run's crop store, if it has moved.")] = None,
    scores: Annotated[Path | None, typer.Option(help="scores.json made by `evaluate`.")] = None,
    truth: Truth = None,
) -> None:
    """Write one self-contained page: scores, training curves, gene map, restyled cells, data quality."""
    from grape_ops.report.html import write_report

    write_report(run, out, store_path=store, scores=scores, truth=truth)
    say(f"Report: {out}")
