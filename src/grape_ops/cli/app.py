"""The root of the command line, the options that commands share, and how they print."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

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
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings that differ from the defaults: a file, or large.yaml, paper.yaml, recommended.yaml, small.yaml.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one setting; overrides the file; repeatable.")
]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted call.")]
Truth = Annotated[
    str | None,
    typer.Option("--truth", help="Known complexes: a built-in name (complexes-14x106) or a file."),
]
Pairs = Annotated[
    list[Path] | None, typer.Option("--pairs", metavar="FILE", help="List of known gene pairs; repeatable.")
]
AliasTable = Annotated[Path | None, typer.Option("--aliases", help="Table of other names of genes.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        "--method",
        metavar="A,B",
        help="Names of methods, or module:function for one of your own; repeatable, or with commas.",
    ),
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FILE",
        help="statistics, engineered or learned; or files of per-cell vectors of your own (Parquet, CSV, h5ad, zarr): "
        "repeatable, put side by side. hits.features if unset.",
    ),
]
FeatureFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--features",
        metavar="FILE",
        help="Per-cell vectors of your own for `profiles` (Parquet, CSV, h5ad, zarr); repeatable, put side by side.",
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Restrict per-cell features to these channels; features.channels if unset."),
]
Jobs = Annotated[int, typer.Option(min=0, help="Jobs beside each other; 0: one per core, or per GPU.")]
TableOut = Annotated[Path | None, typer.Option("--out", help="File for the table; printed if not set.")]


def named_methods(given: list[str] | None) -> list[str]:
    """Read the methods of all ``--methods``."""
    return [name.strip() for words in given or () for name in words.split(",") if name.strip()]


def features_setting(given: list[str] | None) -> list[str]:
    """Settings of ``--features``: a kind of features by its name, or files."""
    if not given:
        return []
    if given in (["statistics"], ["engineered"], ["learned"]):
        return [f"hits.features={given[0]}"]
    return ["hits.features=profiles", *files_setting(given)]


def files_setting(files: Sequence[str | Path] | None) -> list[str]:
    """Setting of files of per-cell vectors."""
    return [f"baselines.profiles.table={json.dumps([str(file) for file in files])}"] if files else []


def channels_setting(given: str | None) -> list[str]:
    """Setting of ``--channels``."""
    return [f"features.channels={json.dumps([name.strip() for name in given.split(',')])}"] if given else []


def say(text: str) -> None:
    """Print a line of result."""
    typer.echo(text)


def show(table: str, out: Path | None) -> None:
    """Print a table, or say in which file it is."""
    typer.echo(table if out is None else f"Table: {out}", nl=out is not None)
