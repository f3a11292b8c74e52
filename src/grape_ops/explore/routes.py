"""The page's own files, and what it asks for by address: answered by the live server, files of a static page.

Addresses hold numbers only, never symbols or paths.
"""

import html
import json
from collections.abc import Callable, Iterator
from importlib import resources

from grape_ops.errors import GrapeOpsError
from grape_ops.explore.explorer_data import ExplorerData
from grape_ops.report.terms import rich

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
    "png": "image/png",
    "h5ad": "application/octet-stream",
}
# Plotly compiles its WebGL shaders' glue with Function(), hence unsafe-eval; no script comes from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'"
)


def page_files() -> dict[str, bytes]:
    """All files of the page by name, index.html included; Plotly's script comes from the installed package."""
    folder = resources.files("grape_ops") / "explore" / "static"
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.rpartition(".")[2] in TYPES}
    plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
    if not plotly.is_file():
        raise GrapeOpsError("The installed plotly has no plotly.min.js; pip install --force-reinstall plotly.")
    return files | {"plotly.min.js": plotly.read_bytes()}


def content_type(name: str) -> str:
    """MIME type by a name's ending."""
    return TYPES[name.rpartition(".")[2]]


def error_page(title: str, message: str) -> str:
    """A page that says what is wrong, in the words of the error."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title>"
        '<link rel="icon" href="icon.svg"><link rel="stylesheet" href="style.css">'
        f'<main class="trouble"><h1>{html.escape(title)}</h1><p id="message">{rich(message)}</p>'
        '<p class="quiet">Fix it and reload this page; grape-ops need not be restarted.</p></main></html>'
    )


def as_json(content: object) -> bytes:
    """Write JSON as browsers read it: no NaN, no spaces."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def document(explorer: ExplorerData, kind: str, numbers: tuple[int, ...], draw: int = 0) -> tuple[bytes, str]:
    """Content and type of one document: its kind, and the numbers of map, clustering or gene."""
    makers: dict[str, Callable[..., bytes]] = {
        "map.json": lambda m: as_json(explorer.view(m)),
        "clusters.json": lambda m, c: as_json(explorer.details(m, c)),
        "screen.json": lambda: as_json(explorer.screen),
        "gene.json": lambda g: as_json(explorer.card(g)),
        "cells.json": lambda g: as_json(explorer.pictures().describe(explorer.row(g), draw)),
        "cells.png": lambda g: explorer.pictures().picture(explorer.row(g), draw),
        "strip.png": lambda g: explorer.strip(g),
        "control.json": lambda: as_json(explorer.pictures().describe_controls(draw)),
        "control.png": lambda: explorer.pictures().control_picture(draw),
        "map.h5ad": lambda m: explorer.export(m, range(len(explorer.genes))),
    }
    return makers[kind](*numbers), content_type(kind)


# Address of each kind of document; {} stands for a number.
ADDRESSES = {
    "map.json": "data/map/{}.json",
    "clusters.json": "data/map/{}/clusters/{}.json",
    "map.h5ad": "data/map/{}.h5ad",
    "screen.json": "data/screen.json",
    "gene.json": "data/gene/{}.json",
    "cells.json": "data/cells/{}.json",
    "cells.png": "data/cells/{}.png",
    "strip.png": "data/strip/{}.png",
    "control.json": "data/cells/control.json",
    "control.png": "data/cells/control.png",
}


def all_routes(explorer: ExplorerData) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Everything a static page needs: (kind, numbers)."""
    for number in range(len(explorer.map_views)):
        yield "map.json", (number,)
        for choice in range(len(explorer.clusterings(number))):
            yield "clusters.json", (number, choice)
        yield "map.h5ad", (number,)
    yield "screen.json", ()
    for gene in range(len(explorer.genes)):
        yield "gene.json", (gene,)
    if explorer.montage is not None:
        yield "control.json", ()
        yield "control.png", ()
        for gene in explorer.pictured:
            yield "cells.json", (gene,)
            yield "cells.png", (gene,)
            if explorer.restyler is not None:
                yield "strip.png", (gene,)
