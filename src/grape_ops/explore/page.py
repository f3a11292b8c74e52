"""The page's own files: read once from installed packages, then served or copied by their names."""

import html
from importlib import resources

from grape_ops.errors import GrapeOpsError

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
        f'<main class="trouble"><h1>{html.escape(title)}</h1><p id="message">{html.escape(message)}</p>'
        '<p class="quiet">Fix it and reload this page; grape-ops need not be restarted.</p></main></html>'
    )
