"""The page of the Python API runs as it is, with a tiny screen in place of the usual one."""

import re
from pathlib import Path

import grape_ops as go

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()


def test_the_snippets_run_one_after_the_other(made, one_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text((made / "tiny.yaml").read_text())
    monkeypatch.setattr("grape_ops.report.projection.FEWEST_FOR_UMAP", 1000)  # importing umap takes many seconds
    monkeypatch.setattr("grape_ops.export.gene_map._FEWEST", 1000)
    snippets = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(snippets) == PAGE.count("```py") > 5
    code = "\n".join(snippets).replace('"recommended.yaml"', '"tiny.yaml"')
    names: dict[str, object] = {}
    exec(compile(code, "docs/api.md", "exec"), names)
    assert names["crops"].shape == (3, 4, 32, 32)
    assert names["scores"].table["method"].unique().tolist() == ["GRAPE", "statistics"]
    assert (tmp_path / "report.html").is_file() and (tmp_path / "map.h5ad").is_file()


def test_the_page_names_everything():
    assert all(f"`{name}`" in PAGE for name in go.__all__)
