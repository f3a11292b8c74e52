"""What the command `explore` does: serve the page, or write it as files for any web server.

As files everything is precomputed, and strips take the place of live restyling.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grape_ops.artifacts.atomic import draft_folder_of
from grape_ops.artifacts.ownership import warn_replaced
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.explore.explorer_data import ExplorerData
from grape_ops.explore.routes import ADDRESSES, all_routes, as_json, document, page_files
from grape_ops.explore.sources import Request
from grape_ops.progress import progress
from grape_ops.train.run_folder import open_run

MARK = "explore.json"  # written last: the folder is a whole page, and may be replaced by another


def write_static(request: Request, out: Path) -> Path:
    """Write the page into a folder; one that holds such a page already is replaced.

    Raises
    ------
    GrapeOpsError : the run cannot be opened, or ``out`` holds something else.
    """
    out = out.resolve()  # `.` has no name
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise GrapeOpsError(f"{out} holds something else than a page of grape-ops explore; name a new or empty folder.")
    explorer = ExplorerData(request)
    if (out / MARK).is_file():
        warn_replaced(out)
    with draft_folder_of(out) as draft:
        for name, content in page_files().items():
            (draft / name).write_bytes(content)
        documents = list(all_routes(explorer))
        with progress("write the page", len(documents), "file") as advance:
            for kind, numbers in documents:
                file = draft / ADDRESSES[kind].format(*numbers)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(document(explorer, kind, numbers)[0])
                advance()
        (draft / "data" / "overview.json").write_bytes(as_json(explorer.overview("static")))
        (draft / MARK).write_bytes(as_json({"title": explorer.title, "genes": len(explorer.genes)}))
    return out


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
    files : maps, groups, store, truth, pairs, aliases and hits of ``Request``.

    Raises
    ------
    GrapeOpsError : ``run`` is no run folder, or the page cannot be written. What else is wrong the served page says,
        and shows the run as soon as it is mended.
    """
    tree = load_config(*settings)
    request = Request(run=run, settings=tree.explore, evaluate=tree.evaluate, **files)
    if static is not None:
        say(f"Static page: {write_static(request, static)}")
        return
    open_run(run)
    from grape_ops.explore.server import serve

    host, port, browse = place
    serve(request, host, port, browse=browse, say=say)
