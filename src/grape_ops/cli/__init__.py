"""The command line: each command reads its options, calls one function, and says where the result is.

Slow imports are made inside the command that needs them, so that ``--help`` answers at once.
"""

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from grape_ops.artifacts.disk_errors import DISK_FULL, in_words
from grape_ops.cli.app import app, say
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.progress import be_quiet

# Importing a module of commands adds them to the app; this is the order of --help.
# isort: off
from grape_ops.cli import screen_commands  # noqa: F401
from grape_ops.cli import train_commands  # noqa: F401
from grape_ops.cli import evaluate_commands  # noqa: F401
from grape_ops.cli import generate_commands  # noqa: F401
from grape_ops.cli import benchmark_commands  # noqa: F401
from grape_ops.cli import output_commands  # noqa: F401
from grape_ops.cli import pipeline_commands  # noqa: F401
# isort: on


def _version(wanted: bool) -> None:
    if wanted:
        from grape_ops import __version__

        say(f"grape-ops {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes: errors and results alone.")
    ] = False,
) -> None:
    """Take the options of grape-ops itself."""
    if quiet:
        be_quiet()


def main() -> None:
    """Run the command line; errors meant for the user are shown without a traceback."""
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
    except OSError as error:
        if (words := _output_error(error)) is None:
            raise
        sys.stderr.write(f"Error: {words}\n")
        sys.exit(1)
    except SystemExit as end:
        if end.code == 128 + signal.SIGINT:  # what Typer makes of Ctrl-C
            sys.stderr.write(f"Stopped. {_way_on()}\n")
        raise


def _output_error(error: OSError) -> str | None:
    """Say an error of writing that no command has said; None for another one."""
    if error.errno in DISK_FULL:
        return in_words(error.errno, error.filename or "the result", error)
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error.filename}: you may not read or write there."
    if error.errno == errno.ENOENT and "temporary directory" in str(error):  # of the module tempfile
        return f"{error.strerror}: each is full or may not be written. Name another folder in TMPDIR."
    return None


def _way_on() -> str:
    """Say how to continue an interrupted command."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    ways = {
        "preprocess": "The same command with --resume goes on; nothing finished is computed again.",
        "train": "The same command with --resume goes on.",
        "benchmark": "The same command goes on where it stopped.",
        "ablate": "The same command goes on where it stopped.",
        "calibrate": "The same command goes on; no finished map is made again.",
        "trust": "The same command goes on; no finished map is made again.",
        "run": "The same command goes on where it stopped.",
        "demo": "The same command goes on where it stopped.",
    }
    return ways.get(command, "The same command starts it again.")
