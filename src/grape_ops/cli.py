"""The command line: each command reads its options, calls one function, and says where the result lies.

Whatever is slow to import is imported inside the command that needs it, so that ``--help`` answers at once.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from grape_ops.errors import GrapeOpsError, Interrupted

app = typer.Typer(
    name="grape-ops",
    help="Turn the images of an optical pooled CRISPR screen into a map of gene function.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigFile = Annotated[
    str | None,
    typer.Option("--config", help="Settings that differ from the defaults: a YAML file, or paper.yaml or small.yaml."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="One setting, over the file's; repeatable.")
]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what an interrupted call left.")]
Truth = Annotated[
    str | None,
    typer.Option("--truth", help="Known complexes: a built-in name (complexes-14x106) or a file."),
]

Pairs = Annotated[list[Path] | None, typer.Option("--pairs", help="List of known gene pairs; repeatable.")]
AliasTable = Annotated[Path | None, typer.Option("--aliases", help="Table of other names of genes.")]
TableOut = Annotated[Path | None, typer.Option("--out", help="File for the table; printed if not set.")]
truth_app = typer.Typer(name="truth", help="Known complexes.", no_args_is_help=True)
app.add_typer(truth_app)


def _say(text: str) -> None:
    typer.echo(text)


def _show(table: str, out: Path | None) -> None:
    typer.echo(table if out is None else f"Table: {out}", nl=out is not None)


@app.command()
def simulate(out: Out, config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Make a small screen of raw tiles with planted complexes, for trying things out."""
    from grape_ops.config import load_config
    from grape_ops.screen.simulate import simulate_screen

    simulate_screen(out, load_config(config, overrides or ()).simulate)
    _say(f"Simulated screen: {out}")


@app.command()
def preprocess(
    screen: Annotated[Path, typer.Argument(help="Folder of the screen.")],
    out: Out,
    layout: Annotated[str | None, typer.Option(help="How the folder is laid out; `table` if not set.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store that lies there.")] = False,
) -> None:
    """Correct, rescale and crop the tiles of a screen into a crop store."""
    from grape_ops.config import load_config
    from grape_ops.preprocess.pipeline import preprocess as make_store
    from grape_ops.screen.layouts import open_screen

    chosen = [f"screen.layout={layout}"] if layout else []
    settings = load_config(config, [*(overrides or ()), *chosen])
    make_store(open_screen(screen, settings.screen), out, settings.preprocess, resume=resume, overwrite=overwrite)
    _say(f"Crop store: {out}")


@app.command()
def train(
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out = Path("run"),
    config: ConfigFile = None,
    overrides: Overrides = None,
    truth: Truth = None,
    resume: Resume = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would cost: size, memory, time.")
    ] = False,
) -> None:
    """Train GRAPE on a crop store; with a truth, mAP along training is logged but never learnt from."""
    from grape_ops.config import load_config

    settings = load_config(config, overrides or ())
    if dry_run:
        from grape_ops.train.estimate import print_estimate

        return print_estimate(store, settings)
    from grape_ops.train.loop import train as run_training

    run_training(store, out, settings, truth=truth, resume=resume)
    return _say(f"Run folder: {out}")


@app.command()
def embed(
    run: Annotated[Path, typer.Argument(help="Run folder made by `train`.")],
    out: Out = Path("genes.h5ad"),
    position: Annotated[
        int | None,
        typer.Option(min=1, max=3, help="1: rows of M; 2: F(M); 3: E of restyled cells; else as the run says."),
    ] = None,
    ema: Annotated[
        bool | None, typer.Option("--ema/--no-ema", help="Filtered or last weights; the run's embed.ema if not set.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The run's crop store, if it has moved.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Another checkpoint than the last one.")] = None,
) -> None:
    """Write the gene vectors of a run as AnnData."""
    from grape_ops.embed import write_embedding

    write_embedding(run, out, position=position, ema=ema, store_path=store, checkpoint=checkpoint)
    _say(f"Gene vectors: {out}")


