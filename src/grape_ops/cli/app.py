"""The root of the command line, the options that commands share, and how they print."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from grape_ops.errors import GrapeOpsError

# The way through the commands, as --help shows it.
GROUPS = {
    "Screen, from images to crops of single cells": ("simulate", "inspect", "preprocess"),
    "Train, from crops to gene vectors": ("train", "embed", "baseline"),
    "Judge what can be believed": (
        "hits",
        "evaluate",
        "neighbours",
        "clusters",
        "benchmark",
        "ablate",
        "calibrate",
        "trust",
        "compare",
        "truth",
    ),
    "See cells restyled to genes, figures, pages": (
        "transfer",
        "directions",
        "phenotype",
        "figures",
        "report",
        "explore",
    ),
    "Share files for other tools": ("export",),
    "All at once, and help": ("demo", "run", "doctor"),
}
PATH = (
    "The path: inspect, preprocess, train, embed, evaluate, report. `run` does all of it from the file that `inspect` "
    "writes, and `demo` shows it on a simulated screen in minutes. `doctor` says what is installed."
)
QUIET = ("--quiet", "-q")


# Whether click is a package of its own or a part of typer depends on typer's version: its types are not named here.
class Grouped(TyperGroup):
    """Commands listed by what they are for, with or without rich; --quiet may stand before or behind a command."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, a section for each group; those of no group come last."""
        named = [name for names in GROUPS.values() for name in names]
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        found = [(name, self.get_command(ctx, name)) for name in (*named, *others)]
        shown = {name: command for name, command in found if command is not None and not command.hidden}
        for title, names in {**GROUPS, "Others": others}.items():
            rows = [(name, shown[name].get_short_help_str(200)) for name in names if name in shown]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take --quiet wherever it stands."""
        end = args.index("--") if "--" in args else len(args)
        quiet = [word for word in args[:end] if word in QUIET]
        kept = [word for word in args[:end] if word not in QUIET]
        return super().parse_args(ctx, [*quiet[:1], *kept, *args[end:]])


app = typer.Typer(
    name="grape-ops",
    cls=Grouped,
    help="Turn the images of an optical pooled CRISPR screen into a map of gene function.",
    epilog=PATH,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def listed(given: list[str] | None) -> list[str]:
    """Read a list: an option given several times, with commas, or both."""
    return [name.strip() for words in given or () for name in words.split(",") if name.strip()]


def listed_files(given: list[Path] | None) -> list[Path]:
    """The same for files; one whose name holds a comma is taken as it is."""
    whole = [[file] if file.exists() else [Path(name) for name in listed([str(file)])] for file in given or ()]
    return [file for files in whole for file in files]


def listed_names(given: list[str] | None) -> list[str]:
    """The same for ``NAME=FILE``, where a comma ends a file only before another ``NAME=``."""
    return [word.strip() for words in given or () for word in re.split(r",(?=[^,=]+=)", words) if word.strip()]


ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings that differ from the defaults: a file, or large.yaml, paper.yaml, recommended.yaml, small.yaml. "
        "Commands that train choose one of these if not set.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one setting; overrides the file; repeatable.")
]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted call.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Truth = Annotated[
    str | None,
    typer.Option("--truth", help="Known complexes: a built-in name (complexes-14x106) or a file."),
]
Pairs = Annotated[
    list[Path] | None,
    typer.Option(
        "--pairs", metavar="FILE", callback=listed_files, help="Known gene pairs; repeatable, or with commas."
    ),
]
AliasTable = Annotated[Path | None, typer.Option("--aliases", help="Table of other names of genes.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        "--method",
        metavar="A,B",
        callback=listed,
        help="Names of methods, or module:function for one of your own; repeatable, or with commas.",
    ),
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FILE",
        callback=listed,
        help="statistics, engineered or learned; or files of per-cell vectors of your own (Parquet, CSV, h5ad, zarr), "
        "put side by side; repeatable, or with commas. hits.features if unset.",
    ),
]
FeatureFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--features",
        metavar="FILE",
        callback=listed_files,
        help="Per-cell vectors of your own for `profiles` (Parquet, CSV, h5ad, zarr), put side by side; repeatable, or "
        "with commas.",
    ),
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B",
        callback=listed,
        help="Restrict per-cell features to these channels; repeatable, or with commas. features.channels if unset.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help='Cells to use, by columns of the cell table: \'plate in ["1", "2"] and gene != "XYZ"\'. Controls stay, '
        "unless a condition other than on gene and guide leaves them out, or they are named.",
    ),
]
Genes = Annotated[
    list[str] | None,
    typer.Option("--genes", "--gene", metavar="A,B", callback=listed, help="Genes; repeatable, or with commas."),
]
Scheduler = Annotated[str | None, typer.Option(help="Dask scheduler to use, as tcp://HOST:PORT.")]
Jobs = Annotated[int, typer.Option(min=0, help="Jobs beside each other; 0: one per core, or per GPU.")]
TableOut = Annotated[Path | None, typer.Option("--out", help="File for the table; printed if not set.")]


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


def channels_setting(given: list[str] | None) -> list[str]:
    """Setting of ``--channels``."""
    return [f"features.channels={json.dumps(given)}"] if given else []


def scheduler_setting(given: str | None) -> list[str]:
    """Setting of ``--scheduler`` where features are measured."""
    return [f"features.scheduler={json.dumps(given)}"] if given else []


def check_scheduler(given: str | None, features: str) -> None:
    """Refuse a cluster for features that this process reads by itself."""
    if given and features != "engineered":
        raise GrapeOpsError(
            f"--scheduler is for engineered features, which take long to measure; {features} features are read here. "
            "Add --features engineered, or leave --scheduler out."
        )


def where_setting(given: str | None) -> list[str]:
    """Setting of ``--where``."""
    return [f"where={json.dumps(given)}"] if given else []


def say(text: str) -> None:
    """Print a line of result."""
    typer.echo(text)


def say_json(content: Any) -> None:
    """Print a result for scripts; numbers that are not known are null."""
    from grape_ops.evaluate.scores import without_nan

    typer.echo(json.dumps(without_nan(content), indent=1, allow_nan=False))


def rows_of(table: "str | Path") -> list[dict[str, Any]]:
    """Read the rows of a TSV, text or file, as JSON knows them: empty fields are null."""
    import pandas as pd

    source = io.StringIO(table) if isinstance(table, str) else table
    read = pd.read_csv(source, sep="\t", keep_default_na=False, na_values=[""])
    rows: list[dict[str, Any]] = json.loads(read.to_json(orient="records", double_precision=15))
    return rows


def show(table: str, out: Path | None, as_json: bool = False) -> None:
    """Print a table, as TSV or JSON, or say in which file it is."""
    if as_json:
        say_json(rows_of(table))
    else:
        typer.echo(table if out is None else f"Table: {out}", nl=out is not None)
