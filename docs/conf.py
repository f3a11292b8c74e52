"""How the documentation site is built: Sphinx, pages in Markdown (MyST), tutorials executed as notebooks."""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
# The notebooks call `grape-ops`: that of the environment which builds the pages.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ.setdefault("OMP_NUM_THREADS", "1")
_profile = tempfile.TemporaryDirectory()
os.environ["IPYTHONDIR"] = _profile.name
_startup = Path(_profile.name, "profile_default", "startup")
_startup.mkdir(parents=True)
shutil.copy(HERE / "notebook_shell.py", _startup)

from code_reference import PAGES  # noqa: E402

from grape_ops import __version__  # noqa: E402

project = "grape-ops"
author = "grape-ops developers"
copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = True

# The tutorials run at every build, from their first cell, in a folder of their own; a cell that fails fails the build.
nb_execution_mode = os.environ.get("DOCS_NOTEBOOKS", "force")  # off: the pages without results
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes of a class as a list, not once more beside its properties
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "grape-ops"
html_static_path = ["_static"]
html_css_files = ["site.css"]
linkcheck_anchors = False


def setup(app):
    """Fill the pages that are made from the code, and the list of pages, each time they are built."""

    def fill(app, docname, source):
        if docname in PAGES:
            source[0] = source[0].replace("<!-- made from the code -->", PAGES[docname]())
        if docname == "index":  # a page that nobody has sorted in is a how-to
            named = source[0].splitlines()
            rest = sorted(page.stem for page in HERE.glob("*.md") if page.stem not in (*named, "index"))
            source[0] = source[0].replace("<!-- all other pages -->", "\n".join(rest))

    def errors_on_lines_of_their_own(app, what, name, obj, options, lines):
        for i, line in reversed([*enumerate(lines)]):
            if error := re.fullmatch(r"(\w*Error) : (.+)", line):
                lines[i : i + 1] = [error[1], f"    {error[2]}"]

    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", errors_on_lines_of_their_own, priority=100)  # before napoleon
    app.connect("env-get-outdated", lambda app, env, added, changed, removed: ["index", *PAGES])
