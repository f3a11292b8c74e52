"""Commands from a crop store to gene vectors."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import ConfigFile, Out, Overrides, Resume, Truth, app, say


@app.command()
def train(
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out = Path("run"),
    config: ConfigFile = None,
    overrides: Overrides = None,
    truth: Truth = None,
    resume: Resume = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only estimate the cost: size, memory, time.")] = False,
    unit: Annotated[
        str | None, typer.Option(help="What a row of M stands for: gene, or guide; else train.unit.")
    ] = None,
) -> None:
    """Train GRAPE on a crop store; a truth is only used to log mAP, never to learn from."""
    from grape_ops.train.preset import training_settings

    changes = [*(overrides or ()), *([f"train.unit={unit}"] if unit else [])]
    settings = training_settings(store, config, changes, resumed=out if resume else None)
    if dry_run:
        from grape_ops.train.estimate import print_estimate

        return print_estimate(store, settings)
    from grape_ops.api.learn import train_model

    train_model(store, out, settings, truth=truth, resume=resume)
    return say(f"Run folder: {out}")


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
    """Write the gene vectors of a run as AnnData (.h5ad)."""
    from grape_ops.embed import write_embedding

    write_embedding(run, out, position=position, ema=ema, store_path=store, checkpoint=checkpoint)
    say(f"Gene vectors: {out}")


@app.command()
def baseline(
    method: Annotated[str, typer.Argument(help="Name of the method, or module:function; see docs/baselines.md.")],
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
    out: Out,
    seed: Annotated[int | None, typer.Option(help="Seed of the baseline; the settings' if unset.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Write the gene vectors of a baseline on the same cells."""
    from grape_ops.api.learn import run_method
    from grape_ops.config import load_config
    from grape_ops.methods import NOTES, find_method
    from grape_ops.train.preset import training_settings

    changes, trains = overrides or (), find_method(method).trains
    tree = training_settings(store, config, changes) if trains else load_config(config, changes)
    for note in run_method(method, store, out=out, config=tree, seed=seed).uns.get(NOTES, []):
        say(f"{method}: {note}")
    say(f"Gene vectors: {out}")