@app.command()
def baseline(
    method: Annotated[str, typer.Argument(help="Name of the baseline: random, statistics.")],
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out,
    seed: Annotated[int, typer.Option(help="Seed of what the baseline draws.")] = 0,
) -> None:
    """Write the gene vectors of a baseline on the same cells."""
    from grape_ops.baselines import write_baseline

    write_baseline(method, store, out, seed=seed)
    _say(f"Gene vectors: {out}")


@app.command()
def evaluate(
    maps: Annotated[list[Path] | None, typer.Argument(help="Gene vectors (.h5ad), one file a method.")] = None,
    truth: Truth = "complexes-14x106",
    out: Out = Path("evaluation"),
    group: Annotated[
        list[str] | None, typer.Option(help="NAME=A.h5ad,B.h5ad: runs of one method as one entry; repeatable.")
    ] = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Judge gene vectors by known complexes: scores with nulls and intervals, tables and figures."""
    from grape_ops.config import load_config
    from grape_ops.evaluate.benchmark import print_scores
    from grape_ops.evaluate.command import evaluate_files

    tree, known = load_config(config, overrides or ()), truth or "complexes-14x106"
    runs = (tree.evaluate, tree.seed, group or ())
    print_scores(evaluate_files(maps or [], known, out, *runs, pairs=pairs or (), aliases=aliases))
    _say(f"Scores: {out}")


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
    from grape_ops.evaluate.command import write_neighbours

    _show(write_neighbours(gene, maps, out, n, truth=truth, pairs=pairs or (), aliases=aliases), out)


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
    from grape_ops.evaluate.command import write_clusters

    tree = load_config(config, overrides or ())
    table = write_clusters(maps, out, tree.evaluate, tree.seed, resolution=resolution, truth=truth, aliases=aliases)
    _show(table, out)
    if truth and out:
        _say(f"Enrichment: {out.with_suffix('.enrichment.tsv')}")


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
    """Choose complexes that a screen can be judged by; what falls out, and why, goes to a log beside."""
    from grape_ops.config import load_config
    from grape_ops.groundtruth.curation import curate_files, summary

    rule = load_config(config, overrides or ()).curate
    _say(summary(curate_files(source, library, out, rule, aliases, stage)))
    _say(f"Truth: {out}")


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
    _say(f"Report: {out}")


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline file; docs/pipeline.md describes it.")],
) -> None:
    """Do all steps a pipeline file names, skipping what is up to date."""
    from grape_ops.pipeline import run_pipeline

    run_pipeline(pipeline)


@app.command()
def demo(
    out: Out = Path("demo"),
    overrides: Overrides = None,
) -> None:
    """Simulate a small screen and do everything with it: store, training, gene vectors, scores, report."""
    from grape_ops.pipeline import run_demo

    run_demo(out, overrides or ())


def _version(wanted: bool) -> None:
    if wanted:
        from grape_ops import __version__

        _say(f"grape-ops {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the options of the command itself."""


def main() -> None:
    """Run the command line; errors meant for the user come without a traceback."""
    # Spinning OpenMP threads slow small networks several-fold as soon as another job wants the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except Interrupted as stopped:
        sys.stderr.write(f"{stopped} {_way_on()}\n")
        sys.exit(stopped.exit_code)
    except GrapeOpsError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == 128 + signal.SIGINT:  # what Typer makes of Ctrl-C
            sys.stderr.write(f"Stopped. {_way_on()}\n")
        raise


def _way_on() -> str:
    """Say how an interrupted command goes on."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    ways = {
        "preprocess": "The same command with --resume goes on; nothing finished is computed again.",
        "train": "The same command with --resume goes on.",
        "run": "The same command goes on where it stopped.",
        "demo": "The same command goes on where it stopped.",
    }
    return ways.get(command, "The same command starts it again.")
