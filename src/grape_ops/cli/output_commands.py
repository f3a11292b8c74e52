"""Commands that show and hand on results: report, figures, the page in a browser, files for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, say
from grape_ops.cli.options import (
    AliasTable,
    ConfigFile,
    Genes,
    Groups,
    HitsFolder,
    MovedStore,
    Out,
    Overrides,
    Pairs,
    PhenotypeFolder,
    RunFolder,
    ScoresFile,
    Truth,
    Where,
    changes,
    listed_files,
)


@app.command()
def report(
    run: RunFolder,
    out: Out = Path("report.html"),
    store: MovedStore = None,
    scores: ScoresFile = None,
    phenotype: PhenotypeFolder = None,
    hits: HitsFolder = None,
    truth: Truth = None,
) -> None:
    """Write one self-contained page: scores, gene map, clusters, restyled cells, training, data quality."""
    from grape_ops.api.share import write_report

    write_report(run, out, store=store, scores=scores, truth=truth, phenotype=phenotype, hits=hits)
    say(f"Report: {out}")


@app.command()
def figures(
    run: RunFolder,
    maps: Annotated[
        list[Path] | None, typer.Argument(help="Gene vectors (.h5ad) to show side by side; the run's own if none.")
    ] = None,
    out: Out = Path("figures"),
    store: MovedStore = None,
    scores: ScoresFile = None,
    phenotype: PhenotypeFolder = None,
    genes: Genes = None,
    truth: Truth = None,
) -> None:
    """Draw the figures of a paper as PDF and PNG: phenotypes, maps, scores over k, mAP along training."""
    from grape_ops.report.paper_figures import write_figures, written

    inputs = {"scores": scores, "truth": truth, "store_path": store, "phenotype": phenotype}
    drawn, missing = write_figures(run, out, maps=maps or (), genes=genes or (), **inputs)  # type: ignore[arg-type]
    say(written(drawn, missing, out))


@app.command()
def explore(
    run: RunFolder,
    static: Annotated[Path | None, typer.Option(help="Write the page as files here; serve nothing.")] = None,
    maps: Annotated[
        list[Path] | None,
        typer.Option(
            "--map",
            metavar="H5AD",
            callback=listed_files,
            help="Other maps to compare; repeatable, or with commas. Else those beside the run.",
        ),
    ] = None,
    group: Groups = None,
    store: MovedStore = None,
    truth: Truth = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    hits: HitsFolder = None,
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
    files |= {"hits": hits}
    explore_run(run, static, (host, port, browse), (config, overrides or ()), truth=truth, say=say, **files)


@app.command()
def export(
    run: RunFolder,
    out: Out,
    form: Annotated[str, typer.Option("--format", help="h5ad, ops-standard, clusters, or h5sc.")] = "h5ad",
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Write a run's gene map, clusters or crops for other tools, or as a submission of the OPS Data Standard."""
    from grape_ops.api.share import export_run
    from grape_ops.config import load_config

    export_run(run, out, form, load_config(config, changes(overrides, where=where)))
    say(f"Exported: {out}")
