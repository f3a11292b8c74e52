"""Commands that score and look into gene vectors."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import AliasTable, ConfigFile, Out, Overrides, Pairs, TableOut, Truth, app, say, show

truth_app = typer.Typer(name="truth", help="Known complexes.", no_args_is_help=True)
app.add_typer(truth_app)


@app.command()
def evaluate(
    maps: Annotated[list[Path] | None, typer.Argument(help="Gene vectors (.h5ad), one file per method.")] = None,
    truth: Truth = "complexes-14x106",
    out: Out = Path("evaluation"),
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B", help="Maps of several runs of one method as one entry; repeatable."),
    ] = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Score gene vectors by known complexes: scores with nulls and intervals, tables and figures."""
    from grape_ops.config import load_config
    from grape_ops.evaluate.evaluate_files import evaluate_files
    from grape_ops.evaluate.print_scores import print_scores

    tree, known = load_config(config, overrides or ()), truth or "complexes-14x106"
    runs = (tree.evaluate, tree.seed, group or ())
    print_scores(evaluate_files(maps or [], known, out, *runs, pairs=pairs or (), aliases=aliases))
    say(f"Scores: {out}")


@app.command()
def neighbours(
    gene: Annotated[str, typer.Argument(help="Gene symbol.")],
    maps: Annotated[list[Path], typer.Argument(help="Gene vectors (.h5ad); several runs of a method give support.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many neighbours.")] = 20,
    truth: Truth = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    out: TableOut = None,
) -> None:
    """List the nearest genes of a gene, as TSV."""
    from grape_ops.evaluate.evaluate_files import write_neighbours

    show(write_neighbours(gene, maps, out, n, truth=truth, pairs=pairs or (), aliases=aliases), out)


@app.command()
def clusters(
    maps: Annotated[list[Path], typer.Argument(help="Gene vectors (.h5ad); several runs of a method give support.")],
    resolution: Annotated[float, typer.Option(min=0, help="Of Leiden; larger gives more clusters.")] = 1.0,
    truth: Truth = None,
    aliases: AliasTable = None,
    out: TableOut = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Cluster all genes, as TSV: by Leiden, or by k-means with --set evaluate.k=N."""
    from grape_ops.config import load_config
    from grape_ops.evaluate.evaluate_files import write_clusters

    tree = load_config(config, overrides or ())
    table = write_clusters(maps, out, tree.evaluate, tree.seed, resolution=resolution, truth=truth, aliases=aliases)
    show(table, out)
    if truth and out:
        say(f"Enrichment: {out.with_suffix('.enrichment.tsv')}")


@truth_app.command()
def curate(
    source: Annotated[str, typer.Argument(help="All complexes of a source: CORUM, ComplexTAB, GMT or a table.")],
    library: Annotated[Path, typer.Option(help="Table with the genes of the screen.")],
    out: Out = Path("truth.tsv"),
    stage: Annotated[str, typer.Option(help="covered, distinct or chosen.")] = "chosen",
    aliases: AliasTable = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Choose complexes that suit a screen; a log beside the file says what was dropped, and why."""
    from grape_ops.config import load_config
    from grape_ops.groundtruth.curation import curate_files, summary

    rule = load_config(config, overrides or ()).curate
    say(summary(curate_files(source, library, out, rule, aliases, stage)))
    say(f"Truth: {out}")
