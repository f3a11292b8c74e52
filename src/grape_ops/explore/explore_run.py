"""What the command `explore` does: serve the page, or write it as files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grape_ops.config import load_config
from grape_ops.explore.sources import Request


def explore_run(
    run: Path,
    static: Path | None,
    place: tuple[str, int, bool],
    settings: tuple[str | None, Sequence[str]],
    *,
    say: Callable[[str], None],
    **files: Any,
) -> None:
    """Serve the page about a run, or write it.

    Parameters
    ----------
    run : the run folder.
    static : folder for the page as files; if None, the page is served.
    place : host, port, and whether to open a browser.
    settings : configuration file and overrides.
    say : prints a line.
    files : maps, groups, store, truth, pairs and aliases of ``Request``.
    """
    tree = load_config(*settings)
    request = Request(run=run, settings=tree.explore, evaluate=tree.evaluate, **files)
    if static is not None:
        from grape_ops.explore.static_site import write_static

        say(f"Static page: {write_static(request, static)}")
        return
    from grape_ops.explore.server import serve

    host, port, browse = place
    serve(request, host, port, browse=browse, say=say)
