"""The arguments and options that several commands take, each written once, and the settings they stand for."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from grape_ops.errors import GrapeOpsError


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


StoreFolder = Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")]
TrainedStore = Annotated[Path, typer.Argument(help="The crop store the run was trained on.")]
MovedStore = Annotated[Path | None, typer.Option("--store", help="The run's crop store, if it has moved.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder made by `train`.")]
MapFiles = Annotated[
    list[Path],
    typer.Argument(help="Gene vectors (.h5ad); several runs of a method give support."),
]
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
        "--features",
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
        "--channels",
        metavar="A,B",
        callback=listed,
        help="Restrict per-cell features to these channels; repeatable, or with commas. features.channels if unset.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="EXPRESSION",
        help='Cells to use, by columns of the cell table: \'plate in ["1", "2"] and gene != "XYZ"\'. Controls stay, '
        "unless a condition other than on gene and guide leaves them out, or they are named.",
    ),
]
_GENES = typer.Option("--genes", "--gene", metavar="A,B", callback=listed, help="Genes; repeatable, or with commas.")
Genes = Annotated[list[str] | None, _GENES]
NeededGenes = Annotated[list[str], _GENES]
HitsOnly = Annotated[
    bool, typer.Option("--hits-only", help="Only genes with a phenotype, by is_hit in a map's obs (embed --hits).")
]
HitsFolder = Annotated[
    Path | None,
    typer.Option(
        "--hits",
        help="Folder made by `hits`: says of each gene what was found. `report` and `explore` take one beside the run "
        "if not set.",
    ),
]
PhenotypeFolder = Annotated[Path | None, typer.Option("--phenotype", help="Folder made by `phenotype`.")]
ScoresFile = Annotated[Path | None, typer.Option("--scores", help="scores.json made by `evaluate`.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME=A,B", help="Maps of several runs of one method, taken as one; repeatable."),
]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Dask scheduler to use, as tcp://HOST:PORT.")]
Jobs = Annotated[int, typer.Option("--jobs", min=0, help="Jobs beside each other; 0: one per core, or per GPU.")]
TableOut = Annotated[Path | None, typer.Option("--out", help="File for the table; printed if not set.")]


def changes(
    overrides: list[str] | None,
    *,
    where: str | None = None,
    features: list[str] | None = None,
    files: Sequence[str | Path] | None = None,
    channels: list[str] | None = None,
    scheduler: str | None = None,
    cells: int | None = None,
) -> list[str]:
    """Put the settings of ``--set`` and of the options that stand for one into one list, as ``load_config`` takes it.

    ``features`` names one kind of features, or files of per-cell vectors; ``files`` are such files.
    """
    changed = [*(overrides or ())]
    if where:
        changed.append(f"where={json.dumps(where)}")
    if features in (["statistics"], ["engineered"], ["learned"]):
        changed.append(f"hits.features={features[0]}")
    elif features:
        changed.append("hits.features=profiles")
        files = features
    if files:
        changed.append(f"baselines.profiles.table={json.dumps([str(file) for file in files])}")
    if channels:
        changed.append(f"features.channels={json.dumps(channels)}")
    if scheduler:
        changed.append(f"features.scheduler={json.dumps(scheduler)}")
    if cells:
        changed.append(f"generate.cells={cells}")
    return changed


def check_scheduler(given: str | None, features: str) -> None:
    """Refuse a cluster for features that this process reads by itself."""
    if given and features != "engineered":
        raise GrapeOpsError(
            f"--scheduler is for engineered features, which take long to measure; {features} features are read here. "
            "Add --features engineered, or leave --scheduler out."
        )
