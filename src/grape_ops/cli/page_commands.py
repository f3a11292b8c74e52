"""Commands that show results: the report and the figures of a paper."""

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
    phenotype: Annotated[Path | None, typer.Option(help="Folder made by `phenotype`.")] = None,
    truth: Truth = None,
) -> None:
    """Write one self-contained page: scores, gene map, clusters, restyled cells, training, data quality."""
    from grape_ops.report.html import write_report

    write_report(run, out, store_path=store, scores=scores, truth=truth, phenotype=phenotype)
    say(f"Report: {out}")


@app.command()
def figures(
    run: Annotated[Path, typer.Argument(help="Run folder made by `train`.")],
    maps: Annotated[
        list[Path] | None, typer.Argument(help="Gene vectors (.h5ad) to show side by side; the run's own if none.")
    ] = None,
    out: Out = Path("figures"),
    store: Annotated[Path | None, typer.Option(help="The run's crop store, if it has moved.")] = None,
    scores: Annotated[Path | None, typer.Option(help="scores.json made by `evaluate`.")] = None,
    phenotype: Annotated[Path | None, typer.Option(help="Folder made by `phenotype`.")] = None,
    genes: Annotated[str | None, typer.Option(help="Whose phenotypes are drawn, with commas between.")] = None,
    truth: Truth = None,
) -> None:
    """Draw the figures of a paper as PDF and PNG: phenotypes, maps, scores over k, mAP along training."""
    from grape_ops.report.paper_figures import write_figures, written

    named = [gene.strip() for gene in (genes or "").split(",") if gene.strip()]
    inputs = {"scores": scores, "truth": truth, "store_path": store, "phenotype": phenotype}
    drawn, missing = write_figures(run, out, maps=maps or (), genes=named, **inputs)  # type: ignore[arg-type]
    say(written(drawn, missing, out))
