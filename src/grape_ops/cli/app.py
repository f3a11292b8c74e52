"""The root of the command line, and how commands print."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    import pandas as pd

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


def show(table: "pd.DataFrame", out: Path | None, as_json: bool = False) -> None:
    """Print a table of genes, as TSV or JSON, or say in which file it is."""
    from grape_ops.evaluate.evaluate_files import as_tsv

    if as_json:
        say_json(rows_of(as_tsv(table)))
    else:
        typer.echo(as_tsv(table) if out is None else f"Table: {out}", nl=out is not None)
