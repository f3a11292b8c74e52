"""The files of a release say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from grape_ops import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = [Requirement(line) for line in PROJECT["dependencies"]]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def test_one_version_everywhere():
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {PROJECT["version"], recipe["context"]["version"], str(citation["version"])} == {__version__}
    assert re.search(
        rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )


def test_the_recipe_has_the_same_ranges():
    run = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())["requirements"]["run"]
    recipe = {need.name: need.specifier for need in map(Requirement, run[1:])}  # after python
    assert recipe == {CONDA_NAMES.get(need.name, need.name.lower()): need.specifier for need in RANGES}


@pytest.mark.parametrize("need", RANGES, ids=lambda need: need.name)
def test_tested_and_lowest_versions_are_in_range(need: Requirement):
    name = canonicalize_name(need.name)
    tested, lowest = pins("constraints.txt")[name], pins("constraints-lowest.txt")[name]
    assert need.specifier.contains(tested)
    assert need.specifier.contains(lowest)
    (bound,) = [Version(part.version) for part in need.specifier if part.operator == ">="]
    assert Version(lowest).release[: len(bound.release)] == bound.release


def test_constraints_hold_the_group_of_the_documentation():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tested = pins("constraints.txt")
    for line in groups["docs"]:
        need = Requirement(line)
        assert need.specifier.contains(tested[canonicalize_name(need.name)]), line
