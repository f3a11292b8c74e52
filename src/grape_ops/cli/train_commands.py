"""Commands from a crop store to gene vectors."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, say
from grape_ops.cli.options import (
    Channels,
    ConfigFile,
    FeatureFiles,
    HitsFolder,
    MovedStore,
    Out,
    Overrides,
    Resume,
    Scheduler,
    StoreFolder,
    Truth,
    Where,
    changes,
    check_scheduler,
    listed,
)
from grape_ops.errors import GrapeOpsError

VectorsOf = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="NAME|FILE",
        callback=listed,
        help="Of cells and guides: codes (E) or network (the classifier that restyling looks through) of a run; "
        "statistics, engineered, learned, or files of your own; repeatable, or with commas.",
    ),
]


@app.command()
def train(
    store: StoreFolder,
    out: Out = Path("run"),
    where: Where = None,
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

    changed = [*changes(overrides, where=where), *([f"train.unit={unit}"] if unit else [])]
    settings = training_settings(store, config, changed, resumed=out if resume else None)
    if dry_run:
        from grape_ops.train.estimate import print_estimate

        return print_estimate(store, settings)
    from grape_ops.api.learn import train_model

    train_model(store, out, settings, truth=truth, resume=resume)
    return say(f"Run folder: {out}")


@app.command()
def embed(
    run: Annotated[Path, typer.Argument(help="Run folder made by `train`; for cells and guides a crop store, too.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; genes.h5ad, guides.h5ad or cells.h5ad if unset.")
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(min=1, max=3, help="1: rows of M; 2: F(M); 3: E of restyled cells; else as the run says."),
    ] = None,
    ema: Annotated[
        bool | None, typer.Option("--ema/--no-ema", help="Filtered or last weights; the run's embed.ema if not set.")
    ] = None,
    store: MovedStore = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Another checkpoint than the last one.")] = None,
    hits: HitsFolder = None,
    level: Annotated[str, typer.Option(help="gene, guide or cell.")] = "gene",
    features: VectorsOf = None,
    columns: Annotated[str, typer.Option(help="Of cells and guides: own, or metadata (Metadata_Gene, …).")] = "own",
    channels: Channels = None,
    where: Where = None,
    scheduler: Scheduler = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Write the gene vectors of a run as AnnData (.h5ad), or vectors of cells or guides (.h5ad, .zarr, .parquet)."""
    file = out or Path(f"{level}s.h5ad")  # cells are never to take the place of the map that `evaluate` reads
    if level != "gene":
        from grape_ops.config import load_config
        from grape_ops.export.cell_vectors import write_cells
        from grape_ops.schema import RUN_FILE

        if any(given is not None for given in (position, ema, checkpoint, hits)):
            raise GrapeOpsError(
                "--position, --ema, --checkpoint and --hits go with --level gene: cells and guides are read by the "
                "last checkpoint, with the weights that the run's embed.ema says."
            )
        own = features[0] if features in (["codes"], ["network"]) else None
        measured = None if own else features
        changed = changes(overrides, where=where, features=measured, channels=channels, scheduler=scheduler)
        tree = load_config(config, changed)
        words = own or (tree.hits.features if features else None)
        check_scheduler(scheduler, words or ("codes" if (run / RUN_FILE).is_file() else tree.hits.features))
        notes = write_cells(run, file, tree, level=level, features=words, store_path=store, columns=columns)
        return say(f"{notes}Vectors of {level}s: {file}")
    if where:
        raise GrapeOpsError(
            "--where goes with --level cell or guide: a map of genes is of the cells that the run was trained on. "
            "Train on a subset: grape-ops train STORE --where ..."
        )
    if features or columns != "own" or channels or scheduler:
        raise GrapeOpsError(
            "--features, --columns, --channels and --scheduler go with --level cell or guide; `grape-ops baseline` "
            "writes gene vectors of features."
        )
    from grape_ops.api.learn import embed_genes

    embed_genes(run, out=file, position=position, ema=ema, store=store, checkpoint=checkpoint, hits=hits)
    return say(f"Gene vectors: {file}")


@app.command()
def baseline(
    method: Annotated[str, typer.Argument(help="Name of the method, or module:function; see docs/baselines.md.")],
    store: StoreFolder,
    out: Out,
    seed: Annotated[int | None, typer.Option(help="Seed of the baseline; the settings' if unset.")] = None,
    features: FeatureFiles = None,
    channels: Channels = None,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Write the gene vectors of a baseline on the same cells."""
    from grape_ops.api.learn import run_method
    from grape_ops.config import load_config
    from grape_ops.methods import NOTES, find_method
    from grape_ops.train.preset import training_settings

    changed = changes(overrides, where=where, files=features, channels=channels)
    trains = find_method(method).trains
    tree = training_settings(store, config, changed) if trains else load_config(config, changed)
    for note in run_method(method, store, out=out, config=tree, seed=seed).uns.get(NOTES, []):
        say(f"{method}: {note}")
    say(f"Gene vectors: {out}")
