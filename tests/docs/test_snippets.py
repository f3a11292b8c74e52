"""The Python snippets of the documentation run, page by page, as a reader would run them."""

import re
import shutil
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# A snippet that cannot run here stands below a comment that says why: <!-- not run: needs a GPU -->
SNIPPET = re.compile(r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)


def snippets(page: Path) -> list[str]:
    return [match["code"] for match in SNIPPET.finditer(page.read_text()) if not match["why"]]


@pytest.fixture
def readers_folder(tiny_store, tmp_path, monkeypatch) -> Path:
    """A crop store and a table of vectors, under the names that the pages give them."""
    shutil.copytree(tiny_store.path, tmp_path / "store")
    (tmp_path / "my_vectors.csv").write_text("gene_symbol,a,b\nAAA,1,2\nBBB,3,4\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# tests/api runs api.md, from a screen to a trained map, and tests/hits runs own-features.md, with its commands.
ELSEWHERE = ("api.md", "own-features.md")
PAGES = [page for page in sorted(DOCS.glob("*.md")) if snippets(page) and page.name not in ELSEWHERE]


def test_no_snippet_is_passed_over():
    assert {"baselines.md", "evaluation.md", "preprocessing.md"} <= {page.name for page in PAGES}
    for page in DOCS.glob("*.md"):
        assert len(SNIPPET.findall(page.read_text())) == page.read_text().count("```py"), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_of_a_page_run_one_after_the_other(page: Path, readers_folder: Path):
    names: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(snippets(page), 1):
        exec(compile(code, f"{page.name}, snippet {number}", "exec"), names)


def test_the_example_vectors_are_a_map_that_evaluate_takes(readers_folder: Path):
    import anndata

    exec(snippets(DOCS / "evaluation.md")[0], {})
    written = anndata.read_h5ad("mine.h5ad")
    assert list(written.obs_names) == ["AAA", "BBB"]
    assert written.uns["method"] == "mine"
