"""The reference pages name every command and every setting."""

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from grape_ops.cli import app

FILE = Path(__file__).parents[2] / "docs" / "code_reference.py"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("code_reference", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_stands_there_with_its_options(reference):
    page = reference.commands_page()
    headings = re.findall(r"^## grape-ops (.+)$", page, flags=re.MULTILINE)
    commands = typer.main.get_command(app).commands
    assert set(commands) - {"truth"} <= set(headings)
    assert "truth curate" in headings
    assert "| `--dry-run` | Only estimate the cost: size, memory, time. |" in page


def test_every_setting_stands_there_with_default_and_meaning(reference):
    page = reference.settings_page()
    rows = {cells[1].strip("` "): cells for line in page.splitlines() if (cells := re.split(r"(?<!\\)\|", line))[1:]}
    for name, field, _ in reference.settings():
        _, _, default, _, meaning, _ = rows[name]
        assert default.strip(), name
        assert field.description.replace("|", "\\|") in meaning, name
    assert "classifier" in rows["train.init.kind"][3]  # what a preset changes
    assert "Addition to the paper." in rows["train.init.classifier.width"][4]
    assert "Addition to the paper." not in rows["train.steps"][4]
    assert "Changes no result." in rows["train.threads"][4]
    assert rows["screen.aliases"][2].strip() == "unset"


def test_the_api_page_names_what_the_package_exports(reference):
    import grape_ops

    for name in grape_ops.__all__:
        assert f"## {name}\n" in reference.api_page()
        assert f":: grape_ops::{name}" in reference.api_page()
