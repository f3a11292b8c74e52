"""Commands that compare methods, and runs."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, say
from grape_ops.cli.options import (
    AliasTable,
    Channels,
    ConfigFile,
    FeatureFiles,
    Jobs,
    Methods,
    Out,
    Overrides,
    Pairs,
    StoreFolder,
    Truth,
    Where,
    changes,
    listed,
    listed_files,
    listed_names,
)

Seeds = Annotated[int, typer.Option(min=1, help="Runs of each method that uses random numbers.")]
Work = Annotated[
    Path | None, typer.Option(help="Folder of the jobs, OUT/work if unset; commands that share it share trainings.")
]

_SIDE = (
    "Folder of `run` or `train`, or gene vectors (.h5ad); several with commas: runs of one screen that differ by their "
    "seed."
)


@app.command()
def benchmark(
    store: StoreFolder,
    truth: Truth = "complexes-14x106",
    out: Out = Path("benchmark"),
    methods: Methods = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="NAME=H5AD", callback=listed_names, help="Vectors of your own; repeatable, or with commas."
        ),
    ] = None,
    seeds: Seeds = 3,
    jobs: Jobs = 0,
    work: Work = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    features: FeatureFiles = None,
    channels: Channels = None,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Run GRAPE and all baselines on the same cells and compare them (the paper's Table 1); continues if stopped.

    All methods that can run, if none is named.
    """
    from grape_ops.api.comparing import compare_methods
    from grape_ops.benchmark.run_benchmark import TABLE_FILE, named_files
    from grape_ops.train.preset import training_settings

    known, given, lists = truth or "complexes-14x106", named_files(maps or ()), pairs or ()
    changed = changes(overrides, where=where, files=features, channels=channels)
    tree, runs = training_settings(store, config, changed), {"seeds": seeds, "jobs": jobs}
    compare_methods(
        store, known, out, tree, methods=methods or (), maps=given, work=work, pairs=lists, aliases=aliases, **runs
    )
    say((out / TABLE_FILE).read_text())
    say(f"Scores: {out}")


@app.command()
def ablate(
    store: StoreFolder,
    truth: Truth = "complexes-14x106",
    out: Out = Path("ablations"),
    ablation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B", callback=listed, help="Names or YAML files; repeatable, or with commas. All if none."
        ),
    ] = None,
    seeds: Seeds = 3,
    jobs: Jobs = 0,
    work: Work = None,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Train GRAPE with one thing changed at a time and compare (the paper's Table 2); continues if stopped."""
    from grape_ops.benchmark.ablations import run_ablations
    from grape_ops.train.preset import training_settings

    tree = training_settings(store, config, changes(overrides, where=where))
    known = truth or "complexes-14x106"
    say(run_ablations(store, known, out, tree, ablations=ablation or (), seeds=seeds, at_a_time=jobs, work=work))
    say(f"Scores: {out}")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    second: Annotated[str, typer.Argument(metavar="B", help="The other side, likewise.")],
    out: Out = Path("comparison"),
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Compare two runs or two maps: settings, cells and genes that differ, and genes whose neighbours moved."""
    from grape_ops.compare.write_comparison import write_comparison
    from grape_ops.config import load_config

    sides = [listed_files([Path(side)]) for side in (first, second)]
    say(write_comparison(sides[0], sides[1], out, load_config(config, overrides or ())))
    say(f"Genes: {out / 'genes.tsv'}; figure: {out / 'neighbours.png'}")
