"""Commands that compare methods."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import (
    AliasTable,
    Channels,
    ConfigFile,
    FeatureFiles,
    Jobs,
    Methods,
    Out,
    Overrides,
    Pairs,
    Truth,
    app,
    channels_setting,
    files_setting,
    named_methods,
    say,
)

Store = Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each method that uses random numbers.")]
Work = Annotated[
    Path | None, typer.Option(help="Folder of the jobs, OUT/work if unset; commands that share it share trainings.")
]


@app.command()
def benchmark(
    store: Store,
    truth: Truth = "complexes-14x106",
    out: Out = Path("benchmark"),
    methods: Methods = None,
    maps: Annotated[list[str] | None, typer.Option("--map", metavar="NAME=H5AD", help="Vectors of your own.")] = None,
    seeds: Seeds = 3,
    jobs: Jobs = 0,
    work: Work = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    features: FeatureFiles = None,
    channels: Channels = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Run GRAPE and all baselines on the same cells and compare them (the paper's Table 1); continues if stopped.

    All methods that can run, if none is named.
    """
    from grape_ops.benchmark.compare import named_files, run_benchmark
    from grape_ops.config import load_config

    more = [*(overrides or ()), *files_setting(features), *channels_setting(channels)]
    known, tree, given = truth or "complexes-14x106", load_config(config, more), named_files(maps or ())
    chosen = {"methods": named_methods(methods), "maps": given, "seeds": seeds, "at_a_time": jobs, "work": work}
    say(run_benchmark(store, known, out, tree, **chosen, pairs=pairs or (), aliases=aliases))  # type: ignore[arg-type]
    say(f"Scores: {out}")


@app.command()
def ablate(
    store: Store,
    truth: Truth = "complexes-14x106",
    out: Out = Path("ablations"),
    ablation: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name or YAML file; repeatable. All if none.")
    ] = None,
    seeds: Seeds = 3,
    jobs: Jobs = 0,
    work: Work = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Train GRAPE with one thing changed at a time and compare (the paper's Table 2); continues if stopped."""
    from grape_ops.benchmark.ablations import run_ablations
    from grape_ops.config import load_config

    known, tree = truth or "complexes-14x106", load_config(config, overrides or ())
    say(run_ablations(store, known, out, tree, ablations=ablation or (), seeds=seeds, at_a_time=jobs, work=work))
    say(f"Scores: {out}")
