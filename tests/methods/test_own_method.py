"""Methods that are not part of this package: how they are found, and what counts as the same result."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import METHODS, Method, Task, find_method, find_methods, method_names, own_method
from grape_ops.runner.jobs import Job

CODE = """
from grape_ops.methods import Method

def mine(task):
    return None

whole = Method("whole", mine, settings=lambda config: config.features.decisive(), deterministic=True)
number = 3
random = mine
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"module_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(CODE)
    yield name
    sys.modules.pop(name, None)


def identity(spec: str, *overrides: str) -> str:
    return Job.of(spec, 0, load_config(None, overrides), Path("store"), "cells", Path("work")).identity


def test_a_function_of_a_module_or_of_a_file_is_a_method(module, tmp_path):
    found = find_method(f"{module}:mine")
    assert (found.name, found.deterministic, found.code) == ("mine", False, (tmp_path / f"{module}.py",))
    assert find_method(f"{tmp_path / module}.py:mine").name == "mine"
    whole = find_method(f"{module}:whole")
    assert whole.name == "whole" and whole.deterministic and whole.code == found.code


def test_what_is_no_method_says_so(module):
    with pytest.raises(GrapeOpsError, match="neither a function that takes a Task nor a Method"):
        find_method(f"{module}:number")
    with pytest.raises(GrapeOpsError, match="cannot be loaded.*nothing_here"):
        find_method(f"{module}:nothing_here")
    with pytest.raises(GrapeOpsError, match="No module named 'no_such_module'"):
        find_method("no_such_module:mine")
    with pytest.raises(GrapeOpsError, match="There is no method mine; there are: random, .*grape.*module:function"):
        find_method("mine")
    with pytest.raises(GrapeOpsError, match="the same name: mine"):
        find_methods([f"{module}:mine", f"./{module}.py:mine"])
    with pytest.raises(GrapeOpsError, match="Name at least one method"):
        find_methods([])


def test_installed_packages_offer_methods_under_an_entry_point(module, monkeypatch):
    entries = [EntryPoint("theirs", f"{module}:mine", own_method.GROUP), EntryPoint("gone", "not_there:x", "g")]
    monkeypatch.setattr(own_method, "entry_points", lambda group: entries)
    sys.path.append(str(Path.cwd()))
    assert method_names() == [*METHODS, "theirs", "gone"]
    assert find_method("theirs").name == "theirs" and find_method("theirs").code[0].name == f"{module}.py"
    with pytest.raises(GrapeOpsError, match="The method gone .* cannot be loaded"):
        find_method("gone")


def test_other_settings_and_other_code_are_another_result(module, tmp_path):
    spec = f"{module}:mine"
    plain = identity(spec)
    assert plain == identity(spec, "features.workers=3") == identity(spec, "seed=4")
    assert len({plain, identity(spec, "features.full=true"), identity(spec, "train.steps=7")}) == 3
    assert identity(f"{module}:whole") == identity(f"{module}:whole", "train.steps=7")
    assert identity(f"{module}:whole") != identity(f"{module}:whole", "features.full=true")
    read = tmp_path / "vectors.txt"
    read.write_text("one")
    setting = f"baselines.gene2vec.vectors={read}"
    before = identity(spec, setting)
    read.write_text("other")
    assert identity(spec, setting) != before
    (tmp_path / f"{module}.py").write_text(CODE + "# changed\n")
    assert identity(spec) != plain


def test_all_files_of_a_package_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "package_of_mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "layers.py").write_text("depth = 1\n")
    (folder / "model.py").write_text("def run(task): ...\n")
    before = identity("package_of_mine.model:run")
    (folder / "layers.py").write_text("depth = 2\n")
    assert identity("package_of_mine.model:run") != before
    for name in [name for name in sys.modules if name.startswith("package_of_mine")]:
        sys.modules.pop(name)


def test_bare_vectors_are_completed_from_the_store_and_anything_else_is_refused(tiny_store, tmp_path):
    task = Task(tiny_store, load_config(), 0, tmp_path)
    bare = anndata.AnnData(np.eye(2, dtype=np.float32), obs=pd.DataFrame(index=["BBB", "nontargeting"]))
    (adata,) = Method("bare", lambda _: bare).maps(task).values()
    assert adata.obs["n_cells"].tolist() == [12, 16] and adata.obs["is_control"].tolist() == [False, True]
    with pytest.raises(GrapeOpsError, match="The method none must return an AnnData"):
        Method("none", lambda _: None).maps(task)
