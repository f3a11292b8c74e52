"""What a command says while it works: progress with rate and remaining time, and notes.

Progress is a bar on a terminal or in a notebook, and plain lines elsewhere.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

PLAIN_LINE_SECONDS = 10.0
QUIET = "GRAPE_OPS_QUIET"  # of the environment: anything but 0 shows no progress and no notes


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def be_quiet() -> None:
    """Show no progress and no notes from now on, in this process and in those it starts."""
    os.environ[QUIET] = "1"


def _quiet() -> bool:
    return os.environ.get(QUIET, "") not in ("", "0")


def _draws_bars() -> bool:
    """Whether a bar can be drawn: on a terminal, or in a notebook that has ipywidgets; rich knows how."""
    if sys.stderr.isatty():
        return True
    if "ipykernel" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console(stderr=True).is_jupyter


def note(sentence: str) -> None:
    """Say what a user should know while a job goes on."""
    if _quiet():
        return
    sys.stderr.write(f"Note: {sentence}\n")
    sys.stderr.flush()


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show that something of unknown length is being done: a clock on a terminal, one plain line elsewhere."""
    if _quiet():
        yield
        return
    if not _draws_bars():
        sys.stderr.write(f"{label} …\n")
        sys.stderr.flush()
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(label, total=None)
        yield


@contextmanager
def progress(label: str, total: int, unit: str = "it", done: int = 0) -> Iterator[Callable[..., None]]:
    """Show how far a job of ``total`` units is.

    Parameters
    ----------
    label : what is being done, in a few words.
    total : number of units of the whole job.
    unit : name of one unit, for the rate.
    done : units finished by an earlier, interrupted call; they do not count for the rate.

    Yields
    ------
    advance : call ``advance(n=1, note="", fresh=True)`` after ``n`` units; ``note`` is shown behind the rate, for
        which units that are not ``fresh``, done by an earlier call, do not count.
    """
    if _quiet():
        yield lambda n=1, note="", fresh=True: None
    elif _draws_bars():
        yield from _bar(label, total, unit, done)
    else:
        yield from _lines(label, total, unit, done)


def _bar(label: str, total: int, unit: str, done: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)

    # Every column has a width of its own, and the note takes what is left: a bar that grows and shrinks with the
    # numbers beside it cannot be read.
    def place(width: int | None = None, ratio: int | None = None) -> Column:
        return Column(width=width, ratio=ratio, no_wrap=True, overflow="ellipsis")

    columns = (
        TextColumn("{task.description}", table_column=place()),
        BarColumn(bar_width=max(console.width // 5, 10)),
        MofNCompleteColumn(table_column=place()),
        TextColumn("{task.fields[rate]}", table_column=place(width=len(unit) + 8)),
        TimeRemainingColumn(table_column=place(width=7)),
        TextColumn("{task.fields[note]}", markup=False, table_column=place(ratio=1)),
    )
    start = time.monotonic()
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task(label, total=total, completed=done, rate="", note="")
        made = 0

        def advance(n: int = 1, note: str = "", fresh: bool = True) -> None:
            nonlocal made
            made += n if fresh else 0
            rate = made / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=n, rate=f"{rate:.3g} {unit}/s", note=note)

        yield advance


def _lines(label: str, total: int, unit: str, done: int) -> Iterator[Callable[..., None]]:
    start = last = time.monotonic()
    made = 0

    def advance(n: int = 1, note: str = "", fresh: bool = True) -> None:
        nonlocal made, done, last
        made += n if fresh else 0
        done += n
        now = time.monotonic()
        finished = done >= total
        if not finished and now - last < PLAIN_LINE_SECONDS:
            return
        last = now
        rate = made / max(now - start, 1e-9)
        left = f"took {_clock(now - start)}" if finished else f"{_clock((total - done) / max(rate, 1e-9))} left"
        line = f"{label}: {done}/{total} · {rate:.3g} {unit}/s · {left}"
        sys.stderr.write(line + (f" · {note}" if note else "") + "\n")
        sys.stderr.flush()

    yield advance
